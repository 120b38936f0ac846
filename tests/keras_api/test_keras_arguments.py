"""Arguments that programs use less often do what they say, as in Keras, or are refused."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
from oracle import array, both, close, ours, theirs, twins

import tilegrad as tg
from tilegrad.keras import layers, ops, tree

IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 9, 14, 3)).astype("float32")

OPS = {
    "gelu": lambda k: k.ops.gelu(array(20)),
    "gelu_exact": lambda k: k.ops.gelu(array(20), approximate=False),
    "resize": lambda k: k.ops.image.resize(IMAGES, (5, 4)),
    "resize_smooth": lambda k: k.ops.image.resize(IMAGES, (4, 5), antialias=True),
    "resize_cubic": lambda k: k.ops.image.resize(IMAGES, (4, 5), "bicubic", antialias=True),
    "resize_padded": lambda k: k.ops.image.resize(
        IMAGES, (8, 8), pad_to_aspect_ratio=True, fill_value=7.0
    ),
    "resize_padded_high": lambda k: k.ops.image.resize(
        IMAGES[0], (4, 12), pad_to_aspect_ratio=True
    ),
    "resize_cropped": lambda k: k.ops.image.resize(IMAGES, (8, 6), crop_to_aspect_ratio=True),
    "resize_bytes": lambda k: k.ops.image.resize(
        IMAGES.astype("uint8"), (7, 5), "bicubic"
    ),
    "resizing": lambda k: k.layers.Resizing(6, 6, pad_to_aspect_ratio=True, fill_value=3.0)(IMAGES),
    "resizing_smooth": lambda k: k.layers.Resizing(4, 4, antialias=True)(IMAGES),
    "pad": lambda k: k.ops.image.pad_images(IMAGES, 2, 1, target_height=15, target_width=20),
    "pad_ends": lambda k: k.ops.image.pad_images(
        IMAGES[0], top_padding=1, bottom_padding=2, left_padding=3, right_padding=0
    ),
    "crop": lambda k: k.ops.image.crop_images(IMAGES, 2, 1, target_height=5, target_width=6),
    "crop_ends": lambda k: k.ops.image.crop_images(
        IMAGES, bottom_cropping=2, right_cropping=4, target_height=6, target_width=3
    ),
    "sobel": lambda k: k.ops.image.sobel_edges(IMAGES),
    "ssim": lambda k: k.ops.image.ssim(IMAGES, IMAGES[:, ::-1].copy(), 255.0, filter_size=7),
    "ssim_alike": lambda k: k.ops.image.ssim(IMAGES[0], IMAGES[0], 255.0, filter_size=5),
    "patches": lambda k: k.ops.image.extract_patches_3d(array(2, 6, 7, 8, 2), (2, 3, 2)),
    "patches_same": lambda k: k.ops.image.extract_patches_3d(
        array(5, 5, 5, 1), 2, strides=(1, 2, 2), padding="same"
    ),
    "patches_spread": lambda k: k.ops.image.extract_patches_3d(
        array(1, 6, 6, 6, 1), 2, strides=1, dilation_rate=2
    ),
    "perspective": lambda k: k.ops.image.perspective_transform(
        IMAGES, np.float32([[[0, 0], [13, 0], [0, 8], [13, 8]]] * 2),
        np.float32([[[1, 1], [12, 0], [2, 7], [13, 8]]] * 2), fill_value=5.0,
    ),
    "moved": lambda k: k.ops.image.scale_and_translate(
        IMAGES, (2, 12, 10, 3), np.float32([1.3, 0.6]), np.float32([0.5, -1.0]), (1, 2), "cubic"
    ),
    "moved_plainly": lambda k: k.ops.image.scale_and_translate(
        IMAGES, (2, 5, 14, 3), np.float32([0.5]), np.float32([0.0]), (1,), "lanczos3", False
    ),
    "bits": lambda k: [
        getattr(k.ops, name)(x=np.arange(5), y=np.array([1, 2, 1, 0, 1]))
        for name in ("bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift")
    ],
    "cholesky": lambda k: k.ops.cholesky(np.float32([[4, 2], [2, 3]]), upper=True),
    "pinv": lambda k: k.ops.pinv(np.float32([[1, 2], [2, 4.001], [0, 0]]), rcond=0.01),
    "unique": lambda k: list(
        k.ops.unique(np.array([3, 1, 3, 7]), return_inverse=True, return_counts=True)
    ),
    "unique_places": lambda k: list(
        k.ops.unique(np.array([3, 1, 3, 7, 1]), return_index=True, size=2)
    ),
    "unique_filled": lambda k: k.ops.unique(np.array([3, 1, 3]), size=4, fill_value=9),
    "multi_hot": lambda k: k.ops.multi_hot(np.array([[0, 2], [1, 1]]), 4),
    "mapped": lambda k: k.ops.vectorized_map(
        function=lambda x: x * 2, elements=k.ops.convert_to_tensor(array(3, 2))
    ),
    "attention": lambda k: k.ops.dot_product_attention(
        array(2, 5, 4, 3), array(2, 6, 2, 3, seed=1), array(2, 6, 2, 3, seed=2)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OPS)
def test_functions_with_their_options(case):
    there, here = both(OPS[case])
    close(there, here, rtol=2e-4, atol=2e-3 if "resiz" in case or case == "moved" else 1e-5)


def test_what_is_given_for_images_is_checked():
    image = ops.image
    for call, message in (
        (lambda: image.resize(IMAGES, (3, 3), fill_mode="wrap"), "fill_mode"),
        (lambda: image.resize(IMAGES, (3, 3), crop_to_aspect_ratio=True, pad_to_aspect_ratio=True),
         "Only one"),
        (lambda: image.resize(IMAGES, (3, 3, 3)), "size"),
        (lambda: image.resize(IMAGES[0, 0], (3, 3)), "rank"),
        (lambda: image.pad_images(IMAGES, 1, 1), "exactly two of top_padding"),
        (lambda: image.crop_images(IMAGES, 1, 1, 1, 1, 4, 4), "exactly two of top_cropping"),
        (lambda: image.crop_images(IMAGES, 8, 1, target_height=5, target_width=2), "got 8, -4"),
        (lambda: image.ssim(IMAGES, IMAGES), "smaller than the filter"),
        (lambda: image.sobel_edges(IMAGES[0]), "rank 4"),
        (lambda: image.extract_patches_3d(array(4, 4, 4, 1), 2, padding="full"), "padding"),
        (lambda: image.perspective_transform(IMAGES, np.zeros((3, 2)), np.zeros((3, 2))), "shape"),
        (lambda: image.scale_and_translate(IMAGES, (2, 2, 2, 3), [1.0], [0.0], (1,), "best"),
         "method"),
        (lambda: ops.one_hot([1], 3, sparse=True), "sparse"),
        (lambda: ops.bincount([1], sparse=True), "sparse"),
        (lambda: layers.CategoryEncoding(3, sparse=True), "sparse"),
        (lambda: layers.TextVectorization(ragged=True), "ragged"),
        (lambda: layers.IntegerLookup(vocabulary_dtype="int32"), "vocabulary_dtype"),
        (lambda: layers.StringLookup(pad_to_max_tokens=True), "max_tokens"),
        (lambda: layers.Pipeline([1]), "list of layers"),
        (lambda: layers.RandAugment(factor=2.0), "factor"),
        (lambda: layers.RandomPerspective(scale=1.5), "scale"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(NotImplementedError, match="signature"):
        ops.vectorize(abs, signature="(n)->()")


def test_scores_are_bent_before_their_softmax():
    q, k, v = (array(1, 4, 2, 3, seed=i) for i in range(3))
    scores = np.einsum("nqhd,nkhd->nhqk", q, k) / np.sqrt(3)
    scores = 0.5 * np.tanh(scores / 0.5)
    for causal in (False, True):
        kept = np.tril(np.ones((4, 4))) if causal else np.ones((4, 4))
        shares = np.exp(scores) * kept
        shares = shares / shares.sum(-1, keepdims=True)
        made = ops.dot_product_attention(q, k, v, is_causal=causal, attn_logits_soft_cap=0.5)
        close(np.einsum("nhqk,nkhd->nqhd", shares, v), made.numpy())
    with pytest.raises(ValueError, match="4D"):
        ops.dot_product_attention(q[0], k[0], v[0])


# --- layers ---------------------------------------------------------------------------------------


def test_words_in_vectors_of_a_fixed_width():
    words = layers.StringLookup(max_tokens=7, vocabulary=["a", "b"], output_mode="multi_hot",
                                pad_to_max_tokens=True)  # fmt: skip
    assert words(["a", "z"]).numpy().tolist() == [1, 1, 0, 0, 0, 0, 0]
    texts = layers.TextVectorization(6, output_mode="count", pad_to_max_tokens=True)
    texts.adapt((["good film"], ["bad bad film"], ["never seen"]), steps=2)
    assert texts.get_vocabulary() == ["[UNK]", "film", "bad", "good"]
    assert texts(["bad never film bad"]).numpy().tolist() == [[1, 1, 2, 0, 0, 0]]
    again = layers.deserialize(layers.serialize(texts))
    assert again.get_config() == texts.get_config()
    assert layers.IntegerLookup(vocabulary=[5, 7])([7, 1]).tolist() == [2, 0]
    bins = layers.Discretization(num_bins=2)
    bins.adapt(iter([np.array([0.0, 1.0]), np.array([2.0, 3.0]), np.array([100.0])]), steps=2)
    assert bins.bin_boundaries == [1.5]


def test_a_bidirectional_layer_starts_with_given_weights():
    source = layers.Bidirectional(layers.LSTM(3))
    expected = source(array(2, 4, 5))
    made = layers.Bidirectional(layers.LSTM(3), weights=source.get_weights())
    close(expected.detach().numpy(), made(array(2, 4, 5)).detach().numpy(), 0, 0)


def test_each_step_gets_its_part_of_a_mask():
    class Masked:
        def __new__(cls, keras):
            class Layer(keras.layers.Layer):
                def call(self, x, mask=None):
                    return x * keras.ops.cast(keras.ops.expand_dims(mask, -1), "float32")

            return Layer()

    x, mask = array(2, 3, 4, 5), np.random.default_rng(1).integers(0, 2, (2, 3, 4)).astype(bool)
    close(*both(lambda k: k.layers.TimeDistributed(Masked(k))(
        x, mask=k.ops.convert_to_tensor(mask))))  # fmt: skip
    with pytest.raises(ValueError, match="incompatible with the input shape"):
        layers.TimeDistributed(layers.Dense(2))(x, mask=tg.ones(2, 5).bool())


def test_a_pipeline_is_its_layers():
    steps = [layers.Rescaling(1 / 255), layers.RandomFlip(seed=1), layers.Resizing(4, 4)]
    pipeline = layers.Pipeline(steps)
    assert tuple(pipeline(IMAGES).shape) == (2, 4, 4, 3) and pipeline.layers == steps
    still = pipeline(IMAGES, training=False)
    close(steps[2](steps[0](IMAGES)).numpy(), still.numpy())
    again = layers.deserialize(layers.serialize(pipeline))
    close(still.numpy(), again(IMAGES, training=False).numpy())
    assert ours.Sequential([ours.Input((9, 14, 3)), pipeline]).output_shape == (None, 4, 4, 3)


AUGMENTATIONS = {
    "RandAugment": {"num_ops": 3}, "AugMix": {}, "RandomPerspective": {"scale": 0.5},
    "RandomElasticTransform": {"scale": (0.5, 1.0), "factor": (1.0, 1.0)},
}  # fmt: skip


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_drawn_changes_of_images(name):
    make = getattr(layers, name)
    layer = make(seed=3, **AUGMENTATIONS[name])
    close(IMAGES, layer(IMAGES, training=False).numpy(), 0, 0)
    changed = layer(IMAGES, training=True).numpy()
    assert changed.shape == IMAGES.shape and not np.allclose(changed, IMAGES)
    assert changed.min() > -1e-3 and changed.max() < 255.001
    close(changed, make(seed=3, **AUGMENTATIONS[name])(IMAGES, training=True).numpy(), 0, 0)
    assert not np.allclose(changed, layer(IMAGES, training=True).numpy())
    again = layers.deserialize(layers.serialize(layer))
    assert again.get_config() == layer.get_config()
    theirs_ = getattr(theirs.layers, name)(**AUGMENTATIONS[name]).get_config()
    assert set(theirs_) <= set(layer.get_config())


# --- models ---------------------------------------------------------------------------------------


def graph(keras):
    inner = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, name="deep"), keras.layers.ReLU()], name="inner"
    )
    x = keras.Input((3,))
    return keras.Model(x, keras.layers.Dense(2, name="top")(inner(x)), name="outer")


def test_clones_with_functions_of_ones_own(tmp_path):
    def wider(keras):
        def function(layer):
            if not isinstance(layer, keras.layers.Dense):
                return layer.__class__.from_config(layer.get_config())
            config = layer.get_config()
            return keras.layers.Dense(**{**config, "units": 2 * layer.units})

        return function

    counts = []
    for keras in (theirs, ours):
        model = graph(keras)
        model.compile("sgd", "mse")
        deep = keras.models.clone_model(model, clone_function=wider(keras), recursive=True)
        flat = keras.models.clone_model(model, clone_function=lambda x: x)
        assert deep.compiled and flat.layers[1] is model.layers[1]

        def call(layer, *args, keras=keras, **kwargs):
            out = layer(*args, **kwargs)
            return keras.layers.Dropout(0.5)(out) if layer.name == "top" else out

        longer = keras.models.clone_model(model, call_function=call)
        counts.append([deep.count_params(), len(longer.layers), flat.count_params()])
        with pytest.raises(ValueError, match="call_function"):
            keras.models.clone_model(model.get_layer("inner"), call_function=call)
    assert counts[0] == counts[1] == [3 * 8 + 8 + 8 * 4 + 4, 4, 3 * 4 + 4 + 4 * 2 + 2]
    path, model = tmp_path / "graph.png", graph(ours)
    ours.utils.plot_model(model, path, expand_nested=True, show_trainable=True, dpi=40)
    assert path.stat().st_size > 1000
    with pytest.raises(ValueError, match="unrecognized"):
        ours.utils.plot_model(model, path, show_colors=True)


def test_models_within_models_are_drawn_with_their_layers():
    from tilegrad.keras.utils.plot_model import _boxes, _label

    model = graph(ours)
    boxes, edges = _boxes(model)
    assert [type(x).__name__ for x in boxes] == ["InputLayer", "Sequential", "Dense"]
    assert edges == [(0, 1), (1, 2)]
    boxes, edges = _boxes(model, expand=True)
    names = [type(x).__name__ for x in boxes]
    assert names == ["InputLayer", "InputLayer", "Dense", "ReLU", "Dense"]
    assert sorted(edges) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    model.get_layer("top").trainable = False
    assert _label(boxes[-1], True, False, False, False, True).endswith("trainable: no")


def test_optimizers_are_named_as_in_keras():
    for name in ("SGD", "AdamW", "RMSprop", "ScheduleFreeAdamW", "Adagrad"):
        there, here = both(lambda k, name=name: getattr(k.optimizers, name)(name="x").name)
        assert there == here == "x"
        pair = [getattr(k.optimizers, name)().name.rstrip("_0123456789") for k in (theirs, ours)]
        assert pair[0] == pair[1]


# --- structures and settings ----------------------------------------------------------------------


def test_structures():
    nested = {"b": [1, (2, None)], "a": {"c": 3}}

    def results(k):
        t = k.tree
        return [
            [list(path) for path, _ in t.flatten_with_path(nested)],
            [leaf for _, leaf in t.flatten_with_path(nested)],
            t.map_structure_up_to([0, 0], lambda x, y: (x, y), [1, [2]], [[3], 4]),
            t.map_shape_structure(lambda s: len(s), {"x": (None, 3), "y": [(2,), (1, 2, 3)]}),
            t.traverse(lambda x: t.MAP_TO_NONE if x == 3 else None, nested),
        ]

    assert results(theirs) == results(ours)
    assert tree.lists_to_tuples([1, [2, {"a": [3]}]]) == (1, (2, {"a": (3,)}))
    tree.assert_same_paths([1, [2]], (0, (5,)))
    with pytest.raises(ValueError, match=r"missing in `b`"):
        tree.assert_same_paths([1, [2]], [1, 2])
    for k in (theirs, ours):
        with pytest.raises(ValueError, match="at least one structure"):
            k.tree.map_structure_up_to([1], len)
        with pytest.raises(ValueError, match=r"same nested structure|arity mismatch"):
            k.tree.map_structure_up_to([1, 2], len, [1])


def test_switches_that_programs_turn():
    def states(k):
        config = k.config
        seen = [config.is_traceback_filtering_enabled(), config.is_flash_attention_enabled()]
        config.disable_traceback_filtering()
        config.disable_flash_attention()
        seen += [config.is_traceback_filtering_enabled(), config.is_flash_attention_enabled()]
        config.enable_traceback_filtering()
        config.enable_flash_attention()
        return [*seen, config.is_traceback_filtering_enabled(), config.is_flash_attention_enabled()]

    assert states(theirs) == states(ours)


def test_programs_for_several_backends_take_the_part_for_pytorch():
    program = """
        import keras
        assert keras.backend.backend() == keras.config.backend() == "torch"
        if keras.config.backend() == "torch":
            import torch
        print(torch.__name__, torch.ones(2).sum().item())
    """
    result = subprocess.run(
        [sys.executable, "-m", "tilegrad.run", "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert result.stdout == "torch 2.0\n"
    assert ours.config.backend() == "tilegrad"


def test_weights_are_shared_with_keras_for_the_usual_layers():
    """The twins of this file's layers start alike, so that what differs is the options."""
    there, here = twins(graph)
    close(there.predict(array(4, 3), verbose=0), here.predict(array(4, 3), verbose=0))


