"""Names of PyTorch that companion libraries import at their top: `_companions.py`, `compiler.py`,
`types.py` and `utils/_pytree.py`."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict, defaultdict, deque, namedtuple
from typing import Any

import pytest
import torch
import torch.utils._pytree as theirs

import tilegrad as tg
import tilegrad.utils._pytree as ours
from tilegrad._companions import find_companion

LIBRARY = """
import torch
import torch.fx
import torch.library
import torch._custom_ops
import torch.onnx
from torch import fx, nn
from torch._C import DisableTorchFunctionSubclass
from torch._dynamo.utils import is_compile_supported
from torch.fx.graph_module import GraphModule, _copy_attr
from torch.jit.annotations import BroadcastingList2
from torch.onnx.symbolic_helper import parse_args
from torch.distributed.algorithms.join import Joinable
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor.placement_types import Replicate
from torch.types import Device, _dtype, _layout, _size
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader, Dataset, Sampler, Subset

class Images(Dataset[int]):
    pass

class Tracer(fx.Tracer):
    def __init__(self, leaves):
        self.leaves = leaves
        super().__init__()

def symbolic(graph: torch._C.Graph, value: torch._C.Value):
    return graph

assert not isinstance(nn.ReLU(), FullyShardedDataParallel)

@torch.library.register_fake("library::op")
@torch.compiler.disable
@fx.wrap
@parse_args("v", "v")
def double(x):
    torch._check(x.ndim == 1, lambda: f"double: {x.ndim} dimensions")
    return 2 * x

fx.wrap("double")
with DisableTorchFunctionSubclass():
    print(double(torch.ones(2)).tolist(), is_compile_supported("cpu"))
for wrong in (
    lambda: Tracer(()),
    lambda: Shard(0),
    lambda: double(torch.ones(1, 1)),
    lambda: torch.fx.symbolic_trace(nn.ReLU()),
    lambda: torch.ops.load_library("ops.so"),
    lambda: torch.ops.library.op,
    lambda: torch.no_such_room,
):
    try:
        wrong()
    except Exception as error:
        print(type(error).__name__, error)
try:
    import torch.fx.no_such_room
except ImportError as error:
    print(type(error).__name__, error)
