"""``Layer``: the base class of all layers and models."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np

import tilegrad as tg

from ...nn.hooks import call_with_hooks
from ...nn.module import Module
from .. import constraints, initializers, regularizers, tree
from ..dtypes import DTypePolicy, convert_to_tensor, dtype_of, policy_of
from ..naming import auto_name
from ..stateless import StatelessLayer
from ..symbolic import KerasTensor, Node, any_symbolic, context, infer
from ..variable import Variable, standardize_shape
from .input_spec import InputSpec, check_input
from .signature import call_signature, given_shape, is_shape, shape_of, shapes_for_build
from .tracking import Tracking

__all__ = ["Layer"]


class Layer(StatelessLayer, Tracking):
    """A function with weights. Subclasses define ``call``, and ``build`` where weights depend on
    the shape of the input.

    ``build(input_shape)`` runs before the first call; it makes weights with :meth:`add_weight`.
    ``call(inputs, training=None, mask=None)`` computes; ``training`` and ``mask`` are passed to it
    if it has such parameters. Arrays among the inputs become tensors of the layer's dtype.
    """

    _call_info: Any
    _makes_masks = False  # defines masks even where none came in
    _losses_used = False  # has any layer added a loss?

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        Module.__init__(self)
        state = self.__dict__
        state["_own_weights"] = []
        state["_init_arguments"] = (args, kwargs)
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__:
            cls.build = _marking_built(cls.__dict__["build"])  # type: ignore[method-assign]
        if "call" in cls.__dict__:
            cls._call_info = call_signature(cls.__dict__["call"])
        if "compute_mask" in cls.__dict__ and "_makes_masks" not in cls.__dict__:
            cls._makes_masks = True

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        state = self.__dict__
        state["_name"] = _checked_name(name) or auto_name(type(self).__name__)
        state["_losses"] = []
        state["_inbound_nodes"] = []
        state["_outbound_nodes"] = []
        state["_trainable"] = bool(trainable)
        state["_policy"] = policy_of(dtype)
        state["_compute"] = dtype_of(self._policy.compute_dtype)
        state["_mixed"] = self._policy.compute_dtype != self._policy.variable_dtype
        state["built"] = False
        state["supports_masking"] = type(self).compute_mask is not Layer.compute_mask
        state["autocast"] = autocast
        state["input_spec"] = None
        state["_checked_shape"] = None
        state["activity_regularizer"] = regularizers.get(activity_regularizer)
        state["_given_shape"] = given_shape(kwargs)
        if kwargs:
            raise ValueError(
                f"Unrecognized keyword arguments passed to {type(self).__name__}: {kwargs}"
            )
        if self._makes_masks:
            context.masks = True

    # --- names and dtypes ---------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Unique among the layers that were given none."""
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self.__dict__["_name"] = value

    @property
    def dtype(self) -> str:
        """The dtype of the weights, by name."""
        return self._policy.variable_dtype

    variable_dtype = dtype

    @property
    def compute_dtype(self) -> str:
        """What floating-point inputs are converted to, by name."""
        return self._policy.compute_dtype

    @property
    def dtype_policy(self) -> DTypePolicy:
        """The dtypes of weights and inputs."""
        return self._policy

    # --- weights ------------------------------------------------------------------------------

    def build(self, *args: Any, **kwargs: Any) -> None:
        """Makes the weights; layers without any need none. Subclasses override it."""
        self.built = True

    def add_weight(
        self,
        shape: Any = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: Any = None,
        overwrite_with_gradient: bool = False,
        name: str | None = None,
    ) -> Variable:
        """A new weight, by default Glorot-uniform, for integers and booleans zero.

        Raises ValueError for an unknown initializer, regularizer or constraint and for a shape with
        open sizes.
        """
        shape = () if shape is None else standardize_shape(shape)
        dtype = dtype_of(dtype if dtype is not None else self.variable_dtype)
        if initializer is None:
            initializer = "glorot_uniform" if dtype.is_floating_point else "zeros"
        weight = Variable(
            initializers.get(initializer),
            shape=shape,
            dtype=dtype,
            trainable=trainable,
            name=name or "variable",
        )
        if not self._trainable:
            weight.trainable = False
        state = weight.__dict__
        state["_path"] = f"{self._name}/{weight.name}"
        state["regularizer"] = regularizers.get(regularizer)
        state["constraint"] = constraints.get(constraint)
        self._own_weights.append(weight)
        return weight

    def add_loss(self, loss: Any) -> None:
        """Adds one or more numbers to what training minimizes; call it within ``call``."""
        Layer._losses_used = True
        for value in tree.flatten(loss):
            if value is not None:
                self._losses.append(value)

    # --- calling ------------------------------------------------------------------------------

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the output; every subclass overrides it."""
        raise NotImplementedError(
            f"Layer {type(self).__name__} does not have a `call()` method implemented."
        )

    _call_info = call_signature(call)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The same as ``call``, under the name that ``nn.Module`` knows."""
        return self.call(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        state = self.__dict__
        if "built" not in state:
            raise RuntimeError(
                f"In layer '{type(self).__name__}', you forgot to call `super().__init__()` as the "
                "first statement in the `__init__()` method. Go add it!"
            )
        plain = len(args) == 1 and type(args[0]) is tg.Tensor
        if not plain or (kwargs and not (len(kwargs) == 1 and "training" in kwargs)):
            if any_symbolic((args, kwargs)):
                return self._call_symbolically(args, kwargs)
            args = tuple([self._converted(x, True) for x in args])
            kwargs = {k: self._converted(x, False) for k, x in kwargs.items()}
        elif args[0].dtype is not self._compute and args[0].dtype.is_floating_point:
            args = (self._converted(args[0], True),)
        if state["input_spec"] is not None and args:
            self._check_inputs(args[0])
        if not state["built"]:
            self._build_for(args, kwargs)
        info = self._call_info
        outer = context.training
        training = kwargs.get("training")
        if training is None:
            training = outer if outer is not None else info.default_training
        if info.takes_training:
            kwargs["training"] = bool(training)
        elif "training" in kwargs and not info.takes_any:
            del kwargs["training"]
        mask = self._mask_for(args, kwargs) if context.masks else None
        if Layer._losses_used and not context.paths:
            self._clear_losses()
        context.training = None if training is None else bool(training)
        context.paths.append(self._name)
        try:
            outputs = self._run(args, kwargs)
        finally:
            context.training = outer
            context.paths.pop()
        if state["activity_regularizer"] is not None:
            self._regularize(outputs)
        if context.masks and state["supports_masking"]:
            self._set_mask(args, kwargs, outputs, mask)
        return outputs

    def _run(self, args: tuple, kwargs: dict) -> Any:
        if self._mixed:
            with tg.autocast("cpu", dtype=self._compute):
                return self.call(*args, **kwargs)
        if self._hooks is not None:
            return call_with_hooks(self, args, kwargs)
        return self.call(*args, **kwargs)

    def _converted(self, x: Any, positional: bool) -> Any:
        """Arrays as tensors, and floating-point ones in the layer's dtype."""
        if isinstance(x, tg.Tensor):
            wrong = x.dtype is not self._compute and x.dtype.is_floating_point and self.autocast
            if not wrong:
                return x
            made = x.to(self._compute)
            if context.masks and hasattr(x, "_keras_mask"):
                made._keras_mask = x._keras_mask
            return made
        if x is None:
            return None
        if isinstance(x, (list, tuple)):
            items = [self._converted(item, positional) for item in x]
            return type(x)(items) if type(x) in (list, tuple) else items
        if isinstance(x, dict):
            return {key: self._converted(item, positional) for key, item in x.items()}
        if hasattr(x, "__array__") and not isinstance(x, np.str_):
            if np.asarray(x).dtype.kind not in "biuf":
                return x  # text, which some layers take
            return self._converted(convert_to_tensor(x), positional)
        if positional and not self._takes_plain_values:
            raise ValueError(
                "Only input tensors may be passed as positional arguments. The following argument "
                f"value should be passed as a keyword argument: {x} (of type {type(x)})"
            )
        return x

    _takes_plain_values = False  # may positional arguments be numbers and strings?

    def _check_inputs(self, inputs: Any) -> None:
        specs = self.input_spec
        if not isinstance(specs, (list, tuple)):
            shape = getattr(inputs, "shape", None)
            if shape is not None:
                if shape == self._checked_shape:
                    return
                check_input(specs, tuple(shape), 0, self._name)
                self.__dict__["_checked_shape"] = shape
            return
        given = tree.flatten(inputs)
        if len(given) != len(specs):
            raise ValueError(
                f'Layer "{self._name}" expects {len(specs)} input(s), but it received {len(given)} '
                f"input tensors. Inputs received: {[shape_of(x) for x in given]}"
            )
        for index, (spec, x) in enumerate(zip(specs, given, strict=True)):
            if x is not None and isinstance(spec, InputSpec):
                check_input(spec, tuple(x.shape), index, self._name)

    def _build_for(self, args: tuple, kwargs: dict) -> None:
        shapes, named = shapes_for_build(type(self).build, self._call_info.names, args, kwargs)
        self.build(*shapes, **named)
        self.__dict__["built"] = True
        if self.input_spec is not None and args:
            self._check_inputs(args[0])

    # --- graphs -------------------------------------------------------------------------------

    def _call_symbolically(self, args: tuple, kwargs: dict) -> Any:
        args = tuple(self._converted_or_symbolic(x) for x in args)
        if self.input_spec is not None and args:
            self._check_inputs(args[0])
        if not self.built:
            self._build_for(args, kwargs)
        plain = {k: v for k, v in kwargs.items() if v is not None or k != "training"}
        outputs = self.compute_output_spec(*args, **plain)
        Node(self, args, kwargs, outputs)
        if context.masks and self.supports_masking:
            self._set_symbolic_mask(args, kwargs, outputs)
        return outputs

    def _set_symbolic_mask(self, args: tuple, kwargs: dict, outputs: Any) -> None:
        """Notes on outputs to come which masks will come with them."""
        first = args[0] if args else next(iter(kwargs.values()), None)
        mask = kwargs.get("mask")
        if mask is None:
            mask = tree.map_structure(lambda x: getattr(x, "_keras_mask", None), first)
        if self._makes_masks or any(m is not None for m in tree.flatten(mask)):
            made = infer(self.compute_mask, (first, mask), {})
            for output, found in zip(tree.flatten(outputs), tree.flatten(made), strict=False):
                if isinstance(found, KerasTensor):
                    output._keras_mask = found

    def _converted_or_symbolic(self, x: Any) -> Any:
        def convert(leaf: Any) -> Any:
            return leaf if isinstance(leaf, KerasTensor) else self._converted(leaf, True)

        return tree.map_structure(convert, x)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs to come, of inputs to come: from ``compute_output_shape`` where the layer
        defines it, else by a trial run on zeros."""
        if type(self).compute_output_shape is Layer.compute_output_shape:
            return infer(self, args, kwargs)
        shapes, named = shapes_for_build(
            type(self).compute_output_shape, self._call_info.names, args, kwargs
        )
        return _specs_of(self.compute_output_shape(*shapes, **named), self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the output for inputs of that shape, with None for open sizes."""
        inputs = _specs_of(input_shape, self.compute_dtype)
        return shape_of(self.compute_output_spec(inputs))

    @property
    def input(self) -> Any:
        """The tensor to come that it was called on. Raises AttributeError if there was none."""
        self._check_called("input")
        node = self._inbound_nodes[0]
        return node.input_tensors[0] if len(node.input_tensors) == 1 else node.args[0]

    @property
    def output(self) -> Any:
        """The tensor to come that it returned. Raises AttributeError if there was none."""
        self._check_called("output")
        return self._inbound_nodes[0].outputs

    def _check_called(self, what: str) -> None:
        if not self._inbound_nodes:
            raise AttributeError(
                f"The layer {self.name} has never been called and thus has no defined {what}."
            )

    # --- masks and penalties ------------------------------------------------------------------

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The mask of the output: that of the input, if the layer supports masks."""
        return previous_mask

    def _mask_for(self, args: tuple, kwargs: dict) -> Any:
        """The mask that came with the first input; puts masks where ``call`` wants them."""
        info = self._call_info
        first = args[0] if args else next(iter(kwargs.values()), None)
        mask = kwargs.get("mask")
        if mask is None:
            mask = tree.map_structure(lambda x: getattr(x, "_keras_mask", None), first)
            if info.takes_mask and any(m is not None for m in tree.flatten(mask)):
                kwargs["mask"] = mask
        if info.masks:
            given = {**dict(zip(info.names, args, strict=False)), **kwargs}
            for name, of in info.masks.items():
                found = getattr(given.get(of), "_keras_mask", None)
                if found is not None and given.get(name) is None:
                    kwargs[name] = found
        return mask

    def _set_mask(self, args: tuple, kwargs: dict, outputs: Any, mask: Any) -> None:
        first = args[0] if args else next(iter(kwargs.values()), None)
        if not self._makes_masks and not any(m is not None for m in tree.flatten(mask)):
            return
        made = self.compute_mask(first, mask)
        if made is None:
            return
        flat, masks = tree.flatten(outputs), tree.flatten(made)
        for output, found in zip(flat, masks, strict=False):
            if found is not None and isinstance(output, tg.Tensor):
                output._keras_mask = found

    def _regularize(self, outputs: Any) -> None:
        for output in tree.flatten(outputs):
            if isinstance(output, tg.Tensor):
                loss = self.activity_regularizer(output)
                self.add_loss(loss / output.shape[0] if output.ndim > 0 else loss)

    # --- configuration ------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """What :meth:`from_config` needs. A subclass adds its own arguments to this dictionary; one
        that does not is remade from the arguments it was made with."""
        base: dict[str, Any] = {"name": self.name, "trainable": self.trainable}
        base["dtype"] = self._policy.name
        if self._accepts("activity_regularizer"):
            base["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        if "tilegrad.keras" in type(self).__module__ or type(self).get_config is not _plain_config:
            return base
        return {**base, **_arguments_of(self)}

    def _accepts(self, name: str) -> bool:
        if getattr(self, name) is None:
            return name in inspect.signature(type(self).__init__).parameters
        return type(self).__init__ is not Layer.__init__

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The layer of a configuration. Raises TypeError for arguments that it does not take."""
        try:
            return cls(**config)
        except Exception as error:
            raise TypeError(
                f"Error when deserializing class '{cls.__name__}' using config={config}.\n\n"
                f"Exception encountered: {error}"
            ) from error

    def get_build_config(self) -> dict[str, Any] | None:
        """The shape it was built for, if it was."""
        shape = self.__dict__.get("_build_shape")
        return None if shape is None else {"input_shape": shape}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Builds for the shape of :meth:`get_build_config`."""
        if config and "input_shape" in config and not self.built:
            self.build(config["input_shape"])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.__dict__.get('_name')}, built={self.built}>"


_plain_config = Layer.get_config


def _marking_built(build: Any) -> Any:
    """A ``build`` that also notes that it ran, and for what shape."""

    @functools.wraps(build)
    def marked(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = build(self, *args, **kwargs)
        self.__dict__["built"] = True
        if args and not kwargs and len(args) == 1:
            self.__dict__["_build_shape"] = args[0]
        return result

    return marked


def _checked_name(name: Any) -> str | None:
    if name is not None and (not isinstance(name, str) or "/" in name):
        raise ValueError(
            f"Argument `name` must be a string and cannot contain character `/`. Received: {name}"
        )
    return name


def _specs_of(shape: Any, dtype: str) -> Any:
    """Tensors to come for a shape or a structure of shapes."""
    if is_shape(shape):
        return KerasTensor(shape, dtype)
    if isinstance(shape, dict):
        return {key: _specs_of(item, dtype) for key, item in shape.items()}
    return [_specs_of(item, dtype) for item in shape]


def _arguments_of(layer: Any) -> dict[str, Any]:
    """The arguments a layer was made with, by name. Raises NotImplementedError if they cannot be
    written down."""
    args, kwargs = layer._init_arguments
    parameters = list(inspect.signature(type(layer).__init__).parameters)[1:]
    given = {**dict(zip(parameters, args, strict=False)), **kwargs}
    for name, value in given.items():
        for leaf in tree.flatten(value):
            plain = leaf is None or isinstance(leaf, (str, int, float, bool, Layer, np.generic))
            if not plain and not hasattr(leaf, "get_config"):
                raise NotImplementedError(
                    f"Object {type(layer).__name__} was created by passing the argument {name!r} "
                    "of "
                    f"type {type(leaf).__name__}, which cannot be written into a configuration: "
                    "override get_config()."
                )
    return given
