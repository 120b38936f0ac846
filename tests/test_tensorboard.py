"""``utils.tensorboard`` takes tensors and PyTorch's arguments, and writes what they say."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tilegrad as tg
from support import check_error

pytest.importorskip("tensorboardX")
from PIL import Image
from tensorboardX.proto import event_pb2, plugin_hparams_pb2

from tilegrad.utils.tensorboard import SummaryWriter


def events(folder: Path) -> Iterator[tuple[int, Any]]:
    """The (step, value) of all files: records of a length, a checksum, data and a checksum."""
    for file in sorted(folder.rglob("*tfevents*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + length])
            for value in event.summary.value:
                yield event.step, value
            at += length + 16


def test_numbers_histograms_and_text(tmp_path):
    values = tg.arange(100, dtype=tg.float32)
    with SummaryWriter(log_dir=tmp_path, flush_secs=1) as writer:
        assert writer.log_dir == writer.get_logdir() == str(tmp_path)
        for step in range(3):
            loss = tg.tensor(0.5 * step, requires_grad=True)
            writer.add_scalar("loss", loss, step, new_style=True)
        writer.add_scalars("two", {"a": tg.tensor(1), "b": 2.0}, 7)
        writer.add_histogram("weights", values, 1)
        writer.add_histogram("halves", values.bfloat16(), 1)
        writer.add_text("note", "**bold**", 4)
    found = list(events(tmp_path))
    assert [(s, v.simple_value) for s, v in found if v.tag == "loss"] == [
        (0, 0.0), (1, 0.5), (2, 1.0)
    ]  # fmt: skip
    assert {(s, v.simple_value) for s, v in found if v.tag == "two"} == {(7, 1.0), (7, 2.0)}
    for tag in ("weights", "halves"):
        (histogram,) = (v.histo for _, v in found if v.tag == tag)
        assert (histogram.min, histogram.max, histogram.num) == (0, 99, 100)
        assert histogram.sum == values.sum().item() and sum(histogram.bucket) == 100
    (text,) = (v.tensor for _, v in found if v.tag.startswith("note"))
    assert text.string_val[0] == b"**bold**"


@pytest.mark.parametrize("layout", ["CHW", "HWC"])
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_images_have_the_pixels_of_the_tensor(tmp_path, kind, layout):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3)).astype(np.uint8)
    stored = pixels if kind == "uint8" else (pixels + 0.5).astype(np.float32) / 255
    shown = stored.transpose(2, 0, 1) if layout == "CHW" else stored
    with SummaryWriter(tmp_path) as writer:
        writer.add_image("image", tg.from_numpy(shown.copy()), 2, dataformats=layout)
    ((step, value),) = events(tmp_path)
    assert step == 2
    image = np.asarray(Image.open(io.BytesIO(value.image.encoded_image_string)))
    np.testing.assert_array_equal(image, pixels)


def test_hyperparameters(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_hparams({"rate": 0.1, "name": "x"}, {"loss": tg.tensor(0.25)}, run_name="one")
    found = [value for _, value in events(tmp_path)]
    assert [v.simple_value for v in found if v.tag == "loss"] == [0.25]
    plugin = plugin_hparams_pb2.HParamsPluginData
    starts = [
        plugin.FromString(v.metadata.plugin_data.content).session_start_info.hparams
        for v in found
        if v.tag == "_hparams_/session_start_info"
    ]
    assert len(starts) == 1
    assert starts[0]["rate"].number_value == 0.1 and starts[0]["name"].string_value == "x"


def test_sound_has_channels_first(tmp_path):
    pytest.importorskip("soundfile")
    with SummaryWriter(tmp_path) as writer:
        writer.add_audio("sound", tg.zeros(2, 50), 1, 8000)
    ((_, value),) = events(tmp_path)
    audio = value.audio
    assert (audio.num_channels, audio.length_frames, audio.sample_rate) == (2, 50, 8000)


def test_a_graph_is_refused(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        model = tg.nn.Linear(2, 3)
        check_error(NotImplementedError, "trace", lambda: writer.add_graph(model, tg.zeros(1, 2)))
