"""Graphs: a sequence of kernels, written down once and launched again as a whole.

A launch costs the host a few microseconds, and a small network's training step is hundreds of
launches; a graph is one. What a graph reads and writes stays where it was when it was captured:
new data is copied into the same tensors. Nothing may wait for the card in between (``item()``,
printing, copies to the host), which is a RuntimeError, and nothing of the host's is repeated:
Python code, random draws of the CPU. Random draws of the card are new in each replay: what the same
calls would draw then, from the generators that they were captured with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import _C
from ..autograd.mode import no_grad
from ..tensor import Tensor
from ..utils._pytree import tree_flatten, tree_unflatten
from ._index import index_of
from .streams import Stream, StreamContext, current_stream, is_current_stream_capturing

__all__ = [
    "CUDAGraph",
    "graph",
    "graph_pool_handle",
    "is_current_stream_capturing",
    "make_graphed_callables",
]


def graph_pool_handle() -> tuple[int, int]:
    """A name for memory that several graphs share, which then must not run at the same time."""
    return (0, _C.cuda_new_pool())


class CUDAGraph:
    """A captured sequence of kernels. See :class:`tilegrad.cuda.graph` for how to fill it."""

    def __init__(self, keep_graph: bool = False) -> None:
        self._handle = 0

    def capture_begin(self, pool: Any = None, capture_error_mode: str = "global") -> None:
        """Begins to write down what this thread gives to its current stream.

        Raises RuntimeError on the default stream, and inside of another capture.
        """
        if self._handle:
            raise RuntimeError("capture_begin: this CUDAGraph has been captured; reset() it first")
        self._handle = _C.cuda_graph_begin(index_of(None), 0 if pool is None else pool[1])

    def capture_end(self) -> None:
        """Ends the capture. Raises RuntimeError if something in it cannot be captured."""
        if not self._handle:
            raise RuntimeError("capture_end: there is no capture to end")
        try:
            _C.cuda_graph_end(self._handle)
        except RuntimeError:
            self.reset()
            raise

    def register_generator_state(self, generator: Any) -> None:
        """Does nothing: every generator that captured calls draw from is known to the graph."""

    def replay(self) -> None:
        """Gives the whole sequence to the current stream.

        Raises RuntimeError if nothing is captured, and for an index or label out of range that an
        earlier replay has met.
        """
        if not self._handle:
            raise RuntimeError("replay: called on a CUDAGraph without a successful capture")
        _C.cuda_graph_replay(self._handle)

    def reset(self) -> None:
        """Forgets the sequence and gives its memory back."""
        if self._handle:
            handle, self._handle = self._handle, 0
            _C.cuda_graph_destroy(handle)

    def pool(self) -> tuple[int, int]:
        """The name of the graph's memory, for graphs that are to share it."""
        return (0, _C.cuda_graph_pool(self._handle) if self._handle else 0)

    def __del__(self) -> None:
        if getattr(self, "_handle", 0):
            self.reset()


class graph:
    """A ``with`` block whose kernels are written down in a :class:`CUDAGraph`, not run.

    Args:
        cuda_graph: An empty :class:`CUDAGraph`.
        pool: Of :func:`graph_pool_handle` or :meth:`CUDAGraph.pool`, to share memory with others.
        stream: Where to capture; a stream of its own unless given.

    Raises RuntimeError if something in the block cannot be captured. A block that is left by an
    exception leaves the :class:`CUDAGraph` empty.
    """

    def __init__(
        self,
        cuda_graph: CUDAGraph,
        pool: Any = None,
        stream: Stream | None = None,
        capture_error_mode: str = "global",
    ) -> None:
        self.cuda_graph, self.pool = cuda_graph, pool
        self.capture_stream = Stream() if stream is None else stream
        self._context = StreamContext(self.capture_stream)

    def __enter__(self) -> None:
        _C.cuda_synchronize(index_of(None))
        _C.cuda_empty_cache()
        self._context.__enter__()
        try:
            self.cuda_graph.capture_begin(self.pool)
        except BaseException:
            self._context.__exit__()
            raise

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            self.cuda_graph.capture_end()
        except RuntimeError:
            if error is None:  # else the first complaint is the one that helps
                raise
        finally:
            self._context.__exit__()
            if error is not None:  # what was captured before it is not what was meant
                self.cuda_graph.reset()


