"""``EinsumDense``: a dense layer whose product is an equation."""

from __future__ import annotations

import re
from typing import Any

import tilegrad as tg

from .. import activations
from ..registry import own_module
from .core import Weighted

__all__ = ["EinsumDense"]


class EinsumDense(Weighted):
    """``activation(einsum(equation, inputs, kernel) + bias)``, for example ``"abc,cd->abd"``.

    ``output_shape`` is without the batch; ``bias_axes`` names the axes of the bias. Raises
    ValueError for an equation that does not fit the input.
    """

    def __init__(
        self,
        equation: str,
        output_shape: Any,
        activation: Any = None,
        bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.equation, self.bias_axes = equation, bias_axes
        self.partial_output_shape = (
            (output_shape,) if isinstance(output_shape, int) else tuple(output_shape)
        )
        self.activation = activations.get(activation)
        self._set_options(locals())

    def _parts(self, rank: int) -> tuple[str, str, str]:
        """The letters of input, kernel and output, the dots replaced by letters of their own."""
        found = re.fullmatch(r"([\w.]+),([\w.]+)->([\w.]+)", self.equation.replace(" ", ""))
        if not found:
            raise ValueError(
                f"Invalid einsum equation '{self.equation}'. Equations must be in the form "
                "[X],[Y]->[Z]"
            )
        left, kernel, right = found.groups()
        missing = rank - len(left.replace("...", ""))
        filler = "".join(c for c in "0123456789"[:missing])
        return left.replace("...", filler), kernel, right.replace("...", filler)

    def build(self, input_shape: Any) -> None:
        left, kernel, right = self._parts(len(input_shape))
        sizes = dict(zip(left, input_shape, strict=True))
        given = self.partial_output_shape
        sizes.update(
            {c: n for c, n in zip(right[-len(given) :], given, strict=True) if n is not None}
        )
        self.__dict__["_sizes"] = sizes
        shape = [sizes.get(c) for c in kernel]
        if None in shape:
            raise ValueError(
                f"EinsumDense: the sizes of {kernel!r} do not follow from the input of shape "
                f"{tuple(input_shape)} and output_shape={given}"
            )
        self.kernel = self._weight("kernel", shape)
        self.bias = None
        if self.bias_axes is not None:
            first = min(right.index(c) for c in self.bias_axes)
            bias = [sizes[c] if c in self.bias_axes else 1 for c in right[first:]]
            self.bias = self._weight("bias", bias)

    def call(self, inputs: Any) -> Any:
        if not inputs.dtype.is_floating_point:
            inputs = inputs.to(self._compute)
        y = tg.einsum(self.equation, inputs, self.kernel)
        return self.activation(y if self.bias is None else y + self.bias)

    def compute_output_shape(self, input_shape: Any) -> tuple:
        left, _, right = self._parts(len(input_shape))
        sizes = {**self._sizes, **dict(zip(left, input_shape, strict=True))}
        return tuple(sizes[c] for c in right)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "equation": self.equation,
            "output_shape": self.partial_output_shape,
            "activation": activations.serialize(self.activation),
            "bias_axes": self.bias_axes,
            **self._options_config(),
        }


own_module(globals())
