"""``model.summary()``: layers, output shapes and numbers of weights as a table."""

from __future__ import annotations

from typing import Any

from .messages import tell

__all__ = ["print_summary"]

_FOUR = ("Layer (type)", "Output Shape", "Param #", "Connected to")


def print_summary(
    model: Any,
    line_length: int | None = None,
    positions: Any = None,
    print_fn: Any = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Any = None,
) -> None:
    """Prints the table, by ``print_fn`` if one is given. Raises ValueError for a range of layers
    that are not there."""
    layers = list(model.layers)
    connected = _branches(model)
    if connected and hasattr(model, "_list_of_layers"):
        layers = list(model._list_of_layers)
    elif not connected:
        layers = [x for x in layers if type(x).__name__ != "InputLayer" or hasattr(model, "inputs")]
    if layer_range is not None:
        layers = layers[_place(layers, layer_range[0]) : _place(layers, layer_range[1], True) + 1]
    headers = list(_FOUR if connected else _FOUR[:3])
    if show_trainable:
        headers.append("Trainable")
    rows = [
        row for layer in layers for row in _rows(layer, model, connected, show_trainable,
                                                 expand_nested, "")
    ]  # fmt: skip
    shares = [0.45, 0.3, 0.2] if not connected else [0.3, 0.25, 0.12, 0.3]
    if show_trainable:
        shares.append(0.12)
    total = line_length or (100 if connected else 80)
    widths = [max(int(total * share / sum(shares)) - 3, 8) for share in shares]
    text = [f'Model: "{model.name}"', *_table(headers, rows, widths), *_totals(model)]
    if print_fn is None:
        tell("\n".join(text))
    else:
        print_fn("\n".join(text))


def _place(layers: list[Any], name: str, last: bool = False) -> int:
    import re

    found = [i for i, layer in enumerate(layers) if re.match(name, layer.name)]
    if not found:
        raise ValueError(
            "Passed layer_names do not match the layer names in the model. Received: " + str(name)
        )
    return found[-1] if last else found[0]


def _branches(model: Any) -> bool:
    """Whether the layers form more than a chain."""
    plan = model.__dict__.get("_plan")
    if plan is None:
        return False
    if len(plan.inputs) > 1 or len(plan.outputs) > 1:
        return True
    uses: dict[int, int] = {}
    for node in plan.nodes:
        if len(node.input_tensors) > 1:
            return True
        for x in node.input_tensors:
            uses[id(x)] = uses.get(id(x), 0) + 1
    return any(count > 1 for count in uses.values())


def _rows(
    layer: Any, model: Any, connected: bool, trainable: bool, nested: bool, indent: str
) -> list[list[str]]:
    row = [f"{indent}{layer.name} ({type(layer).__name__})", _shape(layer)]
    if layer.built:
        row.append(f"{layer.count_params():,}")
    else:
        row.append("0 (unbuilt)")
    if connected:
        row.append(_sources(layer, model))
    if trainable:
        row.append("Y" if layer.trainable and layer.weights else "-" if not layer.weights else "N")
    rows = [row]
    if nested and hasattr(layer, "layers"):
        for child in layer.layers:
            rows += _rows(child, layer, connected, trainable, nested, indent + "    ")
    return rows


def _shape(layer: Any) -> str:
    if hasattr(layer, "batch_shape"):
        return str(layer.batch_shape)
    nodes = layer._inbound_nodes
    if nodes:
        shapes = [str(x.shape) for x in nodes[0].output_tensors]
        return shapes[0] if len(shapes) == 1 else f"[{', '.join(shapes)}]"
    shape = layer.__dict__.get("_build_shape")
    try:
        return str(tuple(layer.compute_output_shape(shape))) if shape is not None else "?"
    except Exception:
        return "?"


def _sources(layer: Any, model: Any) -> str:
    plan = model.__dict__.get("_plan")
    known = {id(node) for node in plan.nodes} if plan is not None else set()
    names = []
    for node in layer._inbound_nodes:
        if id(node) in known:
            names += [
                f"{x.node.operation.name}[{x._keras_history[1]}][{x.index}]"
                for x in node.input_tensors
                if x.node is not None
            ]
    return ", ".join(names) or "-"


def _wrapped(text: str, width: int) -> list[str]:
    lines, rest = [], text
    while len(rest) > width:
        cut = rest.rfind(" ", 0, width + 1)
        cut = width if cut <= 0 else cut
        lines.append(rest[:cut])
        rest = rest[cut:].lstrip()
    return [*lines, rest]


def _table(headers: list[str], rows: list[list[str]], widths: list[int]) -> list[str]:
    right = headers.index("Param #")

    def ruled(left: str, fill: str, cross: str, end: str) -> str:
        return left + cross.join(fill * (w + 2) for w in widths) + end

    def row_lines(cells: list[str], bar: str) -> list[str]:
        parts = [_wrapped(cell, w) for cell, w in zip(cells, widths, strict=True)]
        made = []
        for i in range(max(map(len, parts))):
            line = []
            for column, (part, w) in enumerate(zip(parts, widths, strict=True)):
                text = part[i] if i < len(part) else ""
                line.append(text.rjust(w) if column == right else text.ljust(w))
            made.append(bar + bar.join(f" {text} " for text in line) + bar)
        return made

    lines = [ruled("┏", "━", "┳", "┓"), *row_lines(headers, "┃"), ruled("┡", "━", "╇", "┩")]
    for i, row in enumerate(rows):
        if i:
            lines.append(ruled("├", "─", "┼", "┤"))
        lines += row_lines(row, "│")
    return [*lines, ruled("└", "─", "┴", "┘")]


def _totals(model: Any) -> list[str]:
    if not model.built:
        return [" Total params: 0 (unbuilt)"]
    trained, kept = model.trainable_weights, model.non_trainable_weights
    lines = [("Total params", [*trained, *kept]), ("Trainable params", trained)]
    lines.append(("Non-trainable params", kept))
    optimizer = model.__dict__.get("optimizer")
    if optimizer is not None and optimizer.built:
        state = optimizer.variables
        lines[0] = ("Total params", [*trained, *kept, *state])
        lines.append(("Optimizer params", state))
    return [f" {name}: {_number(weights):,} ({_memory(weights)})" for name, weights in lines]


def _number(weights: list[Any]) -> int:
    return sum(w.numel() for w in weights)


def _memory(weights: list[Any]) -> str:
    size = float(sum(w.nbytes for w in weights))
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024 or unit == "GB":
            return f"{size:.2f} {unit}"
        size /= 1024
    return ""