def test_a_loss_that_the_class_made_is_not_taken_away_by_compile():
    found = []
    for keras in (theirs, ours):

        class Doubling(keras.Model):
            def __init__(self, keras=keras):
                super().__init__()
                self.loss = keras.losses.MeanAbsoluteError()
                self.dense = keras.layers.Dense(1, kernel_initializer="ones")

            def call(self, x):
                return self.dense(x)

            def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
                return 2 * self.loss(y, y_pred)

        model = Doubling()
        model.compile("sgd")
        found.append(model.fit(array(8, 3), array(8, 1), shuffle=False, verbose=0).history)
    close(*found)


def test_no_samples_are_an_error():
    model = graph(ours)
    model.compile("sgd", "mse")
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match="have no samples"):
            call(np.zeros((0, 3)), np.zeros((0, 2)), verbose=0)


def test_a_loss_method_may_do_without_training():
    """Older programs define ``compute_loss`` without that argument."""
    found = []
    for keras in (theirs, ours):

        class Scaled(keras.Model):
            def __init__(self, keras=keras):
                super().__init__()
                self.dense = keras.layers.Dense(1, kernel_initializer="ones")

            def call(self, x):
                return self.dense(x)

            def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
                return 3 * super().compute_loss(x, y, y_pred, sample_weight)

        model = Scaled()
        model.compile("sgd", "mse")
        history = model.fit(array(8, 3), array(8, 1), shuffle=False, verbose=0).history
        found.append([history, model.evaluate(array(8, 3), array(8, 1), verbose=0)])
    close(*found)
