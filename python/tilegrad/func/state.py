"""The parameters of several modules of one kind, stacked for :func:`tilegrad.func.vmap`."""

from __future__ import annotations

from typing import Any

from ..ops import stack

__all__ = ["stack_module_state"]


def stack_module_state(models: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """``(parameters, buffers)``: dicts of dotted names, each tensor stacked along dimension 0.

    Parameters are leaves that require grad as those they were made of. Raises RuntimeError for no
    models, models of different classes or modes, and tensors of which only some require grad.
    """
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({model.training for model in models}) > 1:
        raise RuntimeError(
            "stack_module_state: Expected all models to have the same training/eval mode."
        )
    if len({type(model) for model in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    parameters = _stacked([dict(model.named_parameters()) for model in models])
    return parameters, _stacked([dict(model.named_buffers()) for model in models])


def _stacked(dicts: list[dict[str, Any]]) -> dict[str, Any]:
    result = {}
    for name in dicts[0]:
        tensors = [each[name] for each in dicts]
        wanted = {x.requires_grad for x in tensors}
        if len(wanted) > 1:
            raise RuntimeError(f"Expected {name} from each model to have the same .requires_grad")
        result[name] = stack([x.detach() for x in tensors]).requires_grad_(wanted == {True})
    return result
