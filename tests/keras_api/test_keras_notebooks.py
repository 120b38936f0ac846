"""What notebooks of courses do: data in folders, steps written by hand, models of one's own."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from oracle import array, close, ours, theirs

import tilegrad as tg
from tilegrad.keras import layers, ops

LABELS = np.random.default_rng(1).integers(0, 3, 40)


@pytest.fixture(autouse=True)
def seeded():
    ours.utils.set_random_seed(0)


# --- integers as inputs ---------------------------------------------------------------------------


def test_a_model_of_ones_own_takes_several_inputs_of_integers():
    class Tickets(ours.Model):
        def __init__(self):
            super().__init__()
            self.join, self.mix = layers.Concatenate(), layers.Dense(8, activation="relu")
            self.urgency = layers.Dense(1, activation="sigmoid")
            self.office = layers.Dense(3, activation="softmax")

        def call(self, inputs):
            x = self.mix(self.join([inputs["title"], inputs["tags"]]))
            return self.urgency(x), self.office(x)

    source = np.random.default_rng(0)
    data = {"title": source.integers(0, 2, (40, 9)), "tags": source.integers(0, 2, (40, 5))}
    model = Tickets()
    urgency, office = model(data)
    assert urgency.shape == (40, 1) and office.shape == (40, 3)
    model.compile(
        "adam", ["mean_squared_error", "sparse_categorical_crossentropy"],
        metrics=[["mean_absolute_error"], ["accuracy"]],
    )  # fmt: skip
    history = model.fit(data, [source.random((40, 1)), LABELS], epochs=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0]
    for made in (layers.LSTM(3)(source.integers(0, 2, (2, 4, 5))),
                 layers.EinsumDense("ab,bc->ac", 6)(source.integers(0, 2, (2, 5)))):  # fmt: skip
        assert made.dtype is tg.float32


# --- steps by hand --------------------------------------------------------------------------------


def classifier(keras):
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, activation="relu", kernel_regularizer="l2"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


def test_stateless_calls_change_nothing_and_give_what_keras_gives():
    x, found = array(40, 4), []
    there = classifier(theirs)
    for keras in (theirs, ours):
        model = classifier(keras)
        model.set_weights(there.get_weights())
        trainable = [v.value for v in model.trainable_variables]
        rest = [v.value for v in model.non_trainable_variables]
        before = model.get_weights()
        out, after, losses = model.stateless_call(
            trainable, rest, keras.ops.convert_to_tensor(x), training=True, return_losses=True
        )
        close(before, model.get_weights(), 0, 0)
        metric = keras.metrics.SparseCategoricalAccuracy()
        state = metric.stateless_update_state(metric.variables, LABELS, out)
        optimizer = keras.optimizers.Adam(0.1)
        optimizer.build(model.trainable_variables)
        grads = [keras.ops.ones(v.shape) for v in trainable]
        moved, slots = optimizer.stateless_apply(
            [v.value for v in optimizer.variables], grads, trainable
        )
        if keras is ours:  # with PyTorch below it, Keras's own step moves the weights all the same
            close(before, model.get_weights(), 0, 0)
        arrays = [keras.ops.convert_to_numpy(t) for t in (out, *after, *losses, *state, *moved)]
        found.append([*arrays, float(metric.stateless_result(state)), len(slots)])
        assert float(metric.stateless_reset_state()[0]) == float(metric.result()) == 0.0
        assert int(optimizer.iterations) == 0 and int(slots[0]) == 1
    close(found[0], found[1], rtol=1e-4, atol=1e-5)


def test_gradients_flow_to_the_weights_that_were_given():
    model = classifier(ours)
    given = [v.detach().clone().requires_grad_() for v in model.trainable_variables]
    rest = [v.value for v in model.non_trainable_variables]
    outputs, _ = model.stateless_call(given, rest, ops.convert_to_tensor(array(8, 4)))
    ops.mean(ops.sparse_categorical_crossentropy(LABELS[:8], outputs)).backward()
    assert all(w.grad is not None for w in given)
    assert all(v.grad is None for v in model.trainable_variables)
    with pytest.raises(ValueError, match="trainable_variables"):
        model.stateless_call(given[1:], rest, array(8, 4))
    with pytest.raises(ValueError, match="must be built"):
        ours.optimizers.Adam().stateless_apply([], [], [])
    with pytest.raises(ValueError, match="must be built"):
        layers.Dense(2).stateless_call([], [], array(2, 2))


def test_the_fused_crossentropy_is_that_of_its_parts():
    """Rows that do not sum to one, and shares at the edges, where the gradient is zero."""
    p = np.abs(array(6, 3)) + 0.1
    p[0], p[1], p[2] = [1, 0, 0], [0, 1, 0], [1e-9, 0.5, 0.5]
    labels = np.array([0, 0, 0, 1, 2, 1])
    results = []
    for keras in (theirs, ours):
        x = keras.ops.convert_to_tensor(p)
        x.requires_grad_()
        loss = keras.losses.sparse_categorical_crossentropy(labels, x)
        weights = keras.ops.convert_to_tensor(np.arange(1.0, 7.0, dtype="float32"))
        keras.ops.sum(loss * weights).backward()
        results.append((loss.detach().numpy(), x.grad.numpy()))
    close(results[0], results[1], rtol=1e-4, atol=1e-5)
    x = tg.tensor(p[3:].astype("float64"), requires_grad=True)
    y = tg.tensor(labels[3:])
    function = ours.losses.sparse_categorical_crossentropy
    assert tg.autograd.gradcheck(lambda x: function(y, x), (x,))
    assert tg.autograd.gradgradcheck(lambda x: function(y, x), (x,))
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        function(np.array([3]), tg.ones(1, 3))


# --- data in folders ------------------------------------------------------------------------------


def fill(folder, write, count=6):
    for number, name in enumerate(("cats", "dogs")):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            write(folder / name / f"{i}", number)


def test_images_in_folders(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="images are decoded by Pillow")

    def write(path, number):
        value = np.full((10, 8, 3), 200 * number, "uint8")
        image.fromarray(value).save(path.with_suffix(".png"))

    fill(tmp_path, write)
    utils = ours.utils
    data = utils.image_dataset_from_directory(
        tmp_path, image_size=(6, 4), batch_size=5, seed=1, verbose=False
    )
    assert data.class_names == ["cats", "dogs"] and len(data) == 3 and len(data.file_paths) == 12
    seen = [(x, y) for x, y in data]
    assert [len(x) for x, _ in seen] == [5, 5, 2] and seen[0][0].shape == (5, 6, 4, 3)
    for x, y in seen:
        close(200.0 * y.numpy(), x.numpy().mean((1, 2, 3)), atol=1e-3)
    flipped = data.map(lambda x, y: (layers.Rescaling(1 / 200)(x), y), num_parallel_calls=8)
    model = ours.Sequential([layers.GlobalAveragePooling2D(), layers.Dense(1)])
    model.compile("adam", "binary_crossentropy")
    history = model.fit(flipped.prefetch(2), epochs=2, verbose=0, validation_data=data.take(1))
    assert len(history.history["val_loss"]) == 2
    train, held = utils.image_dataset_from_directory(
        tmp_path, label_mode="categorical", color_mode="grayscale", image_size=(10, 8),
        validation_split=0.25, subset="both", seed=3, verbose=False,
    )  # fmt: skip
    assert not set(train.file_paths) & set(held.file_paths)
    assert (len(train.file_paths), len(held.file_paths)) == (9, 3)
    x, y = next(iter(held))
    assert x.shape == (3, 10, 8, 1) and y.shape == (3, 2)
    alone = utils.image_dataset_from_directory(
        tmp_path, labels=None, batch_size=None, shuffle=False, image_size=(3, 3), verbose=False
    )
    assert len(alone) == 12 and next(iter(alone.batch(4))).shape == (4, 3, 3, 3)
    for options, message in (
        ({"validation_split": 0.5}, "together"),
        ({"label_mode": "words"}, "label_mode"),
        ({"color_mode": "sepia"}, "color_mode"),
        ({"class_names": ["birds"]}, "class_names"),
    ):
        with pytest.raises(ValueError, match=message):
            utils.image_dataset_from_directory(tmp_path, verbose=False, **options)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        utils.image_dataset_from_directory(tmp_path / "nowhere")


def test_images_and_arrays(tmp_path):
    pytest.importorskip("PIL.Image", reason="images are decoded by Pillow")
    array_ = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype("uint8")
    for keras in (theirs, ours):
        keras.utils.save_img(tmp_path / "x.png", array_, scale=False)
        loaded = keras.utils.load_img(tmp_path / "x.png")
        close(array_.astype("float32"), keras.utils.img_to_array(loaded))
    for options in (
        {"target_size": (4, 5)},
        {"target_size": (4, 5), "interpolation": "bilinear", "keep_aspect_ratio": True},
        {"color_mode": "grayscale"},
    ):
        made = [k.utils.img_to_array(k.utils.load_img(tmp_path / "x.png", **options))
                for k in (theirs, ours)]  # fmt: skip
        close(*made)
    with pytest.raises(ValueError, match="rank 3"):
        ours.utils.array_to_img(np.zeros((2, 2)))


def test_texts_in_folders(tmp_path):
    fill(tmp_path, lambda p, n: p.with_suffix(".txt").write_text(["good", "bad"][n] + " film"))
    data = ours.utils.text_dataset_from_directory(tmp_path, batch_size=4, verbose=False, seed=0)
    vectorize = layers.TextVectorization(output_mode="multi_hot")
    vectorize.adapt(data.map(lambda x, y: x))
    assert set(vectorize.get_vocabulary()) == {"[UNK]", "film", "good", "bad"}
    coded = data.map(lambda x, y: (vectorize(x), y), num_parallel_calls=4).cache()
    x, y = next(coded.as_numpy_iterator())
    place = vectorize.get_vocabulary().index("bad")
    assert x.shape == (4, 4) and np.array_equal(x[:, place], y)
    model = ours.Sequential([layers.Dense(1, activation="sigmoid")])
    model.compile(ours.optimizers.Adam(0.1), "binary_crossentropy", metrics=["accuracy"])
    model.fit(coded, epochs=20, verbose=0)
    assert model.evaluate(coded, verbose=0)[1] == 1.0


def test_batches_are_cut_and_regrouped():
    data = ours.utils.timeseries_dataset_from_array(np.arange(20.0), None, 2, batch_size=4)
    flat = [float(x[0]) for x in data.unbatch()]
    assert flat == list(np.arange(19.0)) and data.cardinality() == len(data) == 5
    assert [len(x) for x in data.rebatch(8)] == [8, 8, 3]
    assert [len(x) for x in data.rebatch(8, drop_remainder=True)] == [8, 8]
    assert [len(x) for x in data.skip(3)] == [4, 3] and len(data.take(2)) == 2
    assert len(list(data.repeat(3))) == 15 and len(data.concatenate(data)) == 10
    assert len(list(data.filter(lambda x: float(x[0, 0]) > 7))) == 3
    assert [i for i, _ in data.enumerate(5)] == [5, 6, 7, 8, 9]
    mixed = data.unbatch().shuffle(30, seed=1)
    first, second = [float(x[0]) for x in mixed], [float(x[0]) for x in mixed]
    assert sorted(first) == sorted(second) == flat and first != second != flat
    with pytest.raises(TypeError, match="not known"):
        len(data.unbatch())


# --- files ----------------------------------------------------------------------------------------


def test_files_are_fetched_checked_and_unpacked(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.txt").write_text("one")
    with zipfile.ZipFile(source / "all.zip", "w") as archive:
        archive.write(source / "a.txt", "a.txt")
    with tarfile.open(source / "all.tar.gz", "w:gz") as archive:
        archive.add(source / "a.txt", "a.txt")
    digest = hashlib.sha256(b"one").hexdigest()
    get, cache = ours.utils.get_file, tmp_path / "cache"
    address = (source / "a.txt").as_uri()
    path = get(origin=address, file_hash=digest, cache_dir=cache)
    assert path == str(cache / "datasets" / "a.txt") and Path(path).read_text() == "one"
    (source / "a.txt").write_text("two")  # what is there is not fetched again
    assert Path(get(origin=address, cache_dir=cache)).read_text() == "one"
    assert Path(get(origin=address, cache_dir=cache, force_download=True)).read_text() == "two"
    with pytest.warns(UserWarning, match="re-download"), pytest.raises(ValueError, match="hash"):
        get(origin=address, file_hash=digest, cache_dir=cache)
    folder = get("all.zip", (source / "all.zip").as_uri(), extract=True, cache_dir=cache)
    assert folder.endswith("all_extracted") and Path(f"{folder}/a.txt").read_text() == "one"
    folder = get(origin=(source / "all.tar.gz").as_uri(), untar=True, cache_dir=cache)
    assert folder.endswith("all.tar.gz") and Path(f"{folder}/a.txt").read_text() == "one"
    for name, options in (("origin", {}), ("Paths", {"fname": "../x", "origin": address})):
        with pytest.raises(ValueError, match=name):
            get(cache_dir=cache, **options)
