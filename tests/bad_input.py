"""Calls one group of the public API with hostile arguments; prints one line per leaked exception.

Run by tests/test_bad_input.py in a process of its own. The last line says how many calls were made.
A crash shows in the exit status; the call at work is then named on stderr by faulthandler and by
``TILEGRAD_AUDIT_TRACE=1``.
"""

from __future__ import annotations

import faulthandler
import inspect
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tilegrad as tg

ALLOWED = (
    ValueError,
    TypeError,
    IndexError,
    MemoryError,
    RuntimeError,  # NotImplementedError too
    OverflowError,
    StopIteration,
)
# PyTorch's own choice at these places, with a message for the user.
DOCUMENTED = {
    ("add_module", KeyError),
    ("register_buffer", KeyError),
    ("register_parameter", KeyError),
    ("data.ConcatDataset", AssertionError),
    ("data.TensorDataset", AssertionError),
    ("F.multi_head_attention_forward", AssertionError),
    ("tg.embedding", AssertionError),
    ("tg.from_dlpack", BufferError),
    ("tg.from_dlpack", BufferError),
    ("F.embedding", AssertionError),
    ("nn.Embedding", AssertionError),
    ("nn.EmbeddingBag", AssertionError),
    ("nn.MultiheadAttention", AssertionError),
    ("nn.Transformer", AssertionError),
    ("nn.TransformerDecoderLayer", AssertionError),
    ("nn.TransformerEncoderLayer", AssertionError),
}
# Attributes of classes that are not calls on data, calls that are meant to change the process, and
# those that write files, which tests/serialization damages.
SKIPPED = {
    "install_as",
    "load",
    "save",
    "set_default_device",
    *(name for name in dir(tg) if name.startswith("set_autocast_")),
    "set_num_threads",
    "set_default_dtype",
    "set_default_tensor_type",
    "set_printoptions",
    "share_memory",
    "show_config",
}
CALLS_PER_NAME = int(os.environ.get("TILEGRAD_AUDIT_CALLS", "60"))


def hostile() -> list[Callable[[], Any]]:
    """Makers of arguments; fresh ones for every call, as some are written to."""
    return [
        lambda: None,
        lambda: "text",
        lambda: "",
        lambda: object(),
        lambda: [],
        lambda: (),
        lambda: {},
        lambda: 0,
        lambda: 1,
        lambda: -1,
        lambda: 2,
        lambda: -7,
        lambda: True,
        lambda: 2**62,
        lambda: -(2**63),
        lambda: 2**70,
        lambda: float("nan"),
        lambda: float("inf"),
        lambda: 0.5,
        lambda: 1j,
        lambda: (0, 0),
        lambda: (2, -1),
        lambda: (2**40, 2**40),
        lambda: [1, [2]],
        lambda: [None],
        lambda: (1,) * 40,
        lambda: slice(None, None, -1),
        lambda: ...,
        lambda: np.ones(2),
        lambda: np.array("x"),
        lambda: tg.float32,
        lambda: tg.bfloat16,
        lambda: tg.int64,
        lambda: tg.device("cpu"),
        lambda: tg.ones(2, 3),
        lambda: tg.ones(2, 3, requires_grad=True),
        lambda: tg.ones(3),
        lambda: tg.ones(2, 3, dtype=tg.bfloat16),
        lambda: tg.ones(3, dtype=tg.float16),
        lambda: tg.zeros(0),
        lambda: tg.zeros(2, 0, 3),
        lambda: tg.tensor(1.5),
        lambda: tg.tensor(2**40),
        lambda: tg.tensor([5, -9]),
        lambda: tg.tensor([True, False, True]),
        lambda: tg.ones(1, 2, 5, 5),
        lambda: tg.ones(1).expand(3),
        lambda: tg.tensor(float("nan")),
        lambda: [tg.ones(2), tg.ones(3)],
        lambda: (tg.ones(2), None),
        lambda: repr,
    ]


