"""Differentiable operations, one module per stem of src/ops.def, in the same order."""

from types import ModuleType as _Module

from .activation import *  # noqa: F403
from .arg_reduce import *  # noqa: F403
from .arithmetic import *  # noqa: F403
from .arrange import *  # noqa: F403
from .attention import *  # noqa: F403
from .batchnorm import *  # noqa: F403
from .binary import *  # noqa: F403
from .compare import *  # noqa: F403
from .complex import *  # noqa: F403
from .conv import *  # noqa: F403
from .conv2d import *  # noqa: F403
from .copy import *  # noqa: F403
from .counting import *  # noqa: F403
from .cross_entropy import *  # noqa: F403
from .cumsum import *  # noqa: F403
from .diagonals import *  # noqa: F403
from .differences import *  # noqa: F403
from .distance import *  # noqa: F403
from .dropout import *  # noqa: F403
from .einsum import *  # noqa: F403
from .embedding import *  # noqa: F403
from .fill import *  # noqa: F403
from .fourier import *  # noqa: F403
from .grid_sample import *  # noqa: F403
from .group_norm import *  # noqa: F403
from .index import *  # noqa: F403
from .join import *  # noqa: F403
from .layer_norm import *  # noqa: F403
from .loss import *  # noqa: F403
from .matmul import *  # noqa: F403
from .optimizer import *  # noqa: F403
from .pad import *  # noqa: F403
from .pool import *  # noqa: F403
from .random import *  # noqa: F403
from .recurrent import *  # noqa: F403
from .reduce import *  # noqa: F403
from .resample import *  # noqa: F403
from .scan import *  # noqa: F403
from .scatter import *  # noqa: F403
from .scatter_reduce import *  # noqa: F403
from .softmax import *  # noqa: F403
from .sort import *  # noqa: F403
from .special import *  # noqa: F403
from .statistics import *  # noqa: F403
from .topk import *  # noqa: F403
from .unary import *  # noqa: F403
from .unscale import *  # noqa: F403
from .view import *  # noqa: F403
from .where import *  # noqa: F403
from .windows import *  # noqa: F403

from . import _new  # isort: skip - methods only
from . import _complex_rules  # isort: skip - what _C does with complex numbers
from . import _documentation  # isort: skip - it completes what was imported

_documentation.complete(globals())

# The functions, without the modules they come from: ``tilegrad.copy`` would be one of those.
__all__ = [name for name, x in globals().items() if name[0] != "_" and not isinstance(x, _Module)]
