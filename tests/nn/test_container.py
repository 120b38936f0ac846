"""Containers beside PyTorch's."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch

import tilegrad as tg


def tagged(m):
    """A module that only knows its tag."""

    class Tagged(m.nn.Module):
        def __init__(self, tag):
            super().__init__()
            self.tag = tag

        def forward(self, x):
            return (*x, self.tag)

        def extra_repr(self):
            return str(self.tag)

    return Tagged


SEQUENTIAL = [
    lambda m, t, s: s(()),
    lambda m, t, s: (len(s), [x.tag for x in s], s[-1].tag, s[1:]),
    lambda m, t, s: s.append(t(9)),
    lambda m, t, s: s.insert(1, t(9)),
    lambda m, t, s: s.insert(-1, t(9)),
    lambda m, t, s: s.extend([t(7), t(8)]),
    lambda m, t, s: (s.pop(1).tag, s),
    lambda m, t, s: (s.__delitem__(0), s),
    lambda m, t, s: (s.__delitem__(slice(0, 2)), s),
    lambda m, t, s: (s.__setitem__(-1, t(9)), s),
    lambda m, t, s: s + m.nn.Sequential(t(5)),
    lambda m, t, s: s.__iadd__(m.nn.Sequential(t(5))),
    lambda m, t, s: s * 2,
    lambda m, t, s: 2 * s,
    lambda m, t, s: s.__imul__(2),
    lambda m, t, s: m.nn.Sequential(OrderedDict(a=t(1), b=t(2))),
    lambda m, t, s: m.nn.Sequential(OrderedDict(a=t(1), b=t(2)))[1:],
    lambda m, t, s: m.nn.Sequential(),
    lambda m, t, s: s[7],
    lambda m, t, s: s["a"],
    lambda m, t, s: s * 0,
    lambda m, t, s: s * 1.5,
    lambda m, t, s: s + [1],  # noqa: RUF005
    lambda m, t, s: m.nn.Sequential(3),
    lambda m, t, s: s.insert(9, t(1)),
]
MODULE_LIST = [
    lambda m, t, s: (len(s), [x.tag for x in s], s[-1].tag, s[:2]),
    lambda m, t, s: s.append(t(9)),
    lambda m, t, s: (s.insert(1, t(9)), s),
    lambda m, t, s: s.extend([t(7), t(8)]),
    lambda m, t, s: s.__iadd__([t(7)]),
    lambda m, t, s: s + [t(7)],  # noqa: RUF005
    lambda m, t, s: (s.pop(0).tag, s),
    lambda m, t, s: (s.__delitem__(slice(0, 2)), s),
    lambda m, t, s: (s.__setitem__(1, t(9)), s),
    lambda m, t, s: m.nn.ModuleList(t(1) for _ in range(3)),
    lambda m, t, s: m.nn.ModuleList([t(1), t(1), m.nn.Sequential(t(2), t(2))]),
    lambda m, t, s: m.nn.ModuleList(),
    lambda m, t, s: s[3],
    lambda m, t, s: s.extend(3),
    lambda m, t, s: s(1),
]
MODULE_DICT = [
    lambda m, t, s: (len(s), list(s), list(s.keys()), [x.tag for x in s.values()], "a" in s),
    lambda m, t, s: (s.update({"c": t(3), "a": t(4)}), s),
    lambda m, t, s: (s.update([("c", t(3))]), s),
    lambda m, t, s: (s.pop("a").tag, s),
    lambda m, t, s: (s.clear(), len(s)),
    lambda m, t, s: (s.__delitem__("a"), s),
    lambda m, t, s: s["z"],
    lambda m, t, s: s.update(3),
    lambda m, t, s: s.update([("a",)]),
    lambda m, t, s: s.update([3]),
]


def outcome(m, act, make):
    """A comparable form of what ``act`` returns or raises."""
    try:
        result = act(m, tagged(m), make(m, tagged(m)))
    except Exception as error:
        return type(error)

    def plain(x):
        if isinstance(x, tuple):
            return tuple(plain(y) for y in x)
        if isinstance(x, m.nn.Module):
            return repr(x), [name for name, _ in x.named_modules()]
        return x

    return plain(result)


@pytest.mark.parametrize("act", SEQUENTIAL)
def test_sequential(act):
    def make(m, t):
        return m.nn.Sequential(t(0), t(1), t(2))

    assert outcome(tg, act, make) == outcome(torch, act, make)


@pytest.mark.parametrize("act", MODULE_LIST)
def test_module_list(act):
    def make(m, t):
        return m.nn.ModuleList([t(0), t(1), t(2)])

    assert outcome(tg, act, make) == outcome(torch, act, make)


@pytest.mark.parametrize("act", MODULE_DICT)
def test_module_dict(act):
    def make(m, t):
        return m.nn.ModuleDict({"a": t(0), "b": t(1)})

    assert outcome(tg, act, make) == outcome(torch, act, make)


def described(x):
    return (
        repr(x)
        .replace("torch.FloatTensor", "float32")
        .replace("torch.", "")
        .replace("tilegrad.", "")
    )


def test_parameter_list():
    def run(m):
        params = m.nn.ParameterList([m.ones(2), m.nn.Parameter(m.zeros(3, 1)), "text"])
        params.append(m.ones(1))
        params += [m.ones(4)]
        params[0] = m.zeros(5)
        log = [len(params), [type(x).__name__ for x in params], params[-1].tolist()]
        log += [list(params.state_dict()), described(params[:2]), len(list(params.parameters()))]
        for act in (lambda: params[9], lambda: params.extend(3), lambda: params(1)):
            with pytest.raises(Exception) as caught:
                act()
            log.append(type(caught.value))
        return log

    assert run(tg) == run(torch)


def test_parameter_dict():
    def run(m):
        params = m.nn.ParameterDict({"a": m.ones(2), "b": m.nn.Parameter(m.zeros(3))})
        params["c"] = m.ones(1)
        params.update([("d", m.ones(4))])
        log = [len(params), list(params), "a" in params, described(params)]
        log += [
            params.pop("a").tolist(),
            params.get("a"),
            params.setdefault("e", m.ones(1)).shape[0],
        ]
        log += [params.popitem()[0], list(params.state_dict()), list(params.keys())]
        log += [list(reversed(params)), [len(x) for x in params.values()]]
        log += [list(params.copy().keys())]
        for act in (lambda: params["z"], lambda: params.update(3), lambda: params(1)):
            with pytest.raises(Exception) as caught:
                act()
            log.append(type(caught.value))
        params.clear()
        return [*log, len(params)]

    assert run(tg) == run(torch)
