"""Losses, metrics, activations, initializers and functions of ``ops``: the numbers are Keras's."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from oracle import array, both, close, ours, theirs

import tilegrad as tg

P = np.abs(array(8, 4)) / np.abs(array(8, 4)).sum(1, keepdims=True)
HOT = np.eye(4, dtype="float32")[[0, 1, 2, 3, 1, 1, 0, 2]]
NUMBERS = HOT.argmax(1)
BITS = (array(8, 4, seed=3) > 0).astype("float32")
REAL, OTHER = array(8, 4, seed=4), array(8, 4, seed=5)
WEIGHTS = np.linspace(0.1, 2, 8).astype("float32")

LOSSES = {
    "BinaryCrossentropy": (BITS, P, [{}, {"label_smoothing": 0.1}]),
    "BinaryFocalCrossentropy": (BITS, P, [{}, {"apply_class_balancing": True}]),
    "CategoricalCrossentropy": (HOT, P, [{}, {"label_smoothing": 0.1}]),
    "CategoricalFocalCrossentropy": (HOT, P, [{}, {"gamma": 1.0}]),
    "CategoricalGeneralizedCrossEntropy": (NUMBERS, P, [{"q": 0.7}]),
    "CategoricalHinge": (HOT, P, [{}]),
    "Circle": (NUMBERS, REAL / np.linalg.norm(REAL, axis=1, keepdims=True), [{}]),
    "CosineSimilarity": (REAL, OTHER, [{}]),
    "Dice": (BITS, P, [{}, {"axis": (1,)}]),
    "Hinge": (BITS, REAL, [{}]),
    "Huber": (REAL, OTHER, [{}, {"delta": 0.5}]),
    "KLDivergence": (P, np.roll(P, 1, 0), [{}]),
    "LogCosh": (REAL, OTHER, [{}]),
    "MeanAbsoluteError": (REAL, OTHER, [{}]),
    "MeanAbsolutePercentageError": (REAL, OTHER, [{}]),
    "MeanSquaredError": (REAL, OTHER, [{}]),
    "MeanSquaredLogarithmicError": (np.abs(REAL), P, [{}]),
    "Poisson": (np.abs(REAL), P, [{}]),
    "SparseCategoricalCrossentropy": (NUMBERS, P, [{}, {"ignore_class": 1}]),
    "SquaredHinge": (BITS, REAL, [{}]),
    "Tversky": (BITS, P, [{}, {"alpha": 0.3, "beta": 0.7}]),
}
LOGITS = ("BinaryCrossentropy", "CategoricalCrossentropy", "SparseCategoricalCrossentropy")


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    y, p, options = LOSSES[name]
    if name in LOGITS:
        options = [*options, {"from_logits": True}]
    reductions = ("sum_over_batch_size", "sum", "none", "mean_with_sample_weight")
    for chosen in options:
        target, guess = (y, REAL) if chosen.get("from_logits") else (y, p)
        for reduction in reductions if chosen == {} else reductions[:1]:
            made = both(
                lambda k: getattr(k.losses, name)(reduction=reduction, **chosen)(target, guess)
            )
            close(*made, rtol=1e-4, atol=1e-5)
        if name not in ("Dice", "Tversky"):
            made = both(lambda k: getattr(k.losses, name)(**chosen)(target, guess, WEIGHTS))
            close(*made, rtol=1e-4, atol=1e-5)


def test_ctc():
    labels, logits = np.array([[1, 2, 0], [2, 2, 1]]), array(2, 6, 4)
    close(*both(lambda k: k.losses.CTC()(labels, logits)), rtol=1e-4)


def test_losses_by_name_and_their_configurations():
    for name in LOSSES:
        loss = getattr(ours.losses, name)()
        again = ours.losses.deserialize(ours.losses.serialize(loss))
        assert again.get_config() == loss.get_config()
        assert loss.name == getattr(theirs.losses, name)().name
    for alias in ("mse", "MAE", "mape", "msle", "bce", "kld", "huber", "log_cosh"):
        assert callable(ours.losses.get(alias))


METRICS = {
    "Accuracy": (NUMBERS, np.roll(NUMBERS, 1), {}),
    "BinaryAccuracy": (BITS, P, {"threshold": 0.3}),
    "CategoricalAccuracy": (HOT, P, {}),
    "SparseCategoricalAccuracy": (NUMBERS, P, {}),
    "TopKCategoricalAccuracy": (HOT, P, {"k": 2}),
    "SparseTopKCategoricalAccuracy": (NUMBERS, P, {"k": 2}),
    "BinaryCrossentropy": (BITS, P, {}),
    "CategoricalCrossentropy": (HOT, P, {"label_smoothing": 0.1}),
    "SparseCategoricalCrossentropy": (NUMBERS, P, {}),
    "CategoricalHinge": (HOT, P, {}),
    "CosineSimilarity": (REAL, OTHER, {}),
    "Hinge": (BITS, REAL, {}),
    "KLDivergence": (P, np.roll(P, 1, 0), {}),
    "LogCoshError": (REAL, OTHER, {}),
    "MeanAbsoluteError": (REAL, OTHER, {}),
    "MeanSquaredError": (REAL, OTHER, {}),
    "Poisson": (np.abs(REAL), P, {}),
    "RootMeanSquaredError": (REAL, OTHER, {}),
    "SquaredHinge": (BITS, REAL, {}),
    "AUC": (BITS, P, {}),
    "AUC_pr": (BITS, P, {"curve": "PR"}),
    "AUC_minoring": (BITS, P, {"summation_method": "minoring", "num_thresholds": 20}),
    "AUC_labels": (BITS, P, {"multi_label": True}),
    "Precision": (BITS, P, {"thresholds": [0.1, 0.3]}),
    "Precision_top": (BITS, P, {"top_k": 2}),
    "Recall": (BITS, P, {"class_id": 1}),
    "TruePositives": (BITS, P, {"thresholds": 0.2}),
    "FalsePositives": (BITS, P, {"thresholds": 0.2}),
    "TrueNegatives": (BITS, P, {"thresholds": 0.2}),
    "FalseNegatives": (BITS, P, {"thresholds": 0.2}),
    "PrecisionAtRecall": (BITS, P, {"recall": 0.4}),
    "RecallAtPrecision": (BITS, P, {"precision": 0.5}),
    "SensitivityAtSpecificity": (BITS, P, {"specificity": 0.4}),
    "SpecificityAtSensitivity": (BITS, P, {"sensitivity": 0.4}),
    "FBetaScore": (HOT, P, {"beta": 2.0, "average": "weighted"}),
    "F1Score": (HOT, P, {"threshold": 0.3}),
    "F1Score_micro": (HOT, P, {"average": "micro"}),
    "R2Score": (REAL, OTHER, {}),
    "R2Score_weighted": (REAL, OTHER, {"class_aggregation": "variance_weighted_average"}),
    "IoU": (NUMBERS, np.roll(NUMBERS, 1), {"num_classes": 4, "target_class_ids": [0, 1]}),
    "MeanIoU": (NUMBERS, np.roll(NUMBERS, 1), {"num_classes": 4}),
    "BinaryIoU": (BITS, P, {"threshold": 0.3}),
    "OneHotIoU": (HOT, P, {"num_classes": 4, "target_class_ids": [1, 2]}),
    "OneHotMeanIoU": (HOT, P, {"num_classes": 4}),
    "PearsonCorrelation": (REAL, OTHER, {}),
    "ConcordanceCorrelation": (REAL, OTHER, {}),
}
UNWEIGHTED = ("R2Score_weighted", "PrecisionAtRecall", "Recall")  # and counts of pixels


@pytest.mark.parametrize("case", METRICS)
def test_metrics(case):
    y, p, options = METRICS[case]
    name = case.split("_")[0]

    def run(keras, weight):
        metric = getattr(keras.metrics, name)(**options)
        metric.update_state(y[:5], p[:5], None if weight is None else weight[:5])
        metric.update_state(y[5:], p[5:], None if weight is None else weight[5:])
        result = metric.result()
        metric.reset_state()
        metric.update_state(y[:5], p[:5])
        return [result, metric.result()], metric.name

    for weight in (None, None if case in UNWEIGHTED or "IoU" in case else WEIGHTS):
        there, here = both(lambda k: run(k, weight)[0])
        close(there, here, rtol=1e-4, atol=1e-5)
    assert run(theirs, None)[1].split("_")[0] == run(ours, None)[1].split("_")[0]
    metric = getattr(ours.metrics, name)(**options)
    again = ours.metrics.deserialize(ours.metrics.serialize(metric))
    assert again.get_config() == metric.get_config()


def test_means_and_sums():
    for name in ("Mean", "Sum"):

        def run(keras, name=name):
            metric = getattr(keras.metrics, name)()
            metric.update_state(REAL, WEIGHTS)
            metric.update_state(2.0)
            metric.update_state([1.0, 3.0], sample_weight=[1.0, 0.5])
            return metric.result()

        close(*both(run))


ACTIVATIONS = [
    name
    for name in ours.activations.__all__
    if name not in ("get", "serialize", "deserialize", "threshold", "glu", "sparsemax")
]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    close(*both(lambda k: getattr(k.activations, name)(k.ops.convert_to_tensor(2 * REAL))), 1e-4)
    assert ours.activations.serialize(ours.activations.get(name)) in (name, "silu", "hard_silu")


def test_sparsemax_is_a_point_of_the_simplex():
    """Keras 3.15's own does not sum to one, so here it is held to its definition."""
    made = ours.activations.sparsemax(2 * REAL).numpy()
    np.testing.assert_allclose(made.sum(1), 1, rtol=1e-5)
    for row, x in zip(made, 2 * REAL, strict=True):
        threshold = (x[row > 0].sum() - 1) / (row > 0).sum()
        np.testing.assert_allclose(row, np.maximum(x - threshold, 0), atol=1e-6)


