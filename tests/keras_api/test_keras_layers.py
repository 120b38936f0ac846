"""Layer by layer: outputs, shapes and gradients are Keras's for the same weights and inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracle import array, close, ours, theirs

import tilegrad as tg

IMAGES, SEQUENCES, ROWS = (2, 8, 7, 4), (3, 6, 4), (5, 6)
VOLUMES = (2, 5, 6, 4, 3)

# name: class, arguments, keyword arguments, shape or shapes of the inputs
CASES = {
    "dense": ("Dense", (4,), {"activation": "relu"}, ROWS),
    "dense_3d": ("Dense", (4,), {"activation": "gelu", "use_bias": False}, SEQUENCES),
    "conv1d": ("Conv1D", (5, 3), {}, SEQUENCES),
    "conv1d_causal": ("Conv1D", (5, 3), {"padding": "causal", "dilation_rate": 2}, SEQUENCES),
    "conv2d": ("Conv2D", (5, 3), {"activation": "relu"}, IMAGES),
    "conv2d_same": ("Conv2D", (5, 3), {"padding": "same", "strides": 2}, IMAGES),
    "conv2d_even": ("Conv2D", (5, (2, 4)), {"padding": "same"}, IMAGES),
    "conv2d_groups": ("Conv2D", (6, 3), {"groups": 2, "dilation_rate": 2}, IMAGES),
    "conv2d_first": ("Conv2D", (5, 3), {"data_format": "channels_first"}, IMAGES),
    "conv3d": ("Conv3D", (3, 2), {"padding": "same"}, VOLUMES),
    "depthwise1d": ("DepthwiseConv1D", (3,), {"depth_multiplier": 2}, SEQUENCES),
    "depthwise2d": ("DepthwiseConv2D", (3,), {"padding": "same", "strides": 2}, IMAGES),
    "separable1d": ("SeparableConv1D", (5, 3), {"activation": "relu"}, SEQUENCES),
    "separable2d": ("SeparableConv2D", (5, 3), {"padding": "same", "depth_multiplier": 2}, IMAGES),
    "conv1d_transpose": ("Conv1DTranspose", (5, 3), {"strides": 2}, SEQUENCES),
    "conv2d_transpose": ("Conv2DTranspose", (5, 3), {"strides": 2, "padding": "same"}, IMAGES),
    "conv2d_transpose_wide": ("Conv2DTranspose", (5, 4), {"strides": 2}, IMAGES),
    "conv2d_transpose_one": ("Conv2DTranspose", (5, 3), {"padding": "same"}, IMAGES),
    "conv2d_transpose_extra": (
        "Conv2DTranspose", (3, 3), {"strides": 2, "output_padding": 1}, IMAGES
    ),
    "conv3d_transpose": ("Conv3DTranspose", (2, 3), {"strides": 2, "padding": "same"}, VOLUMES),
    "max_pool1d": ("MaxPooling1D", (2,), {}, SEQUENCES),
    "max_pool2d": ("MaxPooling2D", (), {}, IMAGES),
    "max_pool2d_same": ("MaxPooling2D", (3,), {"strides": 2, "padding": "same"}, IMAGES),
    "max_pool3d": ("MaxPooling3D", (2,), {}, VOLUMES),
    "average_pool1d": ("AveragePooling1D", (2,), {}, SEQUENCES),
    "average_pool2d": ("AveragePooling2D", (2,), {}, IMAGES),
    "average_pool2d_same": (
        "AveragePooling2D", (3,), {"strides": 2, "padding": "same"}, (2, 7, 7, 4)
    ),
    "average_pool3d": ("AveragePooling3D", (2,), {}, VOLUMES),
    "global_average1d": ("GlobalAveragePooling1D", (), {}, SEQUENCES),
    "global_average2d": ("GlobalAveragePooling2D", (), {"keepdims": True}, IMAGES),
    "global_average3d": ("GlobalAveragePooling3D", (), {}, VOLUMES),
    "global_max1d": ("GlobalMaxPooling1D", (), {}, SEQUENCES),
    "global_max2d": ("GlobalMaxPooling2D", (), {}, IMAGES),
    "global_max3d": ("GlobalMaxPooling3D", (), {}, VOLUMES),
    "adaptive_average": ("AdaptiveAveragePooling2D", ((2, 3),), {}, IMAGES),
    "adaptive_max": ("AdaptiveMaxPooling1D", (3,), {}, SEQUENCES),
    "batch_norm": ("BatchNormalization", (), {}, IMAGES),
    "batch_norm_axis": ("BatchNormalization", (), {"axis": 1, "scale": False}, IMAGES),
    "layer_norm": ("LayerNormalization", (), {}, SEQUENCES),
    "layer_norm_axes": ("LayerNormalization", (), {"axis": [-2, -1]}, IMAGES),
    "group_norm": ("GroupNormalization", (2,), {}, IMAGES),
    "instance_norm": ("GroupNormalization", (-1,), {}, SEQUENCES),
    "rms_norm": ("RMSNormalization", (), {}, SEQUENCES),
    "unit_norm": ("UnitNormalization", (), {}, ROWS),
    "flatten": ("Flatten", (), {}, IMAGES),
    "flatten_first": ("Flatten", (), {"data_format": "channels_first"}, IMAGES),
    "reshape": ("Reshape", ((4, -1),), {}, IMAGES),
    "permute": ("Permute", ((3, 1, 2),), {}, IMAGES),
    "repeat": ("RepeatVector", (3,), {}, ROWS),
    "up1d": ("UpSampling1D", (3,), {}, SEQUENCES),
    "up2d": ("UpSampling2D", ((2, 3),), {}, IMAGES),
    "up2d_bilinear": ("UpSampling2D", (2,), {"interpolation": "bilinear"}, IMAGES),
    "up3d": ("UpSampling3D", (2,), {}, VOLUMES),
    "pad1d": ("ZeroPadding1D", ((1, 2),), {}, SEQUENCES),
    "pad2d": ("ZeroPadding2D", (((1, 2), (0, 3)),), {}, IMAGES),
    "pad3d": ("ZeroPadding3D", (1,), {}, VOLUMES),
    "crop1d": ("Cropping1D", ((1, 2),), {}, SEQUENCES),
    "crop2d": ("Cropping2D", (((1, 2), (0, 3)),), {}, IMAGES),
    "crop3d": ("Cropping3D", (1,), {}, VOLUMES),
    "relu": ("ReLU", (), {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2}, ROWS),
    "leaky": ("LeakyReLU", (), {}, ROWS),
    "elu": ("ELU", (), {"alpha": 0.5}, ROWS),
    "prelu": ("PReLU", (), {"alpha_initializer": "random_normal", "shared_axes": [1]}, SEQUENCES),
    "softmax": ("Softmax", (), {}, ROWS),
    "activation": ("Activation", ("silu",), {}, ROWS),
    "add": ("Add", (), {}, [ROWS, ROWS, ROWS]),
    "subtract": ("Subtract", (), {}, [ROWS, ROWS]),
    "multiply": ("Multiply", (), {}, [ROWS, (5, 1)]),
    "average": ("Average", (), {}, [ROWS, ROWS]),
    "maximum": ("Maximum", (), {}, [ROWS, ROWS]),
    "minimum": ("Minimum", (), {}, [ROWS, ROWS]),
    "concatenate": ("Concatenate", (), {"axis": 1}, [SEQUENCES, (3, 2, 4)]),
    "dot": ("Dot", (2,), {"normalize": True}, [SEQUENCES, (3, 5, 4)]),
    "dot_vectors": ("Dot", (1,), {}, [ROWS, ROWS]),
    "attention": ("Attention", (), {"use_scale": True}, [SEQUENCES, (3, 5, 4)]),
    "attention_concat": ("Attention", (), {"score_mode": "concat"}, [SEQUENCES, (3, 5, 4)]),
    "additive": ("AdditiveAttention", (), {}, [SEQUENCES, (3, 5, 4), (3, 5, 4)]),
    "simple_rnn": ("SimpleRNN", (5,), {}, SEQUENCES),
    "simple_rnn_relu": ("SimpleRNN", (5,), {"activation": "relu"}, SEQUENCES),
    "lstm": ("LSTM", (5,), {}, SEQUENCES),
    "lstm_sequences": ("LSTM", (5,), {"return_sequences": True, "go_backwards": True}, SEQUENCES),
    "lstm_states": ("LSTM", (5,), {"return_state": True, "use_bias": False}, SEQUENCES),
    "lstm_gates": ("LSTM", (5,), {"recurrent_activation": "hard_sigmoid"}, SEQUENCES),
    "gru": ("GRU", (5,), {"return_sequences": True}, SEQUENCES),
    "gru_before": ("GRU", (5,), {"reset_after": False}, SEQUENCES),
    "gru_states": ("GRU", (5,), {"return_state": True}, SEQUENCES),
    "rescaling": ("Rescaling", (0.5,), {"offset": 1.0}, IMAGES),
    "normalization": ("Normalization", (), {"mean": 0.5, "variance": 2.0}, ROWS),
    "center_crop": ("CenterCrop", (4, 3), {}, IMAGES),
    "resizing": ("Resizing", (5, 9), {}, IMAGES),
    "resizing_nearest": ("Resizing", (5, 9), {"interpolation": "nearest"}, IMAGES),
}  # fmt: skip


def inputs_of(shapes):
    if isinstance(shapes, list):
        return [array(*shape, seed=i) for i, shape in enumerate(shapes)]
    return array(*shapes)


def flat(x):
    return list(x) if isinstance(x, (list, tuple)) else [x]


def waves(shape):
    return np.cos(np.arange(np.prod(shape), dtype="float32")).reshape(shape)


def run(layer, module, data, training):
    """Outputs, gradients of inputs and of weights, as arrays."""
    tensors = [module.from_numpy(x.copy()).requires_grad_() for x in flat(data)]
    given = tensors if isinstance(data, list) else tensors[0]
    kwargs = {"training": training} if training is not None else {}
    outputs = flat(layer(given, **kwargs))
    total = sum((y * module.from_numpy(waves(tuple(y.shape)))).sum() for y in outputs)
    total.backward()
    weights = [w.value for w in layer.trainable_weights]
    return (
        [y.detach().numpy() for y in outputs],
        [x.grad.numpy() for x in tensors],
        [w.grad.numpy() for w in weights],
    )


def pair(case):
    name, args, kwargs, shapes = CASES[case]
    layers = [getattr(keras.layers, name)(*args, **kwargs) for keras in (theirs, ours)]
    data = inputs_of(shapes)
    for layer in layers:
        layer(data)
    layers[1].set_weights(layers[0].get_weights())
    return layers, data


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients(case):
    layers, data = pair(case)
    there = run(layers[0], torch, data, None)
    here = run(layers[1], tg, data, None)
    close(there, here, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("case", ["batch_norm", "batch_norm_axis"])
def test_training_changes_moving_averages(case):
    layers, data = pair(case)
    there, here = run(layers[0], torch, data, True), run(layers[1], tg, data, True)
    close(there, here, rtol=2e-4, atol=2e-4)
    close(layers[0].get_weights(), layers[1].get_weights(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_symbolic_shapes_and_names(case):
    name, args, kwargs, shapes = CASES[case]
    found = []
    for keras in (theirs, ours):
        layer = getattr(keras.layers, name)(*args, **kwargs)
        made = [
            keras.Input(shape[1:]) for shape in (shapes if isinstance(shapes, list) else [shapes])
        ]
        outputs = layer(made if isinstance(shapes, list) else made[0])
        found.append(
            ([y.shape for y in flat(outputs)], [w.path.split("/")[-1] for w in layer.weights],
             [tuple(w.shape) for w in layer.weights])
        )  # fmt: skip
    assert found[0] == found[1]


@pytest.mark.parametrize("case", CASES)
def test_configurations_give_equal_layers(case):
    layers, data = pair(case)
    layer = layers[1]
    again = ours.layers.deserialize(ours.layers.serialize(layer))
    assert again.get_config() == layer.get_config()
    again(data)
    again.set_weights(layer.get_weights())
    first, second = flat(layer(data)), flat(again(data))
    close([y.detach().numpy() for y in first], [y.detach().numpy() for y in second], 0, 0)
    theirs_only = set(layers[0].get_config()) - set(layer.get_config())
    assert not theirs_only - {
        "lora_rank", "quantization_config", "zero_output_for_mask", "implementation", "renorm",
        "synchronized", "antialias", "pad_to_aspect_ratio", "fill_mode", "fill_value",
        "renorm_clipping", "renorm_momentum", "rms_scaling",
    }  # fmt: skip
