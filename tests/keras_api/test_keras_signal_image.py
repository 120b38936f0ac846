"""Convolutional LSTMs, sound, colours and mixtures of images, Fourier transforms: beside Keras."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import array, both, close, ours, theirs, twins

import tilegrad as tg

IMAGES = np.random.default_rng(0).uniform(0, 255, (3, 8, 10, 3)).astype("float32")
SOUND = array(2, 600)


# --- convolutional LSTM ---------------------------------------------------------------------------


LSTMS = {
    "1d": ("ConvLSTM1D", (2, 4, 7, 2), {"kernel_size": 3}),
    "2d": ("ConvLSTM2D", (2, 4, 6, 7, 2), {"kernel_size": (3, 2), "return_sequences": True}),
    "2d_same": ("ConvLSTM2D", (2, 3, 6, 7, 2), {"kernel_size": 3, "padding": "same"}),
    "2d_stride": ("ConvLSTM2D", (2, 3, 7, 7, 2), {"kernel_size": 3, "strides": 2}),
    "2d_dilated": ("ConvLSTM2D", (2, 3, 7, 7, 2), {"kernel_size": 3, "dilation_rate": 2}),
    "2d_back": (
        "ConvLSTM2D",
        (2, 3, 5, 5, 2),
        {"kernel_size": 2, "go_backwards": True, "return_sequences": True, "use_bias": False},
    ),
    "2d_state": (
        "ConvLSTM2D",
        (2, 3, 5, 5, 1),
        {"kernel_size": 3, "return_state": True, "activation": "relu"},
    ),
    "3d": ("ConvLSTM3D", (1, 2, 4, 4, 4, 1), {"kernel_size": 2}),
}


@pytest.mark.parametrize("case", LSTMS)
def test_convolutional_lstms(case):
    name, shape, options = LSTMS[case]

    def make(keras):
        layer = getattr(keras.layers, name)(3, **options)
        layer.build(shape)
        return layer

    there, here = twins(make)
    x = array(*shape)
    expected, found = there(x), here(x)
    if not isinstance(expected, (list, tuple)):
        expected, found = [expected], [found]
    for a, b in zip(expected, found, strict=True):
        close(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-5)
    spec = here.compute_output_shape((None, *shape[1:]))
    assert (spec[0] if options.get("return_state") else spec)[1:] == tuple(found[0].shape)[1:]
    again = ours.layers.deserialize(ours.layers.serialize(here))
    assert again.get_config() == here.get_config()


def test_convolutional_lstm_with_masks_and_gradients():
    x = array(2, 4, 5, 5, 1)
    mask = np.array([[True, True, False, True], [True, False, False, False]])
    there, here = twins(
        lambda k: k.Sequential(
            [k.Input((4, 5, 5, 1)), k.layers.ConvLSTM2D(2, 3), k.layers.Flatten()]
        )
    )
    layer, other = there.layers[0], here.layers[0]
    close(
        layer(x, mask=theirs.ops.convert_to_tensor(mask)).detach().numpy(),
        other(x, mask=tg.from_numpy(mask)).detach().numpy(),
        atol=1e-5,
    )
    grads = []
    for model in (there, here):
        model.compile("sgd", "mse")
        model.fit(x, np.zeros((2, 18), "float32"), epochs=2, verbose=0)
        grads.append(model.get_weights())
    close(*grads, rtol=1e-4, atol=1e-5)


def test_convolutional_lstm_drops_the_same_for_all_steps_but_learns():
    ours.utils.set_random_seed(0)
    layer = ours.layers.ConvLSTM2D(2, 3, dropout=0.5, recurrent_dropout=0.5)
    x = array(2, 3, 5, 5, 1)
    first, second = layer(x, training=True), layer(x, training=True)
    assert not np.allclose(first.detach().numpy(), second.detach().numpy())
    close(layer(x).detach().numpy(), layer(x, training=False).detach().numpy())
    first.sum().backward()
    assert all(v.grad is not None for v in layer.weights)
    with pytest.raises(ValueError, match="static input shapes"):
        ours.layers.ConvLSTM2D(2, 3)(ours.Input((3, None, 5, 1)))
    with pytest.raises(ValueError, match="strictly positive"):
        ours.layers.ConvLSTM2D(0, 3)


# --- sound ----------------------------------------------------------------------------------------

SPECTROGRAMS = [
    {},
    {"mode": "magnitude", "padding": "same", "frame_step": 20},
    {"mode": "psd", "window": "hamming", "periodic": True, "scaling": "spectrum"},
    {"mode": "stft", "fft_length": 128, "scaling": None},
    {"mode": "real", "window": None},
    {"mode": "imag", "expand_dims": True},
    {"mode": "angle", "data_format": "channels_first"},
    {"mode": "log", "data_format": "channels_first", "expand_dims": True},
]


@pytest.mark.parametrize("options", SPECTROGRAMS)
def test_spectrograms(options):
    x = array(2, 300, 2)
    x = x.transpose(0, 2, 1) if options.get("data_format") == "channels_first" else x
    there, here = both(lambda k: k.layers.STFTSpectrogram(frame_length=64, **options)(x))
    if options.get("mode") == "angle":  # where a number is next to nothing, its angle is noise
        there, here = np.cos(there), np.cos(here)
    close(there, here, rtol=2e-3, atol=2e-3)
    layer = ours.layers.STFTSpectrogram(frame_length=64, **options)
    assert layer.compute_output_shape((None, *x.shape[1:]))[1:] == here.shape[1:]
    assert ours.layers.deserialize(ours.layers.serialize(layer)).get_config() == layer.get_config()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"power_to_db": False, "mag_exp": 1.0, "num_mel_bins": 20},
        {"window": "hamming", "sequence_length": 200, "max_freq": 4000.0, "min_freq": 0.0},
    ],
)
def test_mel_spectrograms(options):
    options = {"fft_length": 256, "sequence_stride": 100, **options}
    there, here = both(lambda k: k.layers.MelSpectrogram(**options)(SOUND))
    close(there, here, rtol=2e-3, atol=1e-2)  # decibels; Keras computes the bands in float32
    layer = ours.layers.MelSpectrogram(**options)
    assert layer.compute_output_shape(SOUND.shape) == tuple(here.shape)
    assert ours.layers.deserialize(ours.layers.serialize(layer)).get_config() == layer.get_config()


def test_what_sound_layers_refuse():
    layers = ours.layers
    for options, message in (
        ({"mode": "loud"}, "mode"),
        ({"frame_step": 0}, "frame_step"),
        ({"fft_length": 8}, "fft_length"),
        ({"window": "door"}, "window"),
        ({"scaling": "fish"}, "caling"),
    ):
        with pytest.raises(ValueError, match=message):
            layers.STFTSpectrogram(frame_length=64, **options)
    with pytest.raises(ValueError, match="sequence_length"):
        layers.MelSpectrogram(fft_length=8, sequence_length=9)


# --- Fourier transforms and other functions -------------------------------------------------------

PAIR = (array(3, 8), array(3, 8, seed=1))
OPS = {
    "fft": (PAIR,),
    "fft2": (PAIR,),
    "ifft2": (PAIR,),
    "rfft": (array(3, 9), 12),
    "irfft": ((array(3, 5), array(3, 5, seed=1)), 8),
    "stft": (SOUND, 64, 20, 64),
    "stft_short": (SOUND, 50, 20, 64, "hamming", False),
    "stft_flat": (SOUND[0], 64, 20, 64, None),
    "extract_sequences": (SOUND, 16, 5),
    "unfold": (array(2, 3, 6, 7), (2, 3), 1, 1, 2),
    "fold": (array(2, 12, 9), (4, 4), 2),
    "correlate": (np.arange(6.0), np.array([1.0, 2.0, 0.5])),
    "correlate_same": (np.arange(6.0), np.array([1.0, 2.0, 0.5]), "same"),
    "correlate_full": (np.arange(6.0), np.array([1.0, 2.0, 0.5]), "full"),
    "rearrange": (array(2, 4, 6, 3), "b (h p) (w q) c -> b h w (p q c)"),
    "rearrange_merge": (array(2, 4, 6, 3), "b h w c -> (b h) (w c)"),
    "ctc_decode": (array(2, 6, 4), np.array([6, 4])),
    "ctc_decode_beam": (array(2, 6, 4), np.array([6, 4]), "beam_search", 20, 3),
}


@pytest.mark.parametrize("case", OPS)
def test_functions(case):
    name = next(n for n in sorted(OPS, key=len) if case.startswith(n) and hasattr(theirs.ops, n))
    options = {"p": 2, "q": 3} if case == "rearrange" else {}
    first, *rest = OPS[case]
    if "fold" in name:  # Keras takes tensors only
        there, here = both(lambda k: getattr(k.ops, name)(k.ops.convert_to_tensor(first), *rest))
    else:
        there, here = both(lambda k: getattr(k.ops, name)(first, *rest, **options))
    close(there, here, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(("length", "window"), [(64, "hann"), (64, None), (48, "hamming")])
def test_signals_come_back(length, window):
    pair = [x.numpy() for x in ours.ops.stft(SOUND, length, 16, 64, window)]
    there, here = both(lambda k: k.ops.istft(tuple(pair), length, 16, 64, 600, window))
    close(there, here, rtol=1e-3, atol=1e-3)
    if window == "hann":
        close(SOUND[:, :592], here[:, :592], atol=1e-4)


def test_complex_numbers_and_derivatives():
    ops = ours.ops
    made = ops.view_as_complex(np.stack(PAIR, -1))
    close(np.stack(PAIR, -1), ops.view_as_real(made).numpy())
    close(np.abs(array(4)), ops.abs(ops.polar(np.abs(array(4)), array(4))).numpy(), atol=1e-5)
    columns = [np.arange(3.0), array(3)]
    close(np.column_stack(columns), ops.column_stack(columns).numpy())
    value, slope = ops.jvp(ops.sin, (np.float32(0.1),), (np.float32(0.2),))
    close(0.09983342, float(value))
    close(0.19900084, float(slope))
    with pytest.raises(ValueError, match="tuple of two"):
        ops.fft(array(3))
    with pytest.raises(ValueError, match="does not fit"):
        ops.rearrange(array(2, 3), "a b c -> a (b c)")


# --- images ---------------------------------------------------------------------------------------

IMAGE_OPS = {
    "rgb_to_hsv": (IMAGES / 255,),
    "hsv_to_rgb": (IMAGES / 255,),
    "gaussian_blur": (IMAGES, (3, 3), (1.0, 0.7), "channels_last"),
    "extract_patches": (IMAGES, (2, 3)),
    "extract_patches_same": (IMAGES, 3, 2, 1, "same"),
    "map_coordinates": (array(5, 6), np.stack([array(7) + 2, array(7, seed=1) + 3]), 1),
    "map_coordinates_near": (array(5, 6), np.stack([array(7) + 2, array(7) + 3]), 0, "reflect"),
    "map_coordinates_wrap": (array(5, 6), np.stack([array(7) * 4, array(7) * 5]), 1, "wrap"),
    "map_coordinates_mirror": (array(5, 6), np.stack([array(7) * 4, array(7) * 5]), 1, "mirror"),
}


@pytest.mark.parametrize("case", IMAGE_OPS)
def test_functions_of_images(case):
    name = next(n for n in sorted(IMAGE_OPS, key=len) if case.startswith(n))
    there, here = both(lambda k: getattr(k.ops.image, name)(*IMAGE_OPS[case]))
    close(there, here, rtol=1e-4, atol=1e-3)


@pytest.mark.filterwarnings("ignore:.*deprecated on 0-D tensors")  # Keras's, in Equalization
def test_colours_are_changed_as_keras_does():
    """The same draw: what Keras makes of a transformation, and what our method makes of it."""
    factor = np.array([0.2, 0.5, 0.9], "float32")
    wide = factor.reshape(-1, 1, 1, 1)
    t, o = theirs.layers, ours.layers
    x, y = theirs.ops.convert_to_tensor(IMAGES), tg.from_numpy(IMAGES)
    pairs = [
        (
            t.RandomSaturation(1.0).transform_images(x, {"factor": factor}),
            o.RandomSaturation(1.0)._saturated(y, tg.from_numpy(wide)),
        ),
        (
            t.RandomHue(1.0).transform_images(x, {"factor": factor - 0.5}),
            o.RandomHue(1.0)._turned(y, tg.from_numpy(wide - 0.5)),
        ),
        (
            t.RandomColorDegeneration(1.0).transform_images(x, {"factor": wide}),
            o.RandomColorDegeneration(1.0)._blended(y, tg.from_numpy(wide)),
        ),
        (
            t.RandomPosterization(4).transform_images(
                x, {"shift_factor": np.array([4, 6, 1], "uint8")}
            ),
            o.RandomPosterization(4)._reduced(y, tg.tensor([4.0, 2.0, 7.0]).reshape(-1, 1, 1, 1)),
        ),
        (
            t.RandomSharpness(1.0).transform_images(x, {"factor": factor}),
            o.RandomSharpness(1.0)._sharpened(y, tg.from_numpy(factor)),
        ),
        (
            t.Solarization(0.5, 0.5).transform_images(
                x,
                {
                    "additions": theirs.ops.convert_to_tensor(60 * wide),
                    "thresholds": theirs.ops.convert_to_tensor(200 * wide),
                },
            ),
            o.Solarization(0.5, 0.5)._inverted(
                y, tg.from_numpy(60 * wide), tg.from_numpy(200 * wide)
            ),
        ),
        (t.AutoContrast()(x), o.AutoContrast()(y)),
        (t.Equalization()(x, training=True), o.Equalization()(y, training=True)),
    ]
    for there, here in pairs:
        close(np.asarray(there), here.numpy(), rtol=1e-3, atol=1e-2)


AUGMENTATIONS = {
    "RandomSaturation": {"factor": 0.8},
    "RandomHue": {"factor": 0.5},
    "RandomColorDegeneration": {"factor": (0.4, 0.9)},
    "RandomPosterization": {"factor": (2, 5)},
    "RandomColorJitter": {
        "brightness_factor": 0.2,
        "contrast_factor": 0.3,
        "saturation_factor": 0.9,
        "hue_factor": 0.4,
    },
    "Solarization": {"addition_factor": 0.3, "threshold_factor": 0.5},
    "RandomErasing": {"scale": (0.1, 0.3), "fill_value": 7.0},
    "RandomGaussianBlur": {"factor": (1.0, 1.0), "kernel_size": 3, "sigma": (0.9, 1.0)},
    "RandomSharpness": {"factor": (0.8, 1.0)},
    "RandomShear": {"x_factor": 0.4, "y_factor": 0.2},
    "MixUp": {"alpha": 0.9},
    "CutMix": {},
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations(name):
    ours.utils.set_random_seed(1)
    cls = getattr(ours.layers, name)
    layer = cls(seed=3, **AUGMENTATIONS[name])
    changed = layer(IMAGES, training=True).numpy()
    assert changed.shape == IMAGES.shape and not np.allclose(changed, IMAGES)
    close(IMAGES, layer(IMAGES, training=False).numpy())
    again = cls(seed=3, **AUGMENTATIONS[name])(IMAGES, training=True).numpy()
    close(changed, again)
    first = cls(seed=3, data_format="channels_first", **AUGMENTATIONS[name]) if name not in (
        "Solarization",) else None  # fmt: skip
    if first is not None:
        turned = first(IMAGES.transpose(0, 3, 1, 2), training=True).numpy().transpose(0, 2, 3, 1)
        close(changed, turned, rtol=1e-4, atol=1e-3)
    assert layer(IMAGES[0], training=True).shape == IMAGES[0].shape
    config = layer.get_config()
    assert cls.from_config(config).get_config() == config
    symbolic = layer(ours.Input((8, 10, 3)))
    assert symbolic.shape == (None, 8, 10, 3)


def test_labels_are_mixed_with_their_images():
    labels = np.eye(3, dtype="float32")
    for name in ("MixUp", "CutMix"):
        layer = getattr(ours.layers, name)(seed=2)
        flat = np.broadcast_to(np.arange(3.0).reshape(3, 1, 1, 1), (3, 40, 40, 1))
        made = layer({"images": flat.astype("float32"), "labels": labels})
        close(np.ones(3), made["labels"].numpy().sum(1), atol=1e-5)
        # Images of one value each: their means are what the labels say.
        means, said = made["images"].numpy().mean((1, 2, 3)), made["labels"].numpy() @ np.arange(3)
        assert np.abs(means - said).max() < (1e-4 if name == "MixUp" else 0.08)
        with pytest.raises(ValueError, match="dictionary"):
            layer({"pictures": flat})


def test_erased_boxes_have_the_size_that_was_asked_for():
    layer = ours.layers.RandomErasing(factor=(1.0, 1.0), scale=(0.25, 0.25), fill_value=-1.0,
                                      value_range=(-1, 1), seed=0)  # fmt: skip
    made = layer(np.zeros((50, 40, 40, 1), "float32"), training=True).numpy()
    share = (made == -1).mean((1, 2, 3))
    assert abs(share.mean() - 0.25) < 0.02 and share.std() < 0.02


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("RandomHue", {"factor": 2.0}, "range"),
        ("RandomSaturation", {"factor": 0.5, "value_range": 3}, "value_range"),
        ("RandomPosterization", {"factor": 9}, "range"),
        ("RandomGaussianBlur", {"kernel_size": 2}, "odd"),
        ("RandomShear", {"x_factor": 1.5}, "x_factor"),
        ("RandomShear", {"fill_mode": "paint"}, "fill_mode"),
        ("CutMix", {"factor": -1}, "range"),
    ],
)
def test_what_augmentations_refuse(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(ours.layers, name)(**options)