SHAPES = [(60, 40), (3, 3, 8, 16)]


@pytest.mark.parametrize(
    "name", ["GlorotUniform", "GlorotNormal", "HeNormal", "HeUniform", "LecunNormal",
             "LecunUniform", "RandomNormal", "RandomUniform", "TruncatedNormal", "Orthogonal",
             "VarianceScaling"],
)  # fmt: skip
def test_initializers_have_the_spread_of_keras(name):
    for shape in SHAPES:
        there, here = both(lambda k: getattr(k.initializers, name)(seed=1)(shape))
        assert there.shape == here.shape and here.dtype == np.float32
        assert here.std() == pytest.approx(there.std(), rel=0.08)
        assert abs(here).max() == pytest.approx(abs(there).max(), rel=0.25)
        again = getattr(ours.initializers, name)(seed=1)(shape)
        np.testing.assert_array_equal(here, again.numpy())
    first, second = (getattr(ours.initializers, name)()((5, 5)).numpy() for _ in range(2))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("room", "name", "options"),
    [("regularizers", "L1", {}), ("regularizers", "L2", {"l2": 0.3}),
     ("regularizers", "L1L2", {"l1": 0.1, "l2": 0.3}),
     ("regularizers", "OrthogonalRegularizer", {}),
     ("constraints", "MaxNorm", {"max_value": 0.7}), ("constraints", "MinMaxNorm", {"rate": 0.5}),
     ("constraints", "NonNeg", {}), ("constraints", "UnitNorm", {"axis": 1}),
     ("initializers", "Constant", {"value": 3.0}), ("initializers", "Identity", {})],
)  # fmt: skip
def test_penalties_and_projections(room, name, options):
    def run(keras):
        made = getattr(getattr(keras, room), name)(**options)
        if room == "initializers":
            return made((4, 4))
        return made(keras.ops.convert_to_tensor(REAL))

    close(*both(run))
    made = getattr(getattr(ours, room), name)(**options)
    again = getattr(ours, room).deserialize(getattr(ours, room).serialize(made))
    assert again.get_config() == made.get_config()


