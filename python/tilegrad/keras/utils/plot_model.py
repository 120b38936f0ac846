"""``plot_model``: a picture of the graph of a model, by Graphviz or, without it, by matplotlib."""

from __future__ import annotations

import os
from typing import Any

from ..layers.layer import Layer

__all__ = ["model_to_dot", "plot_model"]


def _graph_of(model: Any) -> Any:
    """The graph that a model is made of; None for one of another kind."""
    plan = model.__dict__.get("_plan")
    if plan is None and model.__dict__.get("_functional") is not None:
        plan = model._functional._plan
    return plan


def _boxes(model: Any, expand: bool = False) -> tuple[list[Any], list[tuple[int, int]]]:
    """The operations of a model and which feeds which, by their places in the list; ``expand``
    puts those of models within it in their place."""
    boxes: list[Any] = []
    edges: list[tuple[int, int]] = []
    _collect(model, expand, boxes, edges)
    return boxes, edges


def _collect(
    model: Any, expand: bool, boxes: list[Any], edges: list[tuple[int, int]]
) -> tuple[list[int], list[int]]:
    """Adds a model's boxes and edges; the places of those where tensors come in and go out."""
    plan = _graph_of(model)
    operations = list(model.layers) if plan is None else list(plan.operations)
    ends: list[tuple[list[int], list[int]]] = []
    for operation in operations:
        if expand and isinstance(operation, Layer) and _graph_of(operation) is not None:
            ends.append(_collect(operation, True, boxes, edges))
        else:
            ends.append(([len(boxes)], [len(boxes)]))
            boxes.append(operation)
    if plan is None:
        pairs = [(i, i + 1) for i in range(len(operations) - 1)]
        inputs, outputs = operations[:1], operations[-1:]
    else:
        places = {id(operation): i for i, operation in enumerate(operations)}
        pairs = [
            (places[id(x.node.operation)], places[id(node.operation)])
            for node in plan.nodes
            for x in node.input_tensors
            if x.node is not None and id(x.node.operation) in places
        ]
        inputs, outputs = ([x.node.operation for x in part] for part in (plan.inputs, plan.outputs))
    for start, end in pairs:
        for edge in [(a, b) for a in ends[start][1] for b in ends[end][0]]:
            if start != end and edge not in edges:
                edges.append(edge)
    where = {id(operation): ends[i] for i, operation in enumerate(operations)}
    return (
        [i for x in inputs if id(x) in where for i in where[id(x)][0]],
        [i for x in outputs if id(x) in where for i in where[id(x)][1]],
    )


def _label(
    layer: Any, names: bool, shapes: bool, dtypes: bool, activations: bool, trainable: bool
) -> str:
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
    if trainable and getattr(layer, "weights", None):
        lines.append(f"trainable: {'yes' if layer.trainable else 'no'}")
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
    """The graph as an object of the package pydot. Raises ImportError without it, ValueError for
    unknown arguments.

    ``expand_nested`` draws the layers of models within the model; ``subgraph`` changes nothing.
    """
    _refuse("model_to_dot", kwargs)
    try:
        import pydot
    except ImportError:
        raise ImportError(
            "model_to_dot needs the package pydot (pip install pydot); plot_model does without"
        ) from None
    graph = pydot.Dot(rankdir=rankdir, dpi=dpi, splines=splines)
    graph.set_node_defaults(shape="record")
    operations, edges = _boxes(model, expand_nested)
    for i, layer in enumerate(operations):
        label = _label(layer, show_layer_names, show_shapes, show_dtype, show_layer_activations,
                       show_trainable)  # fmt: skip
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

    ``expand_nested`` draws the layers of models within the model; lines are straight whatever
    ``splines`` says. Raises ValueError for a model that is not built and for unknown
    arguments, ImportError without matplotlib.
    """
    _refuse("plot_model", kwargs)
    if not model.built:
        raise ValueError(
            "This model has not yet been built. Build the model first by calling `build()` or by "
            "calling the model on a batch of data."
        )
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plot_model needs matplotlib: pip install matplotlib") from None
    operations, edges = _boxes(model, expand_nested)
    labels = [
        _label(x, show_layer_names, show_shapes, show_dtype, show_layer_activations, show_trainable)
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


def _refuse(function: str, unknown: dict[str, Any]) -> None:
    if unknown:
        raise ValueError(f"{function}: unrecognized keyword arguments: {unknown}")


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
