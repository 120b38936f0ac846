"""Tools beside the tensors: ``utils.data`` feeds batches, ``utils.hooks`` has the handles of hooks.

Nothing is imported here: autograd needs ``utils.hooks`` before there are operations to build on.
"""

from .._lazy import lazily

__getattr__ = lazily(__name__)
