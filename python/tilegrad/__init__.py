"""tilegrad: deep learning with native kernels under a thin, readable Python layer."""

from . import _C, autograd, backends, cuda
from ._C import (
    bfloat16,
    device,
    dtype,
    float16,
    float32,
    float64,
    get_default_dtype,
    get_num_threads,
    int8,
    int16,
    int32,
    int64,
    promote_types,
    set_default_dtype,
    set_num_threads,
    uint8,
)
from ._C import boolean as bool
from ._config import config, show_config
from ._limits import finfo, iinfo
from ._memory_format import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    memory_format,
    preserve_format,
)
from ._printing import set_printoptions
from ._queries import *  # noqa: F403
from ._size import Size
from .autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from .ops import *  # noqa: F403
from .tensor import Tensor

from . import linalg, special  # isort: skip
from .linalg.legacy import *  # noqa: F403  # isort: skip
from . import nn, optim, utils  # isort: skip - they build on all of the above
from .utils import data as _data  # isort: skip - makes utils.data known without its own import

float = float32
double = float64
half = float16
long = int64
int = int32
short = int16

_C.initialize()  # TILEGRAD_ISA and TILEGRAD_NUM_THREADS

__version__: str = _C.build_info()["version"]
