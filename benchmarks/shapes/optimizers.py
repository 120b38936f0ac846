"""Updates of optimizers: many small parameters, and a large one."""

from __future__ import annotations

from typing import Any

from cases import Case, Program


def update(optimizer: str, count: int, *shape: int, **options: Any) -> Case:
    def make(m: Any, convert: Any) -> Program:
        parameters = [m.nn.Parameter(m.randn(*shape)) for _ in range(count)]
        for parameter in parameters:
            parameter.grad = m.randn(*shape)
        return getattr(m.optim, optimizer)(parameters, lr=1e-3, **options).step

    text = "".join(f" {name}={value}" for name, value in options.items())
    return Case(f"{optimizer}{text}, {count} of {'x'.join(str(n) for n in shape)}", make)


def update_of_idle_units(optimizer: str, *shape: int) -> Case:
    """After 900 steps in which half of the gradients were zero: their moments have faded."""

    def make(m: Any, convert: Any) -> Program:
        parameter = m.nn.Parameter(m.randn(*shape))
        parameter.grad = m.randn(*shape)
        step = getattr(m.optim, optimizer)([parameter], lr=1e-3).step
        step()
        parameter.grad[: shape[0] // 2] = 0
        for _ in range(900):
            step()
        return step

    text = "x".join(str(n) for n in shape)
    return Case(f"{optimizer}, {text}, half of the gradients zero", make)


CASES = [
    update("SGD", 100, 32, 33),
    update("SGD", 1, 1000, 1000, momentum=0.9),
    update("Adam", 100, 32, 33),
    update("AdamW", 1, 1000, 1000),
    update_of_idle_units("Adam", 300, 300),
    update("RMSprop", 20, 100, 100),
    update("Adagrad", 20, 100, 100),
]
