"""``tilegrad.signal``: windows for spectra, as in ``torch.signal``."""

from . import windows

__all__ = ["windows"]
