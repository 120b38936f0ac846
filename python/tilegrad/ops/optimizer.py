"""Optimizer steps: one call updates all parameters of a group, in place and unrecorded.

``tilegrad/optim`` calls these and documents the options. Each takes a list of parameters and the
optimizer's ``state`` dict, skips parameters without gradient, and returns False, having written
nothing, if a parameter with a gradient lacks a state tensor. They are no part of PyTorch's API and
stay out of the ``tilegrad`` namespace.
"""

from __future__ import annotations

from .._C import adadelta_step as adadelta_step
from .._C import adagrad_step as adagrad_step
from .._C import adam_step as adam_step
from .._C import adamax_step as adamax_step
from .._C import asgd_step as asgd_step
from .._C import nadam_step as nadam_step
from .._C import radam_step as radam_step
from .._C import rmsprop_step as rmsprop_step
from .._C import rprop_step as rprop_step
from .._C import sgd_step as sgd_step

__all__: list[str] = []
