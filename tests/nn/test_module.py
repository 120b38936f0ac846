"""Module beside PyTorch's: registering, finding, state_dict, hooks, copies. Needs no layer."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict

import pytest
import torch

import tilegrad as tg
from support import check_error


def make_scale(m):
    """A layer with a parameter and buffers of every kind."""

    class Scale(m.nn.Module):
        def __init__(self, size=2):
            super().__init__()
            self.weight = m.nn.Parameter(m.full((size,), 2.0))
            self.register_parameter("bias", None)
            self.register_buffer("mean", m.zeros(size))
            self.register_buffer("scratch", m.ones(1), persistent=False)
            self.register_buffer("missing", None)
            self.size = size

        def forward(self, x, factor=1.0):
            return x * self.weight * factor

        def extra_repr(self):
            return f"size={self.size}"

    return Scale


def make_model(m):
    scale = make_scale(m)

    class Model(m.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = scale()
            self.inner = m.nn.Sequential(scale(3), m.nn.ModuleList([scale(), scale(4), scale()]))
            self.shared = self.first
            self.nothing = None
            self.own = m.nn.Parameter(m.ones(()))

        def forward(self, x):
            return self.shared(self.first(x)) * self.own

    return Model()


def names(model):
    return {
        "parameters": [name for name, _ in model.named_parameters()],
        "all": [name for name, _ in model.named_parameters(remove_duplicate=False)],
        "own": [name for name, _ in model.named_parameters(prefix="p", recurse=False)],
        "buffers": [name for name, _ in model.named_buffers()],
        "modules": [name for name, _ in model.named_modules()],
        "children": [name for name, _ in model.named_children()],
        "state": list(model.state_dict()),
        "prefixed": list(model.state_dict(prefix="x.")),
        "metadata": dict(model.state_dict()._metadata),
        "lengths": [len(list(f())) for f in (model.parameters, model.buffers, model.modules)],
        "repr": repr(model),
    }


def test_names_and_repr():
    assert names(make_model(tg)) == names(make_model(torch))


@pytest.mark.parametrize("m", [tg, torch])
def test_attributes_of_what_a_module_wraps(m):
    class Wrapper(m.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(self.inner, name)

    wrapper = Wrapper(m.nn.Linear(2, 3))
    assert wrapper.in_features == 2 and wrapper.weight is wrapper.inner.weight
    assert wrapper.__getattr__("inner") is wrapper.inner
    pattern = "^'Linear' object has no attribute 'no_such_thing'$"
    check_error(AttributeError, pattern, lambda: wrapper.no_such_thing)
    check_error(AttributeError, "in_features", lambda: wrapper.inner.__getattr__("in_features"))


def test_attributes_follow_registration():
    def run(m):
        scale = make_scale(m)()
        log = []

        def note():
            log.append((list(scale._parameters), list(scale._buffers), list(scale._modules)))

        note()
        scale.weight = None
        note()
        scale.weight = m.nn.Parameter(m.ones(3))
        log.append(scale.weight.shape[0])
        scale.mean = m.nn.Parameter(m.ones(1))  # a parameter takes the name of a buffer
        note()
        scale.extra = m.nn.Module()
        scale.extra = None
        note()
        del scale.extra
        del scale.weight
        log.append(hasattr(scale, "weight"))
        note()
        scale.weight = m.ones(2)  # a plain attribute now
        log.append("weight" in dict(scale.named_parameters()))
        scale.buffer = m.nn.Buffer(m.ones(2), persistent=False)
        log.append((list(scale._buffers), list(scale.state_dict())))
        return log

    assert run(tg) == run(torch)


@pytest.mark.parametrize(
    "act",
    [
        lambda m, s: setattr(s, "weight", m.ones(2)),
        lambda m, s: setattr(s, "mean", "text"),
        lambda m, s: s.register_parameter("a.b", None),
        lambda m, s: s.register_parameter("", None),
        lambda m, s: s.register_parameter("size", None),
        lambda m, s: s.register_parameter(3, None),
        lambda m, s: s.register_parameter("x", m.ones(2)),
        lambda m, s: s.register_buffer("x", 3),
        lambda m, s: s.register_buffer("size", None),
        lambda m, s: s.add_module("x", 3),
        lambda m, s: s.add_module("a.b", None),
        lambda m, s: s.nonexistent,
        lambda m, s: delattr(s, "nonexistent"),
        lambda m, s: s.get_submodule("weight"),
        lambda m, s: s.get_submodule("nonexistent"),
        lambda m, s: s.get_parameter("mean"),
        lambda m, s: s.get_buffer("weight"),
        lambda m, s: s.train("yes"),
        lambda m, s: s.set_submodule("", m.nn.Module()),
        lambda m, s: s.set_submodule("weight", m.nn.Module()),
        lambda m, s: s.set_submodule("fresh", 3),
        lambda m, s: s.set_submodule("fresh", m.nn.Module(), strict=True),
        lambda m, s: s.requires_grad_("no"),
        lambda m, s: s.to(m.int64),
        lambda m, s: m.nn.Module()(3),
        lambda m, s: s.load_state_dict(3),
        lambda m, s: m.nn.Module(3),
    ],
)
def test_refused(act):
    errors = []
    for m in (tg, torch):
        with pytest.raises(Exception) as caught:
            act(m, make_scale(m)())
        errors.append(type(caught.value))
    assert errors[0] is errors[1]


def test_assignment_before_init():
    class Late(tg.nn.Module):
        def __init__(self, value):
            self.value = value

    check_error(AttributeError, "before Module.__init__", lambda: Late(tg.nn.Parameter(tg.ones(1))))
    check_error(AttributeError, "before Module.__init__", lambda: Late(tg.nn.Module()))


def test_finding_by_path():
    model = make_model(tg)
    assert model.get_submodule("") is model
    assert model.get_submodule("inner.1.2") is model.inner[1][2]
    assert model.get_parameter("inner.0.weight") is model.inner[0].weight
    assert model.get_buffer("first.mean") is model.first.mean
    fresh = make_scale(tg)(7)
    model.set_submodule("inner.1.0", fresh)
    assert model.inner[1][0] is fresh and model.inner[1]._modules["0"] is fresh


def test_shared_modules_come_once_unless_told_otherwise():
    def count(m):
        shared = m.nn.Linear(2, 2)
        model = m.nn.Sequential(shared, m.nn.ReLU(), shared)
        return len(list(model.modules())), len(list(model.modules(remove_duplicate=False)))

    assert count(tg) == count(torch) == (3, 4)


def test_train_apply_and_requires_grad():
    model = make_model(tg)
    assert model.training and model.eval() is model
    assert not any(module.training for module in model.modules())
    model.inner.train()
    assert not model.training and model.inner[1][1].training
    seen = []
    assert model.apply(seen.append) is model
    theirs = []
    make_model(torch).apply(theirs.append)
    assert [type(x).__name__ for x in seen] == [type(x).__name__ for x in theirs]
    model.requires_grad_(False)
    assert not any(p.requires_grad for p in model.parameters())


def test_zero_grad():
    model = make_model(tg)
    model(tg.ones(2)).sum().backward()
    assert model.first.weight.grad is not None
    model.zero_grad(set_to_none=False)
    assert model.first.weight.grad.tolist() == [0, 0]
    model.zero_grad()
    assert model.first.weight.grad is None


def test_conversion_keeps_parameters_and_gradients():
    model = make_model(tg)
    model(tg.ones(2)).sum().backward()
    model.register_buffer("count", tg.tensor(3))
    kept = list(model.parameters())
    assert model.double() is model
    assert all(p is q for p, q in zip(kept, model.parameters(), strict=True))
    assert {p.dtype for p in model.parameters()} == {tg.float64}
    assert model.first.weight.grad.dtype is tg.float64 and model.count.dtype is tg.int64
    assert model.first.mean is model.first._buffers["mean"]
    assert model.first.mean.dtype is tg.float64
    assert model.float().own.dtype is tg.float32
    assert model.to("cpu", tg.float64).own.dtype is tg.float64
    assert model.to(tg.ones(1)).own.dtype is tg.float32
    assert model.half().own.dtype is tg.float16 and model.count.dtype is tg.int64
    assert model.bfloat16().own.dtype is tg.bfloat16


def test_state_dict_round_trip():
    source, target = make_model(tg), make_model(tg)
    with tg.no_grad():
        for i, p in enumerate(source.parameters()):
            p.fill_(i)
    state = source.state_dict()
    assert isinstance(state, OrderedDict)
    assert not any(x.requires_grad for x in state.values())
    assert state["own"].data_ptr() == source.own.data_ptr()
    assert source.state_dict(keep_vars=True)["own"] is source.own
    result = target.load_state_dict(state)
    assert str(result) == "<All keys matched successfully>" and result.missing_keys == []
    for p, q in zip(source.parameters(), target.parameters(), strict=True):
        assert p.tolist() == q.tolist() and p.data_ptr() != q.data_ptr()


def edited(m, edit):
    state = make_model(m).state_dict()
    edit(m, state)
    return state


@pytest.mark.parametrize(
    "edit",
    [
        lambda m, s: s.pop("own"),
        lambda m, s: s.pop("inner.1.1.mean"),
        lambda m, s: s.update({"strange": m.ones(1)}),
        lambda m, s: s.update({"first.strange": m.ones(1), "nowhere.x": m.ones(1)}),
        lambda m, s: s.update({"own": m.ones(3)}),
        lambda m, s: s.update({"own": 3}),
        lambda m, s: (s.pop("own"), s.update({"strange": m.ones(1), "first.mean": m.ones(7)})),
    ],
)
def test_states_that_do_not_fit(edit):
    def text(m):
        with pytest.raises(RuntimeError) as caught:
            make_model(m).load_state_dict(edited(m, edit))
        return str(caught.value).replace("torch.Size", "tilegrad.Size")

    ours, theirs = text(tg), text(torch)
    if "expected torch.Tensor" in theirs:
        assert "expected a Tensor" in ours
    else:
        assert ours.replace("tilegrad.Size", "") == theirs.replace("tilegrad.Size", "")


def test_not_strict():
    def run(m):
        state = edited(m, lambda m, s: (s.pop("own"), s.update({"inner.strange": m.ones(1)})))
        return tuple(make_model(m).load_state_dict(state, strict=False))

    assert run(tg) == run(torch)


def test_assign_takes_the_tensors_over():
    model = make_model(tg)
    state = {name: x.double() for name, x in model.state_dict().items()}
    model.own.requires_grad_(False)
    model.load_state_dict(state, assign=True)
    assert model.own.dtype is tg.float64 and isinstance(model.own, tg.nn.Parameter)
    assert model.own.data_ptr() == state["own"].data_ptr() and not model.own.requires_grad
    assert model.first.weight.requires_grad


def test_extra_state():
    class Counter(tg.nn.Module):
        count = 0

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]

    model, other = tg.nn.Sequential(Counter()), tg.nn.Sequential(Counter())
    model[0].count = 5
    assert list(model.state_dict()) == ["0._extra_state"]
    other.load_state_dict(model.state_dict())
    assert other[0].count == 5
    check_error(RuntimeError, "Missing key", lambda: other.load_state_dict({}))


def test_state_hooks():
    model, seen = make_model(tg), []
    model.first.register_state_dict_pre_hook(lambda *args: seen.append(args[1:]))
    model.first.register_state_dict_post_hook(
        lambda mod, state, prefix, meta: state.__delitem__("own") if "own" in state else None
    )
    pre = model.inner.register_load_state_dict_pre_hook(
        lambda mod, state, prefix, *rest: seen.append((prefix, sorted(state)[:1]))
    )
    model.register_load_state_dict_post_hook(lambda mod, keys: keys.missing_keys.clear())
    state = model.state_dict()
    assert seen[0] == ("first.", False) and "own" not in state
    assert model.load_state_dict(state).missing_keys == []
    pre.remove()
    before = len(seen)
    model.load_state_dict(state)
    assert len(seen) == before


def test_forward_hooks():
    def run(m):
        model, log = make_scale(m)(), []

        def pre(mod, args):
            log.append(("pre", args[0].tolist()))
            return args[0] + 1

        def pre_keywords(mod, args, kwargs):
            log.append(("pre_keywords", dict(kwargs)))
            return args, {"factor": 10.0}

        def post(mod, args, output):
            log.append(("post", args[0].tolist(), output.tolist()))
            return output * 2

        def post_keywords(mod, args, kwargs, output):
            log.append(("post_keywords", kwargs["factor"], output.tolist()))

        model.register_forward_pre_hook(pre)
        model.register_forward_pre_hook(pre_keywords, with_kwargs=True)
        handle = model.register_forward_hook(post)
        model.register_forward_hook(post_keywords, with_kwargs=True, prepend=True)
        log.append(model(m.ones(2), factor=3.0).tolist())
        handle.remove()
        handle.remove()
        log.append(model(m.ones(2)).tolist())
        with model.register_forward_hook(post):
            log.append(model(m.ones(2)).tolist())
        log.append(model(m.ones(2)).tolist())
        return log

    assert run(tg) == run(torch)


def test_always_called_hook():
    def run(m):
        class Broken(m.nn.Module):
            def forward(self, x):
                raise ArithmeticError("broken")

        model, log = Broken(), []
        model.register_forward_hook(lambda *args: log.append("plain"))
        model.register_forward_hook(lambda mod, args, out: log.append(out), always_call=True)
        with pytest.raises(ArithmeticError):
            model(1)
        return log

    assert run(tg) == run(torch) == [None]


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
@pytest.mark.parametrize("input_requires_grad", [False, True])
def test_backward_hooks(input_requires_grad):
    def values(grads):
        return [None if g is None else g.tolist() for g in grads]

    def run(m):
        model, log = make_scale(m)(), []

        def pre(mod, grad_output):
            log.append(("pre", values(grad_output)))
            return (grad_output[0] * 3,)

        def full(mod, grad_input, grad_output):
            log.append(("full", values(grad_input), values(grad_output)))
            return (grad_input[0] * 10,) if input_requires_grad else None

        model.register_full_backward_pre_hook(pre)
        handle = model.register_full_backward_hook(full)
        model.register_full_backward_hook(lambda *args: log.append("first"), prepend=True)
        x = m.ones(2, requires_grad=input_requires_grad)
        model(x).sum().backward()
        log.append(values([x.grad, model.weight.grad]))
        handle.remove()
        model(x).sum().backward()
        log.append(values([x.grad, model.weight.grad]))
        return log

    assert run(tg) == run(torch)


def test_backward_hooks_of_several_inputs_and_outputs():
    def run(m):
        class Two(m.nn.Module):
            def forward(self, x, label, y):
                return x * y, label, x + 1

        model, log = Two(), []

        def hook(mod, grad_input, grad_output):
            log.append(
                [
                    [None if g is None else g.tolist() for g in gs]
                    for gs in (grad_input, grad_output)
                ]
            )

        model.register_full_backward_hook(hook)
        x, y = m.ones(2, requires_grad=True), m.full((2,), 3.0)
        product, label, _ = model(x, "label", y)
        assert label == "label"
        product.sum().backward()
        return log, x.grad.tolist(), y.grad

    ours, theirs = run(tg), run(torch)
    assert ours == theirs


def test_deepcopy_and_pickle():
    model = make_model(tg)
    model(tg.ones(2)).sum().backward()
    twin = copy.deepcopy(model)
    assert twin.first is twin.shared and twin.first.weight is twin.first._parameters["weight"]
    assert twin.first.weight is not model.first.weight
    assert isinstance(twin.own, tg.nn.Parameter) and twin.own.requires_grad
    assert twin.first.weight.grad.tolist() == model.first.weight.grad.tolist()
    assert repr(twin) == repr(model)
    container = tg.nn.Sequential(tg.nn.ModuleList(), tg.nn.ParameterList([tg.ones(2)]))
    loaded = pickle.loads(pickle.dumps(container))
    assert isinstance(loaded[1][0], tg.nn.Parameter) and loaded[1][0].requires_grad
    assert loaded[1][0].tolist() == [1, 1]


def test_parameter():
    data = tg.ones(2)
    p = tg.nn.Parameter(data)
    assert isinstance(p, tg.Tensor) and isinstance(p, tg.nn.Parameter)
    assert p.requires_grad and p.is_leaf and p.data_ptr() == data.data_ptr()
    assert repr(p) == "Parameter containing:\n" + repr(data.clone().requires_grad_())
    assert not isinstance(p * 2, tg.nn.Parameter)
    assert not tg.nn.Parameter(data, requires_grad=False).requires_grad
    assert tg.nn.Parameter().shape == (0,)
    check_error(TypeError, "expected a Tensor, got int", lambda: tg.nn.Parameter(3))
    check_error(RuntimeError, "floating point", lambda: tg.nn.Parameter(tg.tensor([1])))


def test_dir_lists_members():
    model = make_model(tg)
    assert {"first", "own", "forward", "inner"} <= set(dir(model))
    assert "0" not in dir(model.inner)
