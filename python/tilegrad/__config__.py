"""``torch.__config__``: how this library was built."""

from ._config import config

__all__ = ["parallel_info", "show"]


def show() -> str:
    """What :func:`tilegrad.config` knows, a line each."""
    return "\n".join(f"{name}: {value}" for name, value in config().items())


def parallel_info() -> str:
    """The number of threads."""
    from . import get_num_threads

    return f"threads: {get_num_threads()}"
