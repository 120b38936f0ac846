"""Whole training steps, in float32 and in bfloat16 through autocast; ResNet-18's also in TF32, the
MLP's also as a graph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from cases.networks import gpt_model, resnet18

from . import Case, Program, Setting


def _precision(s: Setting, kind: str) -> Any:
    if kind != "bf16":
        return contextlib.nullcontext()
    return s.m.autocast("cuda" if s.device != "cpu" else "cpu", dtype=s.m.bfloat16)


def train_step(s: Setting, kind: str, model: Any, optimizer: Any, x: Any, target: Any) -> Program:
    def program() -> None:
        optimizer.zero_grad(set_to_none=False)
        with _precision(s, kind):
            scores = model(x)
            loss = s.m.nn.functional.cross_entropy(scores.flatten(0, -2), target)
        loss.backward()
        optimizer.step()

    return program


def as_graph(s: Setting, program: Program) -> Program:
    """The program captured after two warm-up calls; as it is where there are no graphs."""
    if s.device == "cpu":
        return program
    cuda = s.m.cuda
    side = cuda.Stream()
    side.wait_stream(cuda.current_stream())
    with cuda.stream(side):
        program()
        program()
    cuda.current_stream().wait_stream(side)
    graph = cuda.CUDAGraph()
    with cuda.graph(graph):
        program()
    return graph.replay


def mlp(kind: str, graph: bool) -> Callable[[Setting], Program]:
    def make(s: Setting) -> Program:
        nn, width, batch = s.m.nn, s.size(512, 12), s.size(128, 4)
        model = nn.Sequential(
            nn.Linear(s.size(784, 10), width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, 10),
        ).to(s.device)  # fmt: skip
        optimizer = s.m.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        x, target = s.randn(batch, s.size(784, 10)), s.labels(batch, 10)
        program = train_step(s, kind, model, optimizer, x, target)
        return as_graph(s, program) if graph else program

    return make


def residual(kind: str) -> Callable[[Setting], Program]:
    def make(s: Setting) -> Program:
        model = resnet18(s.m).to(s.device)
        model = model.to(memory_format=s.m.channels_last)
        optimizer = s.m.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        batch, width = s.size(256, 2), s.size(32, 8)
        x = s.images(batch, 3, width, width)
        return train_step(s, kind, model, optimizer, x, s.labels(batch, 10))

    return make


def gpt(kind: str) -> Callable[[Setting], Program]:
    """GPT-2 small's width, heads and layers on half its context."""

    def make(s: Setting) -> Program:
        vocabulary, length, batch = s.size(50304, 30), s.size(512, 8), s.size(8, 1)
        net = gpt_model(
            s.m, vocabulary=vocabulary, width=s.size(768, 16), layers=s.size(12, 1),
            heads=s.size(12, 2), context=length,
        ).to(s.device)  # fmt: skip
        options = {"fused": True} if s.device != "cpu" else {}
        optimizer = s.m.optim.AdamW(net.parameters(), lr=3e-4, **options)
        tokens = s.labels(batch * length, vocabulary).reshape(batch, length)
        return train_step(s, kind, net, optimizer, tokens, tokens.flatten())

    return make


_MLP = 6.0 * 128 * (784 * 512 + 512 * 512 + 512 * 10)
_RESNET = 6.0 * 256 * 555e6
_GPT = 6.0 * 8 * 512 * (12 * 12 * 768**2 + 768 * 50304 + 12 * 512 * 768)

CASES = [
    Case("train step: MLP b128 fp32", mlp("fp32", False), 1.0, "fp32", _MLP),
    Case("train step: MLP b128 fp32, graph", mlp("fp32", True), 2.0, "fp32", _MLP),
    Case("train step: MLP b128 bf16, graph", mlp("bf16", True), 2.0, "bf16", _MLP),
    Case("train step: ResNet-18 b256 fp32", residual("fp32"), 1.0, "fp32", _RESNET),
    Case("train step: ResNet-18 b256 tf32", residual("tf32"), 1.0, "tf32", _RESNET),
    Case("train step: ResNet-18 b256 bf16", residual("bf16"), 1.0, "bf16", _RESNET),
    Case("train step: GPT-2 small b8 T512 fp32", gpt("fp32"), 1.0, "fp32", _GPT),
    Case("train step: GPT-2 small b8 T512 bf16", gpt("bf16"), 1.0, "bf16", _GPT),
]
