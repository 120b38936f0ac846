"""A softmax over very many classes that computes rare classes only where they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..ops.fill import full_like
from ..ops.join import cat
from ..ops.where import where
from . import functional as F
from .container import ModuleList, Sequential
from .linear import Linear
from .module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class _ASMoutput(NamedTuple):
    """What the layer returns: the target's log-probability per row, and its mean loss."""

    output: Any
    loss: Any


class AdaptiveLogSoftmaxWithLoss(Module):
    """A log-softmax in two levels: frequent classes, and clusters of ever rarer ones.

    Classes are sorted by frequency; ``cutoffs`` are where the clusters begin. Cluster i is computed
    from ``in_features // div_value ** i`` features (Grave et al., "Efficient softmax approximation
    for GPUs", 2017). Inputs (batch, in_features) with targets (batch), or (in_features) with ().

    Raises ValueError for cutoffs that are not unique, sorted and between 1 and ``n_classes - 1``;
    RuntimeError for other shapes and targets out of range.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if len(cutoffs) == 0:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if (
            cutoffs != sorted(set(cutoffs))
            or min(cutoffs) <= 0
            or max(cutoffs) > n_classes - 1
            or any(int(c) != c for c in cutoffs)
        ):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing "
                "order, where each value is between 1 and n_classes-1"
            )
        self.in_features, self.n_classes = in_features, n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        options = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **options)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            hidden = int(in_features // div_value ** (i + 1))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(
                    Linear(in_features, hidden, bias=False, **options),
                    Linear(hidden, size, bias=False, **options),
                )
            )

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        for layer in self.modules():
            if isinstance(layer, Linear):
                layer.reset_parameters()

    def forward(self, input_: Any, target_: Any) -> _ASMoutput:
        """The log-probabilities of the targets, and their negative mean."""
        if target_.ndim > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if input_.ndim != target_.ndim + 1:
            raise RuntimeError(
                f"{target_.ndim}D target tensor expects {target_.ndim + 1}D input tensors, "
                f"but found inputs with size {input_.size()}"
            )
        if target_.ndim and input_.shape[0] != target_.shape[0]:
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        target = target_.reshape(-1)
        rows = input_.reshape(-1, input_.shape[-1])
        if target.numel() and not 0 <= target.min().item() <= target.max().item() < self.n_classes:
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{target.min().item()}, {target.max().item()}] were found. "
            )
        head = F.log_softmax(self.head(rows), dim=1)
        column, output = target, None
        for i in range(self.n_clusters):
            low, high = self.cutoffs[i], self.cutoffs[i + 1]
            inside = (target >= low) & (target < high)
            members = inside.nonzero().reshape(-1)
            column = where(inside, full_like(target, self.shortlist_size + i), column)
            if members.numel() == 0:
                continue
            scores = F.log_softmax(self.tail[i](rows.index_select(0, members)), dim=1)
            label = target.index_select(0, members) - low
            part = (head[:, 0] * 0).index_add(
                0, members, scores.gather(1, label.unsqueeze(1))[:, 0]
            )
            output = part if output is None else output + part
        output = head.gather(1, column.unsqueeze(1))[:, 0] + (0 if output is None else output)
        return _ASMoutput(output.reshape(target_.shape), -output.mean())

    def log_prob(self, input: Any) -> Any:
        """The log-probabilities of all classes: (batch, n_classes)."""
        head = F.log_softmax(self.head(input), dim=1)
        parts = [head[:, : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            inner = F.log_softmax(cluster(input), dim=1)
            parts.append(inner + head[:, self.shortlist_size + i].unsqueeze(1))
        return cat(parts, 1)

    def predict(self, input: Any) -> Any:
        """The most probable class of each row. Rows whose head is sure need no cluster."""
        best = self.head(input).argmax(1)
        rare = best >= self.shortlist_size
        if not rare.any().item():
            return best
        return where(rare, self.log_prob(input).argmax(1), best)
