"""``plot_model``: a picture of the graph of a model, by Graphviz or, without it, by matplotlib."""

from __future__ import annotations

import os
from typing import Any

from ..layers.layer import Layer

__all__ = ["model_to_dot", "plot_model"]


def _boxes(model: Any) -> tuple[list[Any], list[tuple[int, int]]]:
    """The operations of a model and which feeds which, by their places in the list."""
    plan = model.__dict__.get("_plan")
    if plan is None and model.__dict__.get("_functional") is not None:
        plan = model._functional._plan
    if plan is None:
        layers = list(model.layers)
        return layers, [(i, i + 1) for i in range(len(layers) - 1)]
    operations = list(plan.operations)
    places = {id(operation): i for i, operation in enumerate(operations)}
    edges = []
    for node in plan.nodes:
        for x in node.input_tensors:
            if x.node is not None and id(x.node.operation) in places:
                edge = places[id(x.node.operation)], places[id(node.operation)]
                if edge not in edges and edge[0] != edge[1]:
                    edges.append(edge)
    return operations, edges


def _label(layer: Any, names: bool, shapes: bool, dtypes: bool, activations: bool) -> str:
    lines = [f"{layer.name} ({type(layer).__name__})" if names else type(layer).__name__]
    if activations and getattr(layer, "activation", None) is not None:
        lines.append(f"activation: {getattr(layer.activation, '__name__', layer.activation)}")
    node = layer._inbound_nodes[0] if layer._inbound_nodes else None
    if shapes and node is not None:
        given = [str(x.shape) for x in node.input_tensors]
        made = [str(x.shape) for x in node.output_tensors]
        if given:
            lines.append(f"input: {', '.join(given)}")
        lines.append(f"output: {', '.join(made)}")
    if dtypes and isinstance(layer, Layer):
        lines.append(f"dtype: {layer.dtype}")
    return "\n".join(lines)


def model_to_dot(
    model: Any,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    subgraph: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
    **kwargs: Any,
) -> Any:
    """The graph as an object of the package pydot. Raises ImportError without it."""
    try:
        import pydot
    except ImportError:
        raise ImportError(
            "model_to_dot needs the package pydot (pip install pydot); plot_model does without"
        ) from None
    graph = pydot.Dot(rankdir=rankdir, dpi=dpi, splines=splines)
    graph.set_node_defaults(shape="record")
    operations, edges = _boxes(model)
    for i, layer in enumerate(operations):
        label = _label(layer, show_layer_names, show_shapes, show_dtype, show_layer_activations)
        graph.add_node(pydot.Node(str(i), label=label.replace("\n", "|")))
    for a, b in edges:
        graph.add_edge(pydot.Edge(str(a), str(b)))
    return graph


def plot_model(
    model: Any,
    to_file: Any = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
    **kwargs: Any,
) -> Any:
    """Draws the graph into a file, by matplotlib, and returns it as a picture in a notebook.

    Raises ValueError for a model that is not built, ImportError without matplotlib.
    """
    if not model.built:
        raise ValueError(
            "This model has not yet been built. Build the model first by calling `build()` or by "
            "calling the model on a batch of data."
        )
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plot_model needs matplotlib: pip install matplotlib") from None
    operations, edges = _boxes(model)
    labels = [
        _label(x, show_layer_names, show_shapes, show_dtype, show_layer_activations)
        for x in operations
    ]
    places = _places(len(operations), edges)
    across = rankdir in ("LR", "RL")
    wide = max(max(len(line) for line in label.split("\n")) for label in labels) * 0.085 + 0.4
    tall = max(label.count("\n") + 1 for label in labels) * 0.19 + 0.2
    step_x, step_y = wide + 0.3, tall + 0.4
    columns = max(x for x, _ in places) + 1
    rows = max(y for _, y in places) + 1
    if across:
        places = [(y, x) for x, y in places]
        columns, rows = rows, columns
    size = (columns * step_x, rows * step_y)
    figure = Figure(figsize=size)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, size[0]), ylim=(size[1], 0))
    axes.axis("off")
    centers = [((x + 0.5) * step_x, (y + 0.5) * step_y) for x, y in places]
    for a, b in edges:
        start, end = centers[a], centers[b]
        tail = (start[0] + wide / 2, start[1]) if across else (start[0], start[1] + tall / 2)
        head = (end[0] - wide / 2, end[1]) if across else (end[0], end[1] - tall / 2)
        axes.annotate("", xy=head, xytext=tail, arrowprops={"arrowstyle": "->", "lw": 1})
    for (x, y), label in zip(centers, labels, strict=True):
        axes.text(
            x, y, label, ha="center", va="center", fontsize=8, family="monospace",
            bbox={"boxstyle": "round,pad=0.4", "facecolor": "#eef3fa", "edgecolor": "#33557f"},
        )  # fmt: skip
    path = os.fspath(to_file)
    figure.savefig(path, dpi=dpi)
    return _picture(path)


def _places(count: int, edges: list[tuple[int, int]]) -> list[tuple[float, float]]:
    """A column and a row for each box: rows by the longest way from an input, columns centred."""
    rows = [0] * count
    for _ in range(count):
        changed = False
        for a, b in edges:
            if rows[b] < rows[a] + 1:
                rows[b], changed = rows[a] + 1, True
        if not changed:
            break
    follow = {a: min(rows[b] for x, b in edges if x == a) for a, _ in edges}
    for i in range(count):
        if not any(b == i for _, b in edges) and i in follow:
            rows[i] = follow[i] - 1  # an input stands just above what it feeds
    width = max(rows.count(row) for row in rows)
    seen: dict[int, int] = {}
    places = []
    for row in rows:
        number = seen.get(row, 0)
        seen[row] = number + 1
        places.append((number + (width - rows.count(row)) / 2, float(row)))
    return places


def _picture(path: str) -> Any:
    """The file as something a notebook shows; None outside of notebooks."""
    if not path.endswith((".png", ".jpg", ".jpeg")):
        return None
    try:
        from IPython import display
    except ImportError:
        return None
    return display.Image(filename=path)