def arguments(function: Any, generator: random.Random, first: list) -> Iterator[tuple[list, dict]]:
    """Combinations that fit the signature, so that the call reaches the function's own checks."""
    makers = hostile()
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = [
            inspect.Parameter(f"x{i}", inspect.Parameter.POSITIONAL_ONLY) for i in range(2)
        ]
    if first:
        parameters = parameters[1:]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    starred = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    required = sum(p.default is p.empty for p in positional)
    highest = len(positional) + (2 if starred else 0)
    # Each maker once at each place, around it arguments of the kinds that usually work ...
    plain = [lambda: tg.ones(2, 3), lambda: 1, lambda: tg.ones(2, 3)]
    for place in range(min(highest, 3)):
        for maker in makers:
            count = max(required, place + 1)
            yield [(maker if i == place else plain[i % 3])() for i in range(count)], {}
    # ... then random combinations.
    for _ in range(CALLS_PER_NAME):
        count = generator.randint(min(required, highest), highest)
        named = {name: generator.choice(makers)() for name in keywords if generator.random() < 0.3}
        yield [generator.choice(makers)() for _ in range(count)], named


def shown(value: Any) -> str:
    return (
        str(value).replace("\n", " ")[:60]
        if not isinstance(value, tg.Tensor)
        else repr((tuple(value.shape), str(value.dtype)))
    )


def audit(targets: list[tuple[str, Any, Callable[[], list]]]) -> int:
    """Calls every target; prints what leaks. Returns the number of calls."""
    calls, seen = 0, set()
    for name, function, make_first in targets:
        generator = random.Random(name)
        first = make_first()
        for args, named in arguments(function, generator, first):
            calls += 1
            if os.environ.get("TILEGRAD_AUDIT_TRACE"):
                print(name, [shown(a) for a in args], named, file=sys.stderr, flush=True)
            try:
                function(*make_first(), *args, **named)
            except ALLOWED:
                continue
            except BaseException as error:
                if (name, type(error)) in DOCUMENTED:
                    continue
                key = (name, type(error).__name__, str(error)[:60])
                if key not in seen:
                    seen.add(key)
                    text = ", ".join(
                        [shown(a) for a in args] + [f"{k}={shown(v)}" for k, v in named.items()]
                    )
                    print(f"{name}({text}): {type(error).__name__}: {str(error)[:120]}")
    return calls


def public(namespace: Any) -> list[tuple[str, Any]]:
    listed = getattr(namespace, "__all__", None) or dir(namespace)
    names = [n for n in listed if not n.startswith("_") and n not in SKIPPED]
    return [(n, getattr(namespace, n)) for n in names]


def none() -> list:
    return []


def functions() -> list:
    return [
        (f"tg.{n}", f, none) for n, f in public(tg) if inspect.isfunction(f) or inspect.isbuiltin(f)
    ]


def methods() -> list:
    made: list[Callable[[], list]] = [lambda: [tg.ones(2, 3)], lambda: [tg.arange(3)]]
    dunders = [
        f"__{n}__"
        for n in [
            "add",
            "radd",
            "sub",
            "mul",
            "truediv",
            "floordiv",
            "mod",
            "pow",
            "rpow",
            "and",
            "or",
            "xor",
            "matmul",
            "eq",
            "lt",
            "getitem",
            "setitem",
            "iadd",
            "imul",
            "itruediv",
            "ipow",
            "contains",
            "format",
            "deepcopy",
            "array",
        ]
    ]
    found = [(n, f) for n, f in public(tg.Tensor) if callable(f)]
    found += [(n, getattr(tg.Tensor, n)) for n in dunders if hasattr(tg.Tensor, n)]
    return [(f"Tensor.{n}", f, first) for n, f in found for first in made]


def functional() -> list:
    spaces = {"F": tg.nn.functional, "init": tg.nn.init, "autograd": tg.autograd}
    return [
        (f"{space}.{n}", f, none)
        for space, module in spaces.items()
        for n, f in public(module)
        if inspect.isfunction(f) and n not in SKIPPED
    ]