EXTREMES = np.array(
    [[1, 0, 0], [0, 1, 0], [1e-9, 1, 1e-3], [2, 3, 5], [0, 0, 0], [np.nan, 1, 1]], np.float32
)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "none"])
def test_sparse_cross_entropy_of_extreme_shares(reduction):
    classes = np.array([0, 2, 0, 1, 1, 1])

    def slopes(m):
        shares = m.from_numpy(EXTREMES[:4].copy()).requires_grad_()
        keras = ours if m is tg else theirs
        loss = keras.losses.SparseCategoricalCrossentropy(reduction=reduction)
        value = loss(m.from_numpy(classes[:4]), shares)
        (value * m.linspace(1, 2, value.numel()).reshape(value.shape)).sum().backward()
        return value.detach().numpy(), shares.grad.numpy()

    for mine, expected in zip(slopes(tg), slopes(torch), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=2e-5, atol=1e-6)
    loss = ours.losses.SparseCategoricalCrossentropy(reduction="none")
    assert np.isnan(loss(classes, EXTREMES).numpy()[4:]).all()  # of nothing, and of NaN
    for wrong in (-1, 3):
        with pytest.raises(IndexError, match="out of bounds"):
            loss(np.array([wrong]), EXTREMES[:1])


def test_a_loss_with_a_call_of_its_own_is_called():
    class Doubled(ours.losses.SparseCategoricalCrossentropy):
        def call(self, y_true, y_pred):
            return 2 * super().call(y_true, y_pred)

    plain = ours.losses.SparseCategoricalCrossentropy()(NUMBERS, P)
    np.testing.assert_allclose(Doubled()(NUMBERS, P).numpy(), 2 * plain.numpy(), rtol=1e-6)


def test_second_derivative_of_sparse_cross_entropy():
    def twice(m):
        shares = m.from_numpy(P.copy()).requires_grad_()
        loss = (ours if m is tg else theirs).losses.SparseCategoricalCrossentropy()
        (slope,) = m.autograd.grad(
            loss(m.from_numpy(NUMBERS), shares) ** 2, shares, create_graph=True
        )
        (slope**2).sum().backward()
        return shares.grad.numpy()

    np.testing.assert_allclose(twice(tg), twice(torch), rtol=1e-4)


def test_a_decorated_loss_or_metric_keeps_its_decoration():
    @functools.wraps(ours.losses.mean_squared_error)
    def doubled(y_true, y_pred):
        return 2 * ours.losses.mean_squared_error(y_true, y_pred)

    plain = ours.losses.MeanSquaredError()(REAL, OTHER)
    loss = ours.losses.LossFunctionWrapper(doubled)(REAL, OTHER)
    metric = ours.metrics.MeanMetricWrapper(doubled)(REAL, OTHER)
    assert loss.item() == metric.item() == pytest.approx(2 * plain.item())
