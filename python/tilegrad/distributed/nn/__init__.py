"""Collective functions through which gradients flow, for the group of this process alone."""

from . import functional
from .functional import *  # noqa: F403

__all__ = functional.__all__
