"""Data sets that lie in folders, one folder for each class: images and texts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import tilegrad as tg

from ..config import standardize_data_format
from .batches import Batches
from .images import img_to_array, load_img
from .messages import tell

__all__ = ["image_dataset_from_directory", "text_dataset_from_directory"]

_IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
_MODES = ("int", "categorical", "binary", None)


class _Listed:
    """The files of a folder, their labels and the names of the classes.

    Raises ValueError for arguments that contradict each other, FileNotFoundError for a folder that
    is not there.
    """

    def __init__(self, directory: Any, endings: tuple[str, ...], options: dict[str, Any]) -> None:
        self.directory, self.endings = Path(directory), endings
        self.labels_given, self.mode = options["labels"], options["label_mode"]
        if not self.directory.is_dir():
            raise FileNotFoundError(f"Could not find directory {directory}")
        if self.mode not in _MODES:
            raise ValueError(
                '`label_mode` argument must be one of "int", "categorical", "binary", or None. '
                f"Received: label_mode={self.mode}"
            )
        if self.labels_given is None or self.mode is None:
            self.labels_given = self.mode = None
        self._find(options["class_names"], options["follow_links"])
        if options["verbose"]:
            classes = f" belonging to {len(self.names)} classes" if self.names else ""
            tell(f"Found {len(self.paths)} files{classes}.")
        if self.mode == "binary" and len(self.names) != 2:
            raise ValueError(
                'When passing `label_mode="binary"`, there must be exactly 2 class_names. '
                f"Received: class_names={self.names}"
            )
        if not self.paths:
            raise ValueError(f"No files found in directory {directory} with endings {endings}")

    def _find(self, names: Any, follow_links: bool) -> None:
        if self.labels_given == "inferred":
            found = sorted(
                item.name
                for item in self.directory.iterdir()
                if item.is_dir() and not item.name.startswith(".")
            )
            if names is not None and not set(names) <= set(found):
                raise ValueError(
                    "The `class_names` passed did not match the names of the subdirectories of the "
                    f"target directory. Expected: {found} (or a subset of it), but received: "
                    f"class_names={names}"
                )
            self.names = list(names or found)
            pairs = [
                (path, number)
                for number, name in enumerate(self.names)
                for path in self._files(self.directory / name, follow_links)
            ]
            self.paths = [path for path, _ in pairs]
            self.labels = np.array([number for _, number in pairs], "int32")
            return
        if names is not None:
            raise ValueError("You can only pass `class_names` if `labels='inferred'`.")
        self.paths = self._files(self.directory, follow_links)
        self.names, self.labels = [], np.zeros(len(self.paths), "int32")
        if self.labels_given is None:
            return
        if not isinstance(self.labels_given, (list, tuple)) or len(self.labels_given) != len(
            self.paths
        ):
            raise ValueError(
                "`labels` argument should be 'inferred', None or a list of integer labels, one for "
                f"each of the {len(self.paths)} files in {self.directory}"
            )
        self.labels = np.array(self.labels_given, "int32")
        self.names = [str(label) for label in sorted(set(self.labels_given))]

    def _files(self, folder: Path, follow_links: bool) -> list[str]:
        found = []
        for place, folders, files in sorted(os.walk(folder, followlinks=follow_links)):
            folders.sort()
            found += [os.path.join(place, f) for f in sorted(files)]
        return [path for path in found if path.lower().endswith(self.endings)]

    def order(self, shuffle: bool, seed: int | None) -> None:
        """Shuffles the files once, so that both parts of a split hold all classes."""
        if shuffle:
            order = np.random.default_rng(seed).permutation(len(self.paths))
            self.paths = [self.paths[i] for i in order]
            self.labels = self.labels[order]

    def part(self, split: Any, subset: str | None) -> slice:
        """The files of a subset."""
        if not split:
            return slice(None)
        held = int(split * len(self.paths))
        if subset == "training":
            return slice(None, len(self.paths) - held)
        return slice(len(self.paths) - held, None)

    def label(self, number: int) -> Any:
        """A label in the form of the mode."""
        if self.mode == "int":
            return tg.scalar_tensor(int(number), dtype=tg.int32)
        if self.mode == "binary":
            return tg.full((1,), float(number))
        made = tg.zeros(len(self.names))
        made[int(number)] = 1.0
        return made


def _check_split(split: Any, subset: Any, shuffle: bool, seed: Any) -> None:
    if split is not None and not 0 < split < 1:
        raise ValueError(f"`validation_split` must be between 0 and 1, received: {split}")
    if (split is None) != (subset is None):
        raise ValueError("`subset` and `validation_split` must be set together.")
    if subset not in ("training", "validation", "both", None):
        raise ValueError(
            '`subset` must be either "training", "validation" or "both", received: ' + str(subset)
        )
    if split and shuffle and seed is None:
        raise ValueError(
            "If using `validation_split` and shuffling the data, you must provide a `seed` "
            "argument, to make sure that there is no overlap between the training and validation "
            "subset."
        )


def _dataset(listed: _Listed, read: Callable[[str], Any], options: dict[str, Any]) -> Any:
    """The files of the wanted subset, or both subsets, in batches."""
    shuffle, seed, size = options["shuffle"], options["seed"], options["batch_size"]
    split, subset = options["validation_split"], options["subset"]
    _check_split(split, subset, shuffle, seed)
    listed.order(shuffle, seed)
    made = []
    for name in ("training", "validation") if subset == "both" else (subset,):
        chosen = listed.part(split, name)
        mixed = shuffle and (subset != "both" or name == "training")
        made.append(_subset(listed, chosen, read, size, mixed, seed))
    return made if subset == "both" else made[0]


def _subset(
    listed: _Listed, chosen: slice, read: Any, size: int | None, shuffle: bool, seed: int | None
) -> Batches:
    paths, labels = listed.paths[chosen], listed.labels[chosen]
    source = np.random.default_rng(seed)

    def samples() -> Iterator:
        order = source.permutation(len(paths)) if shuffle else np.arange(len(paths))
        for i in order:
            sample = read(paths[i])
            yield sample if listed.mode is None else (sample, listed.label(labels[i]))

    made = Batches(len(paths), samples)
    made = made if size is None else made.batch(size)
    attributes: Any = made
    attributes.class_names, attributes.file_paths = listed.names or None, paths
    return made


def image_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Any = None,
    color_mode: str = "rgb",
    batch_size: int | None = 32,
    image_size: Any = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: str | None = None,
    format: str = "tf",
    verbose: bool = True,
) -> Any:
    """Batches of images, (N, height, width, channels) from 0 to 255 in float32, and of labels.

    Each folder of ``directory`` is a class. Files are read when their batch is asked for. Labels
    are class numbers, one-hot rows (``"categorical"``), columns of 0 and 1 (``"binary"``) or left
    out (None). With ``subset="both"``, two such things. Raises ValueError for arguments that do not
    fit, FileNotFoundError for a missing folder, ImportError without Pillow.
    """
    from ..layers.image_transform import check_resizing, resize, resize_cropping, resize_padding

    if color_mode not in ("rgb", "rgba", "grayscale"):
        raise ValueError(
            '`color_mode` must be one of {"rgb", "rgba", "grayscale"}. '
            f"Received: color_mode={color_mode}"
        )
    if interpolation not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            "Argument `interpolation` should be one of ('bilinear', 'nearest', 'bicubic'). "
            f"Received: interpolation={interpolation}"
        )
    check_resizing("constant", crop_to_aspect_ratio, pad_to_aspect_ratio)
    options = locals()
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    first = standardize_data_format(data_format) == "channels_first"

    def read(path: str) -> Any:
        image = tg.from_numpy(img_to_array(load_img(path, color_mode), "channels_last", "float32"))
        image = image.unsqueeze(0)
        if crop_to_aspect_ratio:
            image = resize_cropping(image, (height, width), interpolation)
        elif pad_to_aspect_ratio:
            image = resize_padding(image, (height, width), interpolation, False, 0.0)
        elif tuple(image.shape[1:3]) != (height, width):
            image = resize(image, (height, width), interpolation)
        image = image.squeeze(0)
        return image.permute(2, 0, 1) if first else image

    return _dataset(_Listed(directory, _IMAGES, options), read, options)


def text_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Any = None,
    batch_size: int | None = 32,
    max_length: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    format: str = "tf",
    verbose: bool = True,
) -> Any:
    """Batches of texts, arrays of strings, and of labels; each folder of ``directory`` is a class.

    ``max_length`` cuts texts to so many bytes. The rest is as in
    :func:`image_dataset_from_directory`.
    """
    options = locals()

    def read(path: str) -> np.ndarray:
        content = Path(path).read_bytes()[:max_length]
        return np.array(content.decode("utf-8", errors="ignore"), dtype=object)

    return _dataset(_Listed(directory, (".txt",), options), read, options)
