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
from ._legacy import inclusive_range as range
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
from .ops import atan2 as arctan2
from .ops import split_with_sizes as unsafe_split_with_sizes
from .tensor import Tensor

from . import _methods  # isort: skip - it adds methods to Tensor
from ._in_place import *  # noqa: F403  # isort: skip
from . import linalg  # isort: skip
from .linalg.legacy import *  # noqa: F403  # isort: skip
from .linalg.lowrank import *  # noqa: F403  # isort: skip
from ._foreach import *  # noqa: F403  # isort: skip

if _TYPE_CHECKING:
    from . import nn, optim, utils
    from ._install import install_as
    from .amp import (
        GradScaler,
        autocast,
        clear_autocast_cache,
        get_autocast_cpu_dtype,
        get_autocast_dtype,
        get_autocast_gpu_dtype,
        is_autocast_available,
        is_autocast_cache_enabled,
        is_autocast_cpu_enabled,
        is_autocast_enabled,
        set_autocast_cpu_dtype,
        set_autocast_cpu_enabled,
        set_autocast_dtype,
        set_autocast_enabled,
        set_autocast_gpu_dtype,
    )
    from .func import vmap
    from .nn.functional import (
        alpha_dropout,
        bilinear,
        channel_shuffle,
        cosine_similarity,
        feature_alpha_dropout,
        hardshrink,
        pairwise_distance,
        pixel_shuffle,
        pixel_unshuffle,
        prelu,
        rrelu,
        rrelu_,
        threshold,
        threshold_,
    )
    from .serialization import load, save
    from .storage import TypedStorage, UntypedStorage

# What is imported when it is first asked for: all other modules, nn and optim among them, and these
# names from some.
_LATER = {
    "GradScaler": "amp",
    "OutOfMemoryError": "cuda",
    "TypedStorage": "storage",
    "UntypedStorage": "storage",
    "alpha_dropout": "nn.functional",
    "autocast": "amp",
    "bilinear": "nn.functional",
    "channel_shuffle": "nn.functional",
    "clear_autocast_cache": "amp",
    "cosine_similarity": "nn.functional",
    "feature_alpha_dropout": "nn.functional",
    "get_autocast_cpu_dtype": "amp",
    "get_autocast_dtype": "amp",
    "get_autocast_gpu_dtype": "amp",
    "hardshrink": "nn.functional",
    "install_as": "_install",
    "is_anomaly_check_nan_enabled": "autograd.anomaly",
    "is_anomaly_enabled": "autograd.anomaly",
    "is_autocast_available": "amp",
    "is_autocast_cache_enabled": "amp",
    "is_autocast_cpu_enabled": "amp",
    "is_autocast_enabled": "amp",
    "set_autocast_cpu_dtype": "amp",
    "set_autocast_cpu_enabled": "amp",
    "set_autocast_dtype": "amp",
    "set_autocast_enabled": "amp",
    "set_autocast_gpu_dtype": "amp",
    "load": "serialization",
    "pairwise_distance": "nn.functional",
    "pixel_shuffle": "nn.functional",
    "pixel_unshuffle": "nn.functional",
    "prelu": "nn.functional",
    "rrelu": "nn.functional",
    "rrelu_": "nn.functional",
    "save": "serialization",
    "set_anomaly_enabled": "autograd.anomaly",
    "threshold": "nn.functional",
    "threshold_": "nn.functional",
    "vmap": "func",
}
__getattr__ = _lazily(__name__, _LATER)


def __dir__() -> list[str]:
    """With everything that has not been asked for yet."""
    from pkgutil import iter_modules

    found = globals()
    modules = {module.name for module in iter_modules(found["__path__"])}
    return sorted({*found, *_LATER, *(name for name in modules if name[0] != "_")})


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
