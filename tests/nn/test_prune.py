"""``nn.utils.prune`` against PyTorch: masks, hooks, combinations, complaints."""

import numpy as np
import pytest
import torch
import torch.nn.utils.prune

import tilegrad as tg
from support import as_array, check_error, randn


def layer(m):
    made = m.nn.Linear(6, 5)
    with m.no_grad():
        made.weight.copy_(m.from_numpy(randn(5, 6, dtype=np.float32)))
        made.bias.copy_(m.from_numpy(randn(5, dtype=np.float32, seed=1)))
    return made


def prune(m):
    return m.nn.utils.prune


def state(module):
    return {name: as_array(x) for name, x in module.state_dict().items()}


METHODS = {
    "identity": lambda m, x: prune(m).identity(x, "weight"),
    "l1 share": lambda m, x: prune(m).l1_unstructured(x, "weight", 0.3),
    "l1 number": lambda m, x: prune(m).l1_unstructured(x, "bias", 2),
    "l1 none": lambda m, x: prune(m).l1_unstructured(x, "weight", 0),
    "scores": lambda m, x: prune(m).l1_unstructured(
        x, "weight", 4, m.from_numpy(randn(5, 6, dtype=np.float32, seed=7))
    ),
    "ln rows": lambda m, x: prune(m).ln_structured(x, "weight", 2, n=2, dim=0),
    "ln columns": lambda m, x: prune(m).ln_structured(x, "weight", 0.5, n=1, dim=-1),
    "mask": lambda m, x: prune(m).custom_from_mask(
        x, "weight", m.from_numpy((randn(5, 6, seed=3) > 0).astype(np.float32))
    ),
    "twice": lambda m, x: prune(m).l1_unstructured(
        prune(m).ln_structured(x, "weight", 1, 2, 0), "weight", 0.25
    ),
    "rows after elements": lambda m, x: prune(m).ln_structured(
        prune(m).l1_unstructured(x, "weight", 0.5), "weight", 1, 2, 1
    ),
    "removed": lambda m, x: prune(m).remove(prune(m).l1_unstructured(x, "weight", 0.5), "weight"),
}


@pytest.mark.parametrize("name", METHODS)
def test_like_pytorch(name):
    results = []
    for m in (tg, torch):
        module = METHODS[name](m, layer(m))
        y = module(m.from_numpy(randn(3, 6, dtype=np.float32, seed=2)))
        y.square().sum().backward()
        grads = {n: as_array(p.grad) for n, p in module.named_parameters()}
        results.append((state(module), as_array(y), grads, prune(m).is_pruned(module)))
    ours, theirs = results
    assert list(ours[0]) == list(theirs[0])
    assert ours[2].keys() == theirs[2].keys()
    assert ours[3] == theirs[3]
    for key, value in theirs[0].items():
        np.testing.assert_allclose(ours[0][key], value, rtol=1e-6, err_msg=key)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5, atol=1e-5)
    for key, value in theirs[2].items():
        np.testing.assert_allclose(ours[2][key], value, rtol=1e-4, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("scored", [False, True])
def test_global(scored):
    masks = []
    for m in (tg, torch):
        net = m.nn.Sequential(layer(m), m.nn.ReLU(), layer(m))
        pairs = [(net[0], "weight"), (net[2], "bias"), (net[2], "weight")]
        scores = {pairs[0]: m.ones(5, 6) * 10} if scored else None
        method = prune(m).L1Unstructured
        prune(m).global_unstructured(pairs, method, scores, amount=20)
        prune(m).global_unstructured(pairs[1:], method, amount=0.25)
        masks.append([as_array(getattr(x, f"{name}_mask")) for x, name in pairs])
    for ours, theirs in zip(*masks, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_random_methods_prune_the_right_number():
    module = prune(tg).random_unstructured(layer(tg), "weight", 7)
    assert (module.weight_mask == 0).sum().item() == 7
    module = prune(tg).random_structured(layer(tg), "weight", 2, dim=0)
    rows = module.weight_mask.sum(1)
    assert sorted(rows.tolist()) == [0, 0, 6, 6, 6]
    assert prune(tg).RandomUnstructured(3).prune(tg.ones(8)).sum().item() == 5


def test_a_pruned_module_trains():
    module = prune(tg).l1_unstructured(layer(tg), "weight", 0.5)
    before = module.weight_orig.detach().clone()
    optimizer = tg.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        module(tg.ones(2, 6)).square().sum().backward()
        optimizer.step()
    hidden = module.weight_mask == 0
    assert (module.weight[hidden] == 0).all().item()
    assert not tg.equal(module.weight_orig, before)


def test_complaints():
    p, module = prune(tg), layer(tg)
    for exception, pattern, function in [
        (TypeError, "amount", lambda: p.l1_unstructured(module, "weight", "all")),
        (ValueError, "amount=1.5", lambda: p.l1_unstructured(module, "weight", 1.5)),
        (ValueError, "amount=31", lambda: p.l1_unstructured(module, "weight", 31)),
        (ValueError, "Structured", lambda: p.ln_structured(module, "bias", 1, 2, 0)),
        (IndexError, "Invalid index 2", lambda: p.ln_structured(module, "weight", 1, 2, 2)),
        (ValueError, "has to be pruned", lambda: p.remove(module, "weight")),
        (AttributeError, "missing", lambda: p.identity(module, "missing")),
        (TypeError, "unstructured", lambda: p.global_unstructured(
            [(module, "weight")], p.LnStructured, amount=1, n=2)),
        (TypeError, "Iterable", lambda: p.global_unstructured(3, p.L1Unstructured, amount=1)),
    ]:  # fmt: skip
        check_error(exception, pattern, function)
    assert not p.is_pruned(module)