def make_graphed_callables(
    callables: Any,
    sample_args: Any,
    num_warmup_iters: int = 3,
    allow_unused_input: bool = False,
    pool: Any = None,
) -> Any:
    """Functions or modules with the same results whose forward and backward passes are graphs.

    ``sample_args``: for each callable a tuple of tensors with the shapes, dtypes, devices and
    ``requires_grad`` of all later calls. Modules are changed in place and returned; only their
    training or evaluation mode of now is captured. Raises RuntimeError for what cannot be captured,
    ValueError for arguments of other shapes in a later call.
    """
    single = not isinstance(callables, tuple)
    every: Sequence[Any] = (callables,) if single else callables
    samples = (sample_args,) if single else sample_args
    pool = graph_pool_handle() if pool is None else pool
    made = []
    for function, sample in zip(every, samples, strict=True):
        made.append(_replaced(function, _Graphed(function, sample, num_warmup_iters, pool)))
    return made[0] if single else tuple(made)


def _replaced(function: Any, graphed: _Graphed) -> Any:
    """A module gets a new ``forward``, for the mode in which it was captured."""
    if not hasattr(function, "parameters"):
        return graphed
    mode, forward = function.training, function.forward
    graphed.function = forward

    def call(*args: Any) -> Any:
        return graphed(*args) if function.training == mode else forward(*args)

    function.forward = call
    return function


class _Graphed:
    """One callable with its static inputs, outputs and gradients."""

    def __init__(self, function: Callable[..., Any], sample: tuple, warmup: int, pool: Any) -> None:
        self.function = function
        self.inputs = [x for x in tree_flatten(sample)[0] if isinstance(x, Tensor)]
        parameters: Any = getattr(function, "parameters", tuple)()
        self.parameters = [p for p in parameters if p.requires_grad]
        self.leaves = [x for x in self.inputs if x.requires_grad] + self.parameters
        self.forward_graph, self.backward_graph = CUDAGraph(), CUDAGraph()
        side = Stream()
        side.wait_stream(current_stream())
        with StreamContext(side):
            for _ in range(warmup):
                outputs = tree_flatten(function(*sample))[0]
                self._gradients([y for y in outputs if y.requires_grad], None)
            del outputs
        current_stream().wait_stream(side)
        with graph(self.forward_graph, pool):
            outputs, self.structure = tree_flatten(function(*sample))
        self.roots = [y for y in outputs if y.requires_grad]
        self.outputs = [y.detach() for y in outputs]
        self.seeds = [_C.empty(y.shape, y.dtype, y.device) for y in self.roots]
        self.gradients: list[Any] = []
        if self.roots and self.leaves:
            with graph(self.backward_graph, pool):
                self.gradients = self._gradients(self.roots, self.seeds)
        self.needs = [y.requires_grad for y in outputs]

    def _gradients(self, roots: list[Any], seeds: Any) -> list[Any]:
        from ..autograd import grad

        if not roots or not self.leaves:
            return []
        seeds = [_C.full(y.shape, 1, y.dtype, y.device) for y in roots] if seeds is None else seeds
        return list(grad(roots, self.leaves, seeds, allow_unused=True))

    def __call__(self, *args: Any) -> Any:
        given = [x for x in tree_flatten(args)[0] if isinstance(x, Tensor)]
        if len(given) != len(self.inputs) or any(
            x.shape != y.shape or x.dtype is not y.dtype
            for x, y in zip(given, self.inputs, strict=True)
        ):
            raise ValueError(
                "make_graphed_callables: expected the shapes and dtypes of sample_args"
            )
        results = _function()(self, len(given), *given, *self.parameters)
        results = results if isinstance(results, tuple) else (results,)
        return tree_unflatten(list(results), self.structure)

    @no_grad()
    def replay_forward(self, given: Sequence[Any]) -> tuple:
        for static, x in zip(self.inputs, given, strict=True):
            if static.data_ptr() != x.data_ptr():
                static.copy_(x)
        self.forward_graph.replay()
        return tuple(y.detach() for y in self.outputs)

    @no_grad()
    def replay_backward(self, grads: Sequence[Any]) -> list[Any]:
        wanted = [g for g, needed in zip(grads, self.needs, strict=True) if needed]
        for static, g in zip(self.seeds, wanted, strict=True):
            static.zero_() if g is None else static.copy_(g)
        self.backward_graph.replay()
        found = iter(self.gradients)
        of_inputs = [next(found) if x.requires_grad else None for x in self.inputs]
        return [None if g is None else g.detach() for g in (*of_inputs, *found)]


def _function() -> Any:
    """The autograd function of a replay; made late, since autograd imports this package."""
    global _replay
    if _replay is None:
        from ..autograd import Function

        class Replay(Function):
            @staticmethod
            def forward(ctx: Any, graphed: _Graphed, count: int, *tensors: Any) -> Any:
                ctx.graphed = graphed
                return graphed.replay_forward(tensors[:count])

            @staticmethod
            def backward(ctx: Any, *grads: Any) -> Any:
                return (None, None, *ctx.graphed.replay_backward(grads))

        _replay = Replay.apply
    return _replay


_replay: Any = None
