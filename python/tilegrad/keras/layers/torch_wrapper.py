"""``TorchModuleWrapper``: a module of ``tilegrad.nn`` (or of torch, in its place) as a layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tilegrad as tg

from ...nn.module import Module
from ..registry import own_module
from ..symbolic import context
from ..variable import Variable
from .layer import Layer
from .tracking import Tracking

__all__ = ["TorchModuleWrapper"]


class TorchModuleWrapper(Layer):
    """Calls a module, in training or evaluation mode as the layer is, or, where nobody said which,
    as gradients are recorded or not. A module that is assigned to an attribute of a layer or model
    is wrapped by itself.

    Parameters and buffers of the module become the layer's weights and share its memory; a buffer
    is trained by nobody. ``output_shape`` spares the trial run in which a graph learns it. Raises
    TypeError for what is no module, or a layer already.
    """

    def __init__(
        self, module: Any, name: str | None = None, output_shape: Any = None, **kwargs: Any
    ) -> None:
        if not isinstance(module, Module) or isinstance(module, Tracking):
            raise TypeError(
                "TorchModuleWrapper: argument 'module': expected an nn.Module that is no layer, "
                f"got {type(module).__name__}"
            )
        super().__init__(name=name or None, **kwargs)
        Module.__setattr__(self, "module", module)
        self.__dict__["_wanted_shape"] = output_shape
        self.__dict__["_held_buffers"] = []
        known: dict[int, Variable] = {}
        for path, part in module.named_modules():
            self._take_over(part, path, known)
        self.built = True

    def _take_over(self, part: Any, path: str, known: dict[int, Variable]) -> None:
        """Puts variables in the place of a module's parameters and buffers, each once."""
        for registry in ("_parameters", "_buffers"):
            for name, tensor in list(getattr(part, registry).items()):
                if tensor is None:
                    continue
                if id(tensor) not in known:
                    learns = registry == "_parameters" and tensor.requires_grad
                    label = f"{path}.{name}".strip(".")
                    known[id(tensor)] = Variable.around(tensor, label, learns)
                    known[id(tensor)].__dict__["_path"] = f"{self._name}/{label}"
                    self._own_weights.append(known[id(tensor)])
                part._put(registry, name, known[id(tensor)])
                if registry == "_buffers":
                    self._held_buffers.append((part, name, known[id(tensor)]))

    def _set_mode(self) -> None:
        training = context.training
        if training is None:  # the call of a model may have no such parameter, as in Keras
            training = tg.is_grad_enabled()
        training = training and not context.tracing  # a trial run must not count in running means
        if self.module.training != training:
            self.module.train(training)

    def call(self, *args: Any, training: Any = None, **kwargs: Any) -> Any:
        self._set_mode()
        made = self.module(*args, **kwargs)
        for part, name, variable in self._held_buffers:
            if part._buffers[name] is not variable:  # the module put another tensor there
                variable.assign(part._buffers[name])
                part._put("_buffers", name, variable)
        return made

    def compute_output_shape(self, input_shape: Any) -> Any:
        if self._wanted_shape is None:
            return super().compute_output_shape(input_shape)
        return tuple(self._wanted_shape)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        if self._wanted_shape is None:
            from ..symbolic import infer

            return infer(self, args, kwargs)
        return super().compute_output_spec(*args, **kwargs)

    # --- what a module can do besides ---------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        module = self.__dict__.get("_modules", {}).get("module")
        if module is None or name.startswith("__"):
            raise AttributeError(f"'TorchModuleWrapper' object has no attribute {name!r}")
        return getattr(module, name)

    def __iter__(self) -> Iterator[Any]:
        self._set_mode()
        return iter(self.module)

    def __len__(self) -> int:
        return len(self.module)

    def __getitem__(self, index: Any) -> Any:
        self._set_mode()
        return self.module[index]

    def __bool__(self) -> bool:
        return True

    def get_config(self) -> dict[str, Any]:
        """Raises NotImplementedError: a module is code, which no file holds."""
        raise NotImplementedError(
            f"TorchModuleWrapper: a module ({type(self.module).__name__}) cannot be written into a "
            "configuration: make the model in code, and use save_weights and load_weights"
        )


own_module(globals())
