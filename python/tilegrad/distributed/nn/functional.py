"""In a group of one every collective function gives a tensor of the values of its argument."""

from __future__ import annotations

from typing import Any

from .. import ReduceOp, _alone, _require_group

__all__ = [
    "all_gather",
    "all_reduce",
    "all_to_all",
    "all_to_all_single",
    "broadcast",
    "gather",
    "reduce",
    "reduce_scatter",
    "scatter",
]


def broadcast(tensor: Any, src: int, group: Any = None) -> Any:
    """A copy. Raises ValueError without a group or for another rank."""
    _alone("broadcast", src)
    return _copied(tensor)


def gather(tensor: Any, dst: int = 0, group: Any = None) -> tuple:
    """A tuple of one copy. Raises ValueError without a group or for another rank."""
    _alone("gather", dst)
    return (_copied(tensor),)


def scatter(tensors: Any, src: int = 0, group: Any = None) -> Any:
    """A copy of the only tensor. Raises ValueError without a group, for another rank or number."""
    _alone("scatter", src)
    return _copied(_only("scatter", tensors))


def reduce(tensor: Any, dst: int, op: Any = ReduceOp.SUM, group: Any = None) -> Any:
    """A copy. Raises ValueError without a group or for another rank."""
    _alone("reduce", dst)
    return _copied(tensor)


def reduce_scatter(output: Any, input_list: Any, op: Any = ReduceOp.SUM, group: Any = None) -> Any:
    """A copy of the only tensor. Raises ValueError without a group or for another number."""
    return _copied(_only("reduce_scatter", input_list))


def all_gather(tensor: Any, group: Any = None) -> tuple:
    """A tuple of one copy. Raises ValueError without a group."""
    return (_copied(tensor),)


def all_to_all(output_tensor_list: Any, input_tensor_list: Any, group: Any = None) -> tuple:
    """A tuple of one copy. Raises ValueError without a group or for another number of tensors."""
    _only("all_to_all", output_tensor_list)
    return (_copied(_only("all_to_all", input_tensor_list)),)


def all_to_all_single(
    output: Any,
    input: Any,
    output_split_sizes: Any = None,
    input_split_sizes: Any = None,
    group: Any = None,
) -> Any:
    """A copy. Raises ValueError without a group."""
    return _copied(input)


def all_reduce(tensor: Any, op: Any = ReduceOp.SUM, group: Any = None) -> Any:
    """A copy. Raises ValueError without a group."""
    return _copied(tensor)


def _copied(tensor: Any) -> Any:
    _require_group()
    return tensor.clone()


def _only(name: str, tensors: Any) -> Any:
    _require_group()
    if len(tensors) != 1:
        raise ValueError(f"{name}: expected a list for 1 process, got {len(tensors)} entries")
    return tensors[0]