def layers() -> list:
    def build_and_call(layer: Any) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            made = layer(*args, **named)
            return made(tg.ones(2, 3))

        call.__signature__ = inspect.signature(layer)  # type: ignore[attr-defined]
        return call

    found = [(n, c) for n, c in public(tg.nn) if inspect.isclass(c) and issubclass(c, tg.nn.Module)]
    calls = [
        ("nn.Linear()", lambda x: tg.nn.Linear(3, 2)(x), none),
        ("nn.Conv2d()", lambda x: tg.nn.Conv2d(2, 3, 2)(x), none),
        ("nn.BatchNorm2d()", lambda x: tg.nn.BatchNorm2d(2)(x), none),
        ("nn.MaxPool2d()", lambda x: tg.nn.MaxPool2d(2)(x), none),
        ("nn.CrossEntropyLoss()", lambda x, y: tg.nn.CrossEntropyLoss()(x, y), none),
        ("nn.MSELoss()", lambda x, y: tg.nn.MSELoss()(x, y), none),
        ("load_state_dict", lambda x: tg.nn.Linear(3, 2).load_state_dict(x), none),
        ("register_buffer", lambda x, y: tg.nn.Linear(3, 2).register_buffer(x, y), none),
        ("register_parameter", lambda x, y: tg.nn.Linear(3, 2).register_parameter(x, y), none),
        ("add_module", lambda x, y: tg.nn.Linear(3, 2).add_module(x, y), none),
        ("Module.to", lambda x, y: tg.nn.Linear(3, 2).to(x, y), none),
    ]
    return [(f"nn.{n}", build_and_call(c), none) for n, c in found] + calls


def optimizers() -> list:
    def step(kind: Any) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            x = tg.ones(2, requires_grad=True)
            made = kind([x], *args[1:], **named) if args and args[0] == 1 else kind(*args, **named)
            x.grad = tg.ones(2)
            made.step()
            made.zero_grad()
            return made

        call.__signature__ = inspect.signature(kind)  # type: ignore[attr-defined]
        return call

    def sgd() -> Any:
        return tg.optim.SGD([tg.ones(2, requires_grad=True)], lr=0.1)

    kinds = [(n, c) for n, c in public(tg.optim) if inspect.isclass(c) and n != "Optimizer"]
    return [(f"optim.{n}", step(c), none) for n, c in kinds] + [
        ("add_param_group", lambda x: sgd().add_param_group(x), none),
        ("load_state_dict", lambda x: sgd().load_state_dict(x), none),
        ("step", lambda x: sgd().step(x), none),
    ]


def rest() -> list:
    data = tg.utils.data

    def load(*args: Any, **named: Any) -> Any:
        named.pop("num_workers", None)
        loader = data.DataLoader(*args, **named)
        for i, batch in enumerate(loader):
            if i > 3:
                return batch
        return None

    parameters = list(inspect.signature(data.DataLoader).parameters.values())[:5]
    load.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    pairs = data.TensorDataset(tg.ones(4, 2), tg.arange(4))
    found = [(n, c) for n, c in public(data) if callable(c) and n not in {"DataLoader"}]
    return [
        ("DataLoader", load, none),
        ("DataLoader of pairs", lambda x: next(iter(data.DataLoader(pairs, x))), none),
        ("TensorDataset[]", lambda x: pairs[x], none),
        *((f"data.{n}", c, none) for n, c in found),
        ("cuda.is_available", tg.cuda.is_available, none),
        ("cuda.synchronize", tg.cuda.synchronize, none),
        ("device", lambda x: tg.device(x), none),
        ("device of two", lambda x, y: tg.device(x, y), none),
        ("Size", lambda x: tg.Size(x), none),
        (
            "set_num_threads",
            lambda x: tg.set_num_threads(x) if not isinstance(x, int) else None,
            none,
        ),
        ("grad =", lambda x: setattr(tg.ones(2, requires_grad=True), "grad", x), none),
        ("data =", lambda x: setattr(tg.ones(2), "data", x), none),
        ("requires_grad =", lambda x: setattr(tg.ones(2), "requires_grad", x), none),
    ]


if __name__ == "__main__":
    faulthandler.enable()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    groups = {f.__name__: f for f in (functions, methods, functional, layers, optimizers, rest)}
    print("checked", audit(groups[sys.argv[1]]()), "calls")
