"""``record_function`` where old programs look for it."""

from ..profiler import record_function

__all__ = ["record_function"]
