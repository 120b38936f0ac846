"""Dense, Embedding, Lambda, Masking, Identity, Activation and their kin."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ...nn import functional as F
from .. import activations, constraints, initializers, regularizers, tree
from ..op import on_tensors
from ..registry import own_module, serialize_keras_object
from ..symbolic import KerasTensor, Node, context, infer
from .dense_function import dense, dense_relu
from .input_spec import InputSpec
from .layer import Layer
from .signature import shape_of

__all__ = [
    "Dense",
    "Embedding",
    "Identity",
    "InputLayer",
    "Lambda",
    "Masking",
    "ReversibleEmbedding",
]


class Weighted(Layer):
    """A layer with the usual options for its weights: they are kept and written down here.

    ``_WEIGHTS`` names them: each has an initializer, a regularizer and a constraint.
    """

    _WEIGHTS: tuple[str, ...] = ("kernel", "bias")

    def _set_options(self, options: dict[str, Any]) -> None:
        for name in self._WEIGHTS:
            for kind, room in (
                ("initializer", initializers),
                ("regularizer", regularizers),
                ("constraint", constraints),
            ):
                key = f"{name}_{kind}"
                if key in options:
                    setattr(self, key, room.get(options[key]))

    def _weight(self, name: str, shape: Any, option: str | None = None, **kwargs: Any) -> Any:
        option = option or name
        return self.add_weight(
            shape=shape,
            name=name,
            initializer=getattr(self, f"{option}_initializer"),
            regularizer=getattr(self, f"{option}_regularizer", None),
            constraint=getattr(self, f"{option}_constraint", None),
            **kwargs,
        )

    def _options_config(self) -> dict[str, Any]:
        config = {}
        for name in self._WEIGHTS:
            for kind in ("initializer", "regularizer", "constraint"):
                key = f"{name}_{kind}"
                if hasattr(self, key):
                    config[key] = serialize_keras_object(getattr(self, key))
        return config


class Dense(Weighted):
    """``activation(inputs @ kernel + bias)``. Shapes: (..., n) to (..., units).

    Raises ValueError for ``units`` that is no positive integer, for unknown activations,
    initializers, regularizers and constraints, and for an input of rank 1 or another last size than
    the first.
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: Any = None,
        lora_alpha: Any = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        if isinstance(units, bool) or not isinstance(units, int) or units <= 0:
            raise ValueError(
                "Received an invalid value for `units`, expected a positive integer. Received: "
                f"units={units}"
            )
        if lora_rank is not None or quantization_config is not None:
            raise NotImplementedError("Dense: lora_rank and quantization_config are not supported")
        self.units = units
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self._set_options(locals())
        self.input_spec = InputSpec(min_ndim=2)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        size = input_shape[-1]
        if size is None:
            raise ValueError(
                "The last dimension of the inputs to a Dense layer should be defined. Found None. "
                f"Full input shape received: {input_shape}"
            )
        self.kernel = self._weight("kernel", (size, self.units))
        self.bias = self._weight("bias", (self.units,)) if self.use_bias else None
        self.input_spec = InputSpec(min_ndim=2, axes={-1: size})
        relu = self.activation is activations.relu
        self.__dict__["_function"] = dense_relu if relu else dense
        self.__dict__["_rest"] = (
            None if relu or self.activation is activations.linear else on_tensors(self.activation)
        )

    def call(self, inputs: Any, training: Any = None) -> Any:
        if not inputs.dtype.is_floating_point:  # integers, as from one-hot encoding
            inputs = inputs.to(self._compute)
        outputs = self._function(inputs, self.kernel, self.bias)
        return outputs if self._rest is None else self._rest(outputs)

    def compute_output_shape(self, input_shape: Any) -> tuple:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            **self._options_config(),
        }


class Embedding(Weighted):
    """A row of a table for each integer. Shapes: (...) to (..., output_dim).

    With ``mask_zero`` the number 0 is padding: layers behind it get a mask. Raises IndexError for a
    number outside [0, ``input_dim``).
    """

    _WEIGHTS = ("embeddings",)
    _makes_masks = False

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: Any = None,
        lora_alpha: Any = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        length = kwargs.pop("input_length", None)
        if length is not None:
            kwargs["input_shape"] = (length,)
        super().__init__(**kwargs)
        self.input_dim, self.output_dim = int(input_dim), int(output_dim)
        self._set_options(locals())
        self.mask_zero = mask_zero
        self.supports_masking = mask_zero
        self.autocast = False
        self.__dict__["_makes_masks"] = mask_zero
        context.masks = context.masks or mask_zero
        if weights is not None:
            self.build(None)
            self.set_weights(weights if isinstance(weights, list) else [weights])

    def build(self, input_shape: Any = None) -> None:
        if not self.built:
            self.embeddings = self._weight("embeddings", (self.input_dim, self.output_dim))

    def call(self, inputs: Any) -> Any:
        if inputs.dtype not in (tg.int32, tg.int64):
            inputs = inputs.to(tg.int32)
        if context.tracing:  # sequences of a trial run may be longer than a table of positions
            inputs = inputs.clamp(0, self.input_dim - 1)
        return F.embedding(inputs, self.embeddings)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """True where the number is not 0, with ``mask_zero``."""
        return inputs != 0 if self.mask_zero else None

    def compute_output_shape(self, input_shape: Any) -> tuple:
        return (*input_shape, self.output_dim)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            **self._options_config(),
            "mask_zero": self.mask_zero,
        }


