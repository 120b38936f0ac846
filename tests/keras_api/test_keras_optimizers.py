"""Optimizers and schedules: weights and histories after some steps are Keras's."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import array, close, ours, theirs, twins

X, Y = array(60, 6), np.random.default_rng(1).integers(0, 3, 60)


def net(keras):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5, activation="tanh"),
            layers.Dense(3, activation="softmax"),
        ]
    )


def trained(keras, model, optimizer):
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model.fit(X, Y, epochs=2, batch_size=16, shuffle=False, verbose=0).history


CASES = {
    "sgd": ("SGD", {"learning_rate": 0.1}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "rmsprop": ("RMSprop", {}),
    "rmsprop_centered": ("RMSprop", {"momentum": 0.5, "centered": True}),
    "adam": ("Adam", {"learning_rate": 0.01}),
    "amsgrad": ("Adam", {"amsgrad": True}),
    "adamw": ("AdamW", {"weight_decay": 0.1}),
    "adagrad": ("Adagrad", {"learning_rate": 0.1}),
    "adadelta": ("Adadelta", {"learning_rate": 1.0}),
    "adamax": ("Adamax", {}),
    "nadam": ("Nadam", {}),
    "lion": ("Lion", {}),
    "ftrl": ("Ftrl", {"l1_regularization_strength": 0.01, "beta": 0.1, "learning_rate": 0.1}),
    "lamb": ("Lamb", {}),
    "adafactor": ("Adafactor", {}),
    "clipnorm": ("SGD", {"clipnorm": 0.05}),
    "global_clipnorm": ("Adam", {"global_clipnorm": 0.05}),
    "clipvalue": ("RMSprop", {"clipvalue": 0.01}),
    "decay": ("RMSprop", {"weight_decay": 0.1}),
    "averages": ("SGD", {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 3}),
    "averages_at_the_end": ("Adam", {"use_ema": True}),
    "accumulated": ("Adam", {"gradient_accumulation_steps": 2}),
    "scaled": ("SGD", {"loss_scale_factor": 16.0}),
}


@pytest.mark.parametrize("case", CASES)
def test_steps(case):
    name, options = CASES[case]
    pair = twins(net)
    histories = [
        trained(keras, model, getattr(keras.optimizers, name)(**options))
        for keras, model in zip((theirs, ours), pair, strict=True)
    ]
    assert list(histories[0]) == list(histories[1])
    close(*histories, rtol=1e-5, atol=1e-5)
    close(pair[0].get_weights(), pair[1].get_weights(), rtol=1e-5, atol=1e-5)


SCHEDULES = {
    "exponential": ("ExponentialDecay", (0.1, 3, 0.5), {}),
    "staircase": ("ExponentialDecay", (0.1, 3, 0.5), {"staircase": True}),
    "inverse": ("InverseTimeDecay", (0.1, 3, 0.5), {}),
    "piecewise": ("PiecewiseConstantDecay", ([2, 5], [0.1, 0.01, 0.001]), {}),
    "polynomial": ("PolynomialDecay", (0.1, 5), {"power": 2.0}),
    "cycle": ("PolynomialDecay", (0.1, 3), {"cycle": True}),
    "cosine": ("CosineDecay", (0.1, 6), {"alpha": 0.1}),
    "warmup": ("CosineDecay", (0.0, 6), {"warmup_target": 0.1, "warmup_steps": 3}),
    "restarts": ("CosineDecayRestarts", (0.1, 3), {"m_mul": 0.5, "t_mul": 1.5}),
    "equal_restarts": ("CosineDecayRestarts", (0.1, 3), {"t_mul": 1.0}),
}


@pytest.mark.parametrize("case", SCHEDULES)
def test_schedules(case):
    name, args, options = SCHEDULES[case]
    rates = [
        [float(getattr(k.optimizers.schedules, name)(*args, **options)(i)) for i in range(12)]
        for k in (theirs, ours)
    ]
    close(*rates, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("options", [{"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}])
def test_momentum_under_a_schedule(options):
    pair = twins(net)
    for keras, model in zip((theirs, ours), pair, strict=True):
        rate = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
        trained(keras, model, keras.optimizers.SGD(rate, **options))
    close(pair[0].get_weights(), pair[1].get_weights())


def test_schedule_free_steps():
    """Against the formulas: Keras 3.15 with PyTorch below reads a value it has just overwritten."""
    start, rate, beta_1, beta_2 = array(5), 0.1, 0.9, 0.99
    variable = ours.Variable(start)
    optimizer = ours.optimizers.ScheduleFreeAdamW(rate, beta_1, beta_2, epsilon=1e-8)
    z, x, v, y = start.copy(), start.copy(), np.zeros(5), start.copy()
    for step in range(1, 5):
        gradient = array(5, seed=step)
        optimizer.apply([ours.ops.convert_to_tensor(gradient)], [variable])
        v = beta_2 * v + (1 - beta_2) * gradient**2
        z = z - rate * gradient / (np.sqrt(v / (1 - beta_2**step)) + 1e-8)
        x = x * (1 - 1 / step) + z / step
        y = (1 - beta_1) * z + beta_1 * x
        np.testing.assert_allclose(variable.numpy(), y, rtol=1e-4, atol=1e-5)


def test_the_learning_rate_can_be_set():
    optimizer = ours.optimizers.Adam(0.5)
    assert float(optimizer.learning_rate) == 0.5
    optimizer.learning_rate = 0.25
    assert float(optimizer.learning_rate) == 0.25
    optimizer.learning_rate.assign(0.125)
    assert float(optimizer.learning_rate) == 0.125
    scheduled = ours.optimizers.SGD(ours.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5))
    with pytest.raises(TypeError, match="LearningRateSchedule"):
        scheduled.learning_rate = 0.1


def test_configurations_give_equal_optimizers():
    for name in ours.optimizers._CLASSES:
        inner = [ours.optimizers.SGD(0.5)] if name == "LossScaleOptimizer" else []
        first = getattr(ours.optimizers, name)(*inner)
        second = ours.optimizers.deserialize(ours.optimizers.serialize(first))
        assert type(second) is type(first) and second.get_config() == first.get_config()
    scheduled = ours.optimizers.SGD(ours.optimizers.schedules.CosineDecay(0.1, 10))
    again = ours.optimizers.deserialize(ours.optimizers.serialize(scheduled))
    assert again._rate.get_config() == scheduled._rate.get_config()


def test_what_optimizers_refuse():
    optimizers = ours.optimizers
    with pytest.raises(ValueError, match="did you mean 'adam'"):
        optimizers.get("adan")
    with pytest.raises(ValueError, match="Only one of"):
        optimizers.SGD(clipnorm=1.0, clipvalue=1.0)
    with pytest.raises(ValueError, match="learning_rate"):
        optimizers.SGD(-1.0)
    with pytest.raises(ValueError, match="No gradients provided"):
        optimizers.SGD().apply([None], [ours.Variable(1.0)])
    built = optimizers.SGD()
    built.build([ours.Variable(1.0)])
    with pytest.raises(ValueError, match="Unknown variable"):
        built.apply([ours.ops.ones(())], [ours.Variable(1.0)])
