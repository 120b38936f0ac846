"""``utils._pytree`` against PyTorch's: nested containers as lists of leaves and back."""

from collections import OrderedDict, deque, namedtuple

import pytest
from torch.utils import _pytree as theirs

from support import check_error
from tilegrad.utils import _pytree as ours

Point = namedtuple("Point", ["x", "y"])
TREES = [
    3,
    [1, (2, 3), {"a": 4, "b": [5]}],
    (),
    OrderedDict(b=1, a=(2,)),
    Point(1, [2, None]),
    [deque([1, 2], maxlen=4), "text"],
]


@pytest.mark.parametrize("tree", TREES, ids=str)
def test_like_pytorch(tree):
    results = []
    for m in (ours, theirs):
        leaves, spec = m.tree_flatten(tree)
        back = m.tree_unflatten(leaves, spec)
        assert back == tree
        assert type(back) is type(tree)
        mapped = m.tree_map(str, tree)
        only = m.tree_map_only(int, lambda x: x + 1, tree)
        found = m.tree_any(lambda x: x == 2, tree), m.tree_all(lambda x: x is not None, tree)
        results.append((leaves, spec.num_leaves, mapped, only, found, m.tree_leaves(tree)))
    assert results[0] == results[1]


def test_several_trees_leaves_of_choice_and_classes_of_users():
    assert ours.tree_map(lambda a, b: a + b, [1, (2,)], [10, (20,)]) == [11, (22,)]
    assert ours.tree_leaves([(1, 2), [3]], is_leaf=lambda x: isinstance(x, tuple)) == [(1, 2), 3]

    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b

    ours.register_pytree_node(Pair, lambda p: ([p.a, p.b], None), lambda x, _: Pair(*x))
    doubled = ours.tree_map(lambda x: 2 * x, [Pair(1, 2)])[0]
    assert (doubled.a, doubled.b) == (2, 4)
    check_error(ValueError, "already", lambda: ours.register_pytree_node(list, None, None))
    check_error(ValueError, "leaves differ", lambda: ours.tree_map(max, [1], [1, 2]))
    spec = ours.tree_structure([1, 2])
    check_error(ValueError, "expected 2 leaves", lambda: spec.unflatten([1]))
