"""Nested containers taken apart into their leaves and put together again.

Lists, tuples, named tuples, dictionaries and deques are containers, and what is registered;
anything else, None too, is a leaf.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "PyTree",
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

PyTree = Any
# A container's children with what else it takes to make it, and its maker from both.
_Parts = tuple[Callable[[Any], tuple[Iterable[Any], Any]], Callable[[Iterable[Any], Any], Any]]


def _of_defaultdict(tree: Any) -> tuple[Iterable[Any], Any]:
    return tree.values(), (tree.default_factory, list(tree))


_containers: dict[type, _Parts] = {
    list: (lambda tree: (tree, None), lambda children, context: list(children)),
    tuple: (lambda tree: (tree, None), lambda children, context: tuple(children)),
    dict: (
        lambda tree: (tree.values(), list(tree)),
        lambda children, keys: dict(zip(keys, children, strict=True)),
    ),
    OrderedDict: (
        lambda tree: (tree.values(), list(tree)),
        lambda children, keys: OrderedDict(zip(keys, children, strict=True)),
    ),
    defaultdict: (
        _of_defaultdict,
        lambda children, context: defaultdict(context[0], zip(context[1], children, strict=True)),
    ),
    deque: (
        lambda tree: (tree, tree.maxlen),
        lambda children, maxlen: deque(children, maxlen=maxlen),
    ),
}
_named: _Parts = (lambda tree: (tree, type(tree)), lambda children, kind: kind(*children))


@dataclass(frozen=True)
class TreeSpec:
    """A tree without its leaves; ``type`` is None for a leaf."""

    type: Any
    context: Any = None
    children_specs: list[TreeSpec] = field(default_factory=list)

    @property
    def num_leaves(self) -> int:
        return 1 if self.type is None else sum(x.num_leaves for x in self.children_specs)

    def is_leaf(self) -> bool:
        return self.type is None

    def unflatten(self, leaves: Iterable[Any]) -> PyTree:
        return tree_unflatten(leaves, self)


def _parts(kind: type) -> _Parts | None:
    found = _containers.get(kind)
    if found is None and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return _named
    return found


def register_pytree_node(
    cls: type,
    flatten_fn: Callable[[Any], tuple[Iterable[Any], Any]],
    unflatten_fn: Callable[[Iterable[Any], Any], Any],
    **options: Any,
) -> None:
    """Makes a class a container. Raises ValueError if it is one already."""
    if cls in _containers:
        raise ValueError(f"register_pytree_node: {cls} is already registered as a container")
    _containers[cls] = (flatten_fn, unflatten_fn)


def tree_flatten(
    tree: PyTree, is_leaf: Callable[[Any], bool] | None = None
) -> tuple[list[Any], TreeSpec]:
    """The leaves, in order, and the tree without them. No errors of its own."""
    leaves: list[Any] = []

    def walk(node: Any) -> TreeSpec:
        parts = None if is_leaf is not None and is_leaf(node) else _parts(type(node))
        if parts is None:
            leaves.append(node)
            return TreeSpec(None)
        children, context = parts[0](node)
        return TreeSpec(type(node), context, [walk(child) for child in children])

    spec = walk(tree)
    return leaves, spec


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> PyTree:
    """The tree with these leaves. Raises TypeError for no spec, ValueError for a wrong number."""
    if not isinstance(treespec, TreeSpec):
        raise TypeError(f"tree_unflatten: expected a TreeSpec, got {type(treespec).__name__}")
    given = list(leaves)
    if len(given) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten: expected {treespec.num_leaves} leaves for the tree, got {len(given)}"
        )
    rest = iter(given)

    def build(spec: TreeSpec) -> Any:
        parts = None if spec.type is None else _parts(spec.type)
        if parts is None:
            return next(rest)
        return parts[1]([build(child) for child in spec.children_specs], spec.context)

    return build(treespec)


def tree_leaves(tree: PyTree, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves, in order."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: PyTree, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    """The tree without its leaves."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func: Callable[..., Any], tree: PyTree, *rests: PyTree, is_leaf: Any = None) -> PyTree:
    """The tree of ``func``'s results for each leaf, and the leaves at its place in ``rests``.

    Raises ValueError if one of those has another number of leaves.
    """
    leaves, spec = tree_flatten(tree, is_leaf)
    columns = [leaves, *(tree_leaves(rest, is_leaf) for rest in rests)]
    return tree_unflatten(map(func, *_equally_long(columns)), spec)


def _equally_long(columns: list[list[Any]]) -> list[list[Any]]:
    if len({len(column) for column in columns}) > 1:
        raise ValueError(f"tree_map: trees of {[len(x) for x in columns]} leaves differ")
    return columns


def tree_map_(func: Callable[..., Any], tree: PyTree, *rests: PyTree, is_leaf: Any = None) -> Any:
    """Calls ``func`` as :func:`tree_map` does, and returns ``tree``."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def tree_map_only(
    kind: Any, func: Callable[[Any], Any], tree: PyTree, is_leaf: Any = None
) -> PyTree:
    """The tree with ``func`` applied to its leaves of a type (or of types), others as they are."""
    return tree_map(lambda x: func(x) if isinstance(x, kind) else x, tree, is_leaf=is_leaf)


def tree_all(pred: Callable[[Any], bool], tree: PyTree, is_leaf: Any = None) -> bool:
    """Whether ``pred`` holds for all leaves."""
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: PyTree, is_leaf: Any = None) -> bool:
    """Whether ``pred`` holds for any leaf."""
    return any(map(pred, tree_leaves(tree, is_leaf)))
