"""Nested containers as lists of leaves and back: ``torch.utils._pytree``, which many programs use.

Lists, tuples, named tuples, dictionaries and what :func:`register_pytree_node` adds are containers;
everything else is a leaf.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "TreeSpec",
    "register_pytree_node",
    "tree_all",
    "tree_any",
    "tree_flatten",
    "tree_leaves",
    "tree_map",
    "tree_map_",
    "tree_map_only",
    "tree_structure",
    "tree_unflatten",
]

# Class: (its children and a context, the object from both).
_NODES: dict[type, tuple[Callable[[Any], tuple], Callable[[list, Any], Any]]] = {
    list: (lambda x: (list(x), None), lambda children, _: children),
    tuple: (lambda x: (list(x), None), lambda children, _: tuple(children)),
    deque: (lambda x: (list(x), x.maxlen), lambda children, context: deque(children, context)),
    dict: (
        lambda x: (list(x.values()), list(x)),
        lambda children, keys: dict(zip(keys, children, strict=True)),
    ),
    OrderedDict: (
        lambda x: (list(x.values()), list(x)),
        lambda children, keys: OrderedDict(zip(keys, children, strict=True)),
    ),
    defaultdict: (
        lambda x: (list(x.values()), (x.default_factory, list(x))),
        lambda children, context: defaultdict(context[0], zip(context[1], children, strict=True)),
    ),
}


@dataclass(frozen=True)
class TreeSpec:
    """The shape of a nested container: ``type`` is None for a leaf."""

    type: Any
    context: Any
    children_specs: tuple

    @property
    def num_leaves(self) -> int:
        """How many leaves it has."""
        return 1 if self.is_leaf() else sum(spec.num_leaves for spec in self.children_specs)

    def is_leaf(self) -> bool:
        """Whether it is a single leaf."""
        return self.type is None

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """The container with these leaves. Raises ValueError for another number of them."""
        given = list(leaves)
        if len(given) != self.num_leaves:
            raise ValueError(
                f"treespec.unflatten(leaves): `leaves` has length {len(given)} but the spec refers "
                f"to a pytree that holds {self.num_leaves} items ({self})"
            )
        return _built(self, iter(given))


_LEAF = TreeSpec(None, None, ())


def register_pytree_node(
    cls: type, flatten_fn: Callable[[Any], tuple], unflatten_fn: Callable[..., Any], **_: Any
) -> None:
    """Makes a class a container: ``flatten_fn(x)`` gives its children and a context,
    ``unflatten_fn(children, context)`` the object. Raises ValueError for one that is known."""
    if cls in _NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    _NODES[cls] = (flatten_fn, unflatten_fn)


def _is_named_tuple(tree: Any) -> bool:
    return isinstance(tree, tuple) and hasattr(tree, "_fields")


def _opened(tree: Any) -> tuple | None:
    """(key of the type, children, context) of a container, None for a leaf."""
    if type(tree) in _NODES:
        children, context = _NODES[type(tree)][0](tree)
        return type(tree), children, context
    return (type(tree), list(tree), None) if _is_named_tuple(tree) else None


def _collect(tree: Any, leaves: list, is_leaf: Callable[[Any], bool] | None) -> TreeSpec:
    opened = None if is_leaf is not None and is_leaf(tree) else _opened(tree)
    if opened is None:
        leaves.append(tree)
        return _LEAF
    kind, children, context = opened
    return TreeSpec(kind, context, tuple(_collect(x, leaves, is_leaf) for x in children))


def _built(spec: TreeSpec, leaves: Any) -> Any:
    if spec.is_leaf():
        return next(leaves)
    children = [_built(child, leaves) for child in spec.children_specs]
    if spec.type in _NODES:
        return _NODES[spec.type][1](children, spec.context)
    return spec.type(*children)


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list, TreeSpec]:
    """The leaves, in order, and the shape."""
    leaves: list[Any] = []
    return leaves, _collect(tree, leaves, is_leaf)


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> Any:
    """The container of this shape with these leaves."""
    return treespec.unflatten(leaves)


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves, in order."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    """The shape."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(
    func: Callable[..., Any],
    tree: Any,
    *rests: Any,
    is_leaf: Callable[[Any], bool] | None = None,
) -> Any:
    """A container of the same shape with ``func(leaf, ...)`` in place of every leaf; ``rests`` are
    containers of that shape. Raises ValueError for others."""
    leaves, spec = tree_flatten(tree, is_leaf)
    columns = [leaves]
    for other in rests:
        found, shape = tree_flatten(other, is_leaf)
        if shape != spec:
            raise ValueError(f"tree_map: expected containers of one shape, got {spec} and {shape}")
        columns.append(found)
    return spec.unflatten(func(*row) for row in zip(*columns, strict=True))


def tree_map_(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: Any = None) -> Any:
    """Calls ``func`` with every leaf and returns ``tree``."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def tree_map_only(
    type_or_predicate: Any, func: Callable[[Any], Any], tree: Any, is_leaf: Any = None
) -> Any:
    """:func:`tree_map` for leaves of a type or types, or with a property; others stay."""

    def chosen(x: Any) -> Any:
        plain = isinstance(type_or_predicate, (type, tuple))
        applies = isinstance(x, type_or_predicate) if plain else type_or_predicate(x)
        return func(x) if applies else x

    return tree_map(chosen, tree, is_leaf=is_leaf)


def tree_any(pred: Callable[[Any], bool], tree: Any, is_leaf: Any = None) -> bool:
    """Whether ``pred`` holds for some leaf."""
    return any(map(pred, tree_leaves(tree, is_leaf)))


def tree_all(pred: Callable[[Any], bool], tree: Any, is_leaf: Any = None) -> bool:
    """Whether ``pred`` holds for every leaf."""
    return all(map(pred, tree_leaves(tree, is_leaf)))
