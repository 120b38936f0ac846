"""tilegrad: deep learning with native kernels under a thin, readable Python layer."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from . import _C, autograd, backends, cuda
from ._C import (
    OutOfMemoryError,
    bfloat16,
    complex64,
    complex128,
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
from ._interop import asarray, from_dlpack, frombuffer, is_storage, is_tensor
from ._layout import (
    layout,
    sparse_bsc,
    sparse_bsr,
    sparse_coo,
    sparse_csc,
    sparse_csr,
    strided,
)
from ._lazy import lazily as _lazily
from ._legacy import (
    BFloat16Tensor,
    BoolTensor,
    ByteTensor,
    CharTensor,
    DoubleTensor,
    FloatTensor,
    HalfTensor,
    IntTensor,
    LongTensor,
    ShortTensor,
    set_default_tensor_type,
)
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
from ._switches import *  # noqa: F403
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

from . import linalg  # isort: skip
from .linalg.legacy import *  # noqa: F403  # isort: skip
from .linalg.lowrank import *  # noqa: F403  # isort: skip
from . import nn, optim, utils  # isort: skip - they build on all of the above
from .utils import data as _data  # isort: skip - makes utils.data known without its own import

if _TYPE_CHECKING:
    from ._install import install_as
    from .amp import (
        GradScaler,
        autocast,
        get_autocast_dtype,
        is_autocast_available,
        is_autocast_enabled,
    )
    from .serialization import load, save
    from .storage import TypedStorage, UntypedStorage

# What is imported when it is first asked for: all other modules, and these names from some.
__getattr__ = _lazily(
    __name__,
    {
        "GradScaler": "amp",
        "TypedStorage": "storage",
        "UntypedStorage": "storage",
        "autocast": "amp",
        "get_autocast_dtype": "amp",
        "is_autocast_available": "amp",
        "is_autocast_enabled": "amp",
        "install_as": "_install",
        "load": "serialization",
        "save": "serialization",
    },
)

cdouble = complex128
cfloat = complex64
float = float32
double = float64
half = float16
long = int64
int = int32
short = int16

_C.initialize()  # TILEGRAD_ISA and TILEGRAD_NUM_THREADS

__version__: str = _C.build_info()["version"]