class ReversibleEmbedding(Embedding):
    """An embedding that also gives logits: called with ``reverse=True``, (..., output_dim) becomes
    (..., input_dim) by the same table, or by one of its own without ``tie_weights``."""

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        reverse_dtype: Any = None,
        logit_soft_cap: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            input_dim,
            output_dim,
            embeddings_initializer,
            embeddings_regularizer,
            embeddings_constraint,
            mask_zero,
            **kwargs,
        )
        self.tie_weights, self.logit_soft_cap = tie_weights, logit_soft_cap

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        if not self.tie_weights:
            self.reverse_embeddings = self._weight(
                "reverse_embeddings", (self.output_dim, self.input_dim), "embeddings"
            )

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        if not reverse:
            return super().call(inputs)
        table = self.embeddings.t() if self.tie_weights else self.reverse_embeddings
        logits = inputs @ table
        cap = self.logit_soft_cap
        return logits if cap is None else tg.tanh(logits / cap) * cap

    def compute_output_spec(self, inputs: Any, reverse: bool = False) -> Any:
        size = self.input_dim if reverse else self.output_dim
        head = inputs.shape[:-1] if reverse else inputs.shape
        return KerasTensor((*head, size), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "tie_weights": self.tie_weights,
            "logit_soft_cap": self.logit_soft_cap,
        }


class Identity(Layer):
    """The inputs themselves."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any) -> Any:
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


class Masking(Layer):
    """Masks time steps whose features all equal ``mask_value``, and sets them to zero."""

    def __init__(self, mask_value: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mask_value = mask_value
        self.supports_masking = True
        self.built = True

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """True where a time step is to be seen."""
        return (inputs != self.mask_value).any(-1)

    def call(self, inputs: Any) -> Any:
        seen = (inputs != self.mask_value).any(-1, keepdim=True)
        return inputs * seen.to(inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mask_value": self.mask_value}


class Lambda(Layer):
    """A function as a layer. It is saved by name, so a lambda cannot be saved."""

    _takes_plain_values = True
    _makes_masks = False

    def __init__(
        self,
        function: Any,
        output_shape: Any = None,
        mask: Any = None,
        arguments: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.function, self.arguments = function, arguments or {}
        self._output_shape, self.mask = output_shape, mask
        self.supports_masking = mask is not None
        self.__dict__["_makes_masks"] = mask is not None
        context.masks = context.masks or mask is not None
        self.built = True

    def call(self, inputs: Any, mask: Any = None, training: Any = None) -> Any:
        import inspect

        kwargs = dict(self.arguments)
        parameters = inspect.signature(self.function).parameters
        if "mask" in parameters:
            kwargs["mask"] = mask
        if "training" in parameters:
            kwargs["training"] = training
        return self.function(inputs, **kwargs)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """What the argument ``mask`` says, a mask or a function of inputs and mask."""
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    def compute_output_spec(self, inputs: Any, **kwargs: Any) -> Any:
        if self._output_shape is None:
            return infer(self, (inputs,), {})
        shape = self.compute_output_shape(shape_of(inputs))
        return tree.map_shape_structure(lambda s: KerasTensor(s, self.compute_dtype), shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        if self._output_shape is None:
            return super().compute_output_shape(input_shape)
        if callable(self._output_shape):
            return self._output_shape(input_shape)
        batch = tree.flatten(input_shape)[0]
        return tree.map_shape_structure(lambda s: (batch, *s), self._output_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "function": serialize_keras_object(self.function),
            "output_shape": serialize_keras_object(self._output_shape),
            "mask": serialize_keras_object(self.mask),
            "arguments": serialize_keras_object(self.arguments),
        }


class InputLayer(Layer):
    """Where a model's input comes in; ``keras.Input`` makes one."""

    def __init__(
        self,
        shape: Any = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: Any = None,
        ragged: Any = None,
        batch_shape: Any = None,
        input_tensor: Any = None,
        optional: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name)
        if sparse or ragged:
            raise ValueError("Input: sparse and ragged inputs are not supported")
        batch_shape = kwargs.pop("batch_input_shape", batch_shape)
        if batch_shape is None and shape is None and input_tensor is None:
            raise ValueError("You must pass a `shape` argument.")
        if batch_shape is None and input_tensor is None:
            if isinstance(shape, int):
                raise ValueError(
                    f"Input: argument 'shape': expected a tuple such as ({shape},), got {shape}"
                )
            batch_shape = (batch_size, *shape)
        if input_tensor is None:
            input_tensor = KerasTensor(batch_shape, dtype or self.compute_dtype, name=self.name)
        self.batch_shape = tuple(input_tensor.shape)
        self.optional = optional
        self.__dict__["_input_dtype"] = input_tensor.dtype
        Node(self, (), {}, input_tensor)
        self.built = True

    def call(self) -> Any:
        raise NotImplementedError("InputLayer: it is never called")

    @property
    def dtype(self) -> str:
        """The dtype of the input, by name."""
        return self._input_dtype

    def get_config(self) -> dict[str, Any]:
        return {
            "batch_shape": self.batch_shape,
            "dtype": self.dtype,
            "name": self.name,
            "optional": self.optional,
        }


def Input(
    shape: Any = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: Any = None,
    ragged: Any = None,
    batch_shape: Any = None,
    name: str | None = None,
    tensor: Any = None,
    optional: bool = False,
) -> Any:
    """A tensor to come, where a functional model begins. ``shape`` is without the batch.

    Raises ValueError without any shape.
    """
    layer = InputLayer(
        shape, batch_size, dtype, sparse, ragged, batch_shape, tensor, optional, name
    )
    return layer.output


own_module(globals())