"""


def test_a_library_that_names_compilers_can_be_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tilegrad.run", "-c", LIBRARY],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    nothing = "tilegrad traces, compiles and exports nothing"
    assert done.stdout.splitlines() == [
        "[2.0, 2.0] False",
        f"NotImplementedError torch.fx.Tracer: {nothing}",
        "NotImplementedError torch.distributed.tensor.Shard: tilegrad runs in one process",
        "RuntimeError double: 2 dimensions",
        f"NotImplementedError torch.fx.symbolic_trace: {nothing}",
        "OSError ops.load_library: ops.so is built for PyTorch, tilegrad cannot load it",
        "AttributeError torch.ops has no operators of 'library': tilegrad loads none",
        "AttributeError module 'torch' has no attribute 'no_such_room': tilegrad, which stands in "
        "for it, lacks it",
        "ModuleNotFoundError No module named 'torch.fx.no_such_room': tilegrad, in the place of "
        "torch, lacks it",
    ]


def test_companions_are_no_part_of_tilegrad() -> None:
    for name in ("fx", "library", "onnx", "export", "_dynamo", "_check"):
        assert find_companion(name) is not None
        assert not hasattr(tg, name)
    assert tg.ops is not find_companion("ops")


Point = namedtuple("Point", "x y")
TREES: list[Any] = [
    3,
    None,
    [],
    (1, [2, {"a": 3, "b": (4, None)}], "text"),
    Point(1, [2, 3]),
    OrderedDict(b=1, a=2),
    defaultdict(list, {"k": [1, 2]}),
    deque([1, (2, 3)], maxlen=5),
]


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: type(tree).__name__)
def test_pytree(tree: Any) -> None:
    for module in (ours, theirs):
        leaves, spec = module.tree_flatten(tree)
        assert leaves == theirs.tree_leaves(tree)
        assert spec.num_leaves == len(leaves) and spec.is_leaf() == (leaves == [tree])
        rebuilt = module.tree_unflatten(leaves, spec)
        assert rebuilt == tree and type(rebuilt) is type(tree)
        assert getattr(rebuilt, "maxlen", None) == getattr(tree, "maxlen", None)
    results = [m.tree_map(lambda x, y: (x, y), tree, tree) for m in (ours, theirs)]
    assert results[0] == results[1]
    results = [m.tree_map_only(int, lambda x: -x, tree) for m in (ours, theirs)]
    assert results[0] == results[1]
    inner = [m.tree_flatten(tree, is_leaf=lambda x: isinstance(x, list))[0] for m in (ours, theirs)]
    assert inner[0] == inner[1]
    assert ours.tree_structure(tree) == ours.tree_structure(tree)
    assert ours.tree_structure(tree) != ours.tree_structure([tree, 0])


def test_pytree_of_a_registered_class() -> None:
    class Pair:
        def __init__(self, a: Any, b: Any) -> None:
            self.a, self.b = a, b

    for module in (ours, theirs):
        module.register_pytree_node(
            Pair, lambda p: ([p.a, p.b], None), lambda children, _: Pair(*children)
        )
        pair = module.tree_map(lambda x: x + 1, [Pair(1, (2, 3))])[0]
        assert (pair.a, pair.b) == (2, (3, 4))
        with pytest.raises(ValueError, match="already registered"):
            module.register_pytree_node(Pair, lambda p: ([], None), lambda c, _: Pair(1, 2))


def test_pytree_bad_input() -> None:
    spec = ours.tree_structure([1, 2])
    for module, its_spec in ((ours, spec), (theirs, theirs.tree_structure([1, 2]))):
        with pytest.raises(ValueError):
            module.tree_unflatten([1], its_spec)
        with pytest.raises(TypeError):
            module.tree_unflatten([1], "spec")
        with pytest.raises(ValueError):
            module.tree_map(lambda x, y: x, [1, 2], [1])


def test_compiler_marks_change_nothing() -> None:
    def f(x: int) -> int:
        return x

    assert tg.compiler.disable(f) is f and tg.compiler.disable(recursive=False)(f) is f
    assert tg.compiler.allow_in_graph(f) is f
    assert not tg.compiler.is_compiling() and not torch.compiler.is_compiling()
    tg.compiler.cudagraph_mark_step_begin()


def test_final_takes_a_type() -> None:
    class Layer(tg.nn.Module):
        size: tg.jit.Final[int]

    assert Layer.__annotations__["size"] == "tg.jit.Final[int]" and tg.jit.Final[int]


def test_datasets_take_type_arguments() -> None:
    for module in (tg.utils.data, torch.utils.data):
        for name in ("Dataset", "IterableDataset", "Subset", "ConcatDataset", "StackDataset"):
            assert getattr(module, name)[int].__origin__ is getattr(module, name)
        for name in ("Sampler", "DataLoader", "DistributedSampler"):
            assert getattr(module, name)[int].__origin__ is getattr(module, name)


def test_modules_inside_companions_are_attributes() -> None:
    fx = find_companion("fx")
    assert fx.node is find_companion("fx.node") and isinstance(fx.node.Node, type)
    utils = find_companion("_utils")
    parts = [tg.arange(6.0).reshape(2, 3), tg.tensor(7.0), tg.ones(2)]
    row = utils._flatten_dense_tensors(parts)
    assert row.tolist() == [0, 1, 2, 3, 4, 5, 7, 1, 1]
    for part, again in zip(parts, utils._unflatten_dense_tensors(row, parts), strict=True):
        assert again.shape == part.shape and bool((again == part).all())


def test_the_gradient_of_softmax_that_some_programs_call() -> None:
    grad, output = torch.randn(3, 4), torch.rand(3, 4)
    expected = torch._softmax_backward_data(grad, output, 1, torch.float32)
    ours = find_companion("_softmax_backward_data")
    found = ours(tg.from_numpy(grad.numpy()), tg.from_numpy(output.numpy()), 1, tg.float32)
    torch.testing.assert_close(torch.from_numpy(found.numpy()), expected)
