"""What torchvision, timm and other companions of torch import at their top, and hardly ever use.

PyTorch's tracers, compilers, exporters and its registry of operators do not exist here. Under
:func:`tilegrad.install_as` their modules do, with the names below, so that such a library can be
imported: decorators return what they are given, classes can be derived from but not be made,
functions raise NotImplementedError. ``tilegrad`` itself has none of these names.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from contextlib import nullcontext
from types import ModuleType
from typing import Any

__all__ = ["find_companion"]


def _reason(path: str) -> str:
    if path.startswith("torch.distributed."):
        return "tilegrad runs in one process"
    return "tilegrad traces, compiles and exports nothing"


def _unmade(path: str) -> type:
    """A class that stands in annotations and under derived classes; making one raises."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"{path}: {_reason(path)}")

    return type(path.rpartition(".")[2], (), {"__init__": __init__, "__module__": path})


def _unable(path: str) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{path}: {_reason(path)}")

    return function


def _as_it_is(fn: Any = None, *args: Any, **kwargs: Any) -> Any:
    """A decorator that changes nothing, with or without arguments."""
    return fn if callable(fn) or isinstance(fn, str) else (lambda function: function)


def _for_compilers_only(*args: Any, **kwargs: Any) -> Callable[[Any], Any]:
    """``register_fake(name)``: what a compiler would be told of an operator."""
    return lambda function: function


def _no(*args: Any, **kwargs: Any) -> bool:
    return False


def _check(cond: bool, message: Callable[[], str] | None = None) -> None:
    """Raises RuntimeError with what ``message`` returns unless ``cond`` holds."""
    if not cond:
        raise RuntimeError("Expected cond to be True" if message is None else str(message()))


def _check_that(condition: bool, message: str = "") -> None:
    """``torch._assert``: an assertion that is a function."""
    assert condition, message


def _softmax_gradient(grad: Any, output: Any, dim: int, input_dtype: Any) -> Any:
    """The gradient of the argument of a softmax from that of its ``output``."""
    product = grad * output
    return (product - output * product.sum(dim, keepdim=True)).to(input_dtype)


def _load_library(path: Any) -> None:
    raise OSError(f"ops.load_library: {path} is built for PyTorch, tilegrad cannot load it")


def _flattened(tensors: Any) -> Any:
    """All elements in one row."""
    from .ops import cat

    return cat([x.reshape(-1) for x in tensors])


def _unflattened(flat: Any, tensors: Any) -> tuple:
    """Views of the row in the shapes of ``tensors``."""
    parts = flat.split([x.numel() for x in tensors])
    return tuple(part.view(x.shape) for part, x in zip(parts, tensors, strict=True))


class _Operators(ModuleType):
    """``torch.ops``: operators that C++ extensions of PyTorch register, so none."""

    load_library = staticmethod(_load_library)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"torch.ops has no operators of {name!r}: tilegrad loads none")


class _Keys(enum.Flag):
    """``torch._C.DispatchKey``: places where PyTorch's dispatcher could be hooked."""

    AutocastCPU = enum.auto()
    AutocastCUDA = enum.auto()
    AutocastXPU = enum.auto()


_CLASSES = {
    "_C": "Graph Node Value",
    "_dynamo": "OptimizedModule",
    "ao.quantization": "DeQuantStub QuantStub",
    "distributed.algorithms.join": "Join Joinable JoinHook",
    "distributed.fsdp": (
        "BackwardPrefetch CPUOffload FullStateDictConfig FullyShardedDataParallel MixedPrecision "
        "ShardedStateDictConfig ShardingStrategy StateDictType"
    ),
    "distributed.tensor": "DTensor DeviceMesh Partial Placement Replicate Shard",
    "distributed.tensor.placement_types": "Partial Placement Replicate Shard",
    "export": "Dim ExportedProgram",
    "fx": "Graph GraphModule Interpreter Node Proxy Tracer Transformer",
    "fx.graph_module": "GraphModule _CodeOnlyModule",
    "fx.node": "Node Target Argument",
    "fx.proxy": "Proxy",
    "library": "Library",
    "onnx": "ExportOptions OperatorExportTypes TrainingMode",
}
_FUNCTIONS: dict[str, dict[str, Any]] = {
    "": {
        "_assert": _check_that,
        "_check": _check,
        "_softmax_backward_data": _softmax_gradient,
    },
    "_C": {
        "DispatchKey": _Keys,
        "DispatchKeySet": _Keys,
        "DisableTorchFunctionSubclass": nullcontext,
        "_get_tracing_state": _no,
        "_log_api_usage_once": _no,
    },
    "_custom_ops": {},
    "_dynamo": {"disable": _as_it_is, "is_compiling": _no, "config": ModuleType("config")},
    "_dynamo.utils": {"is_compile_supported": _no},
    "_jit_internal": {"boolean_dispatch": None},
    "ao": {},
    "ao.quantization": {},
    "distributed.algorithms": {},
    "distributed.algorithms.join": {},
    "distributed.fsdp": {},
    "distributed.tensor": {
        "distribute_tensor": _unable("torch.distributed.tensor.distribute_tensor")
    },
    "distributed.tensor._utils": {
        "compute_local_shape_and_global_offset": _unable(
            "torch.distributed.tensor._utils.compute_local_shape_and_global_offset"
        )
    },
    "distributed.tensor.placement_types": {},
    "export": {"export": _unable("torch.export.export")},
    "fx": {"wrap": _as_it_is, "symbolic_trace": _unable("torch.fx.symbolic_trace")},
    "fx.graph_module": {
        "_USER_PRESERVED_ATTRIBUTES_KEY": "_user_preserved_attributes",
        "_copy_attr": _unable("torch.fx.graph_module._copy_attr"),
    },
    "fx.node": {},
    "fx.proxy": {},
    "jit.annotations": {"BroadcastingList2": list, "BroadcastingList3": list, "List": list},
    "library": {
        "register_autograd": _unable("torch.library.register_autograd"),
        "register_fake": _for_compilers_only,
    },
    "onnx": {
        "export": _unable("torch.onnx.export"),
        "is_in_onnx_export": _no,
        "register_custom_op_symbolic": _for_compilers_only,
    },
    "onnx.symbolic_helper": {"parse_args": _for_compilers_only},
    "onnx.symbolic_opset11": {},
    "onnx.operators": {},
    "ops": {},
    "_utils": {
        "_flatten_dense_tensors": _flattened,
        "_unflatten_dense_tensors": _unflattened,
    },
}
_made: dict[str, Any] = {}


def find_companion(path: str) -> Any:
    """What stands for ``torch.`` + ``path``: a module or a name of :data:`_FUNCTIONS`, or None."""
    if path in _made:
        return _made[path]
    if path in _FUNCTIONS[""]:
        return _FUNCTIONS[""][path]
    if path not in _FUNCTIONS or path == "":
        return None
    names = dict(_FUNCTIONS[path])
    for name in _CLASSES.get(path, "").split():
        names[name] = _unmade(f"torch.{path}.{name}")
    module = (_Operators if path == "ops" else ModuleType)(f"torch.{path}", __doc__)
    module.__path__ = []  # it may have modules inside
    for inner in _FUNCTIONS:
        if inner.rpartition(".")[0] == path != "":
            names[inner.rpartition(".")[2]] = find_companion(inner)
    module.__dict__.update(names)
    if path == "_C":
        ours = sys.modules[f"{__package__}._C"]
        module.__getattr__ = lambda name: getattr(ours, name)  # type: ignore[method-assign]
    return _made.setdefault(path, module)
