"""STFTSpectrogram and MelSpectrogram: sound as pictures of its frequencies."""

from __future__ import annotations

import math
from typing import Any

import tilegrad as tg

from .. import initializers
from ..config import settings, standardize_data_format
from ..ops.fourier import stft
from ..registry import own_module
from .geometry import pad_spatial, same_padding, sliding_size
from .input_spec import InputSpec
from .layer import Layer

__all__ = ["MelSpectrogram", "STFTSpectrogram"]

_MODES = ("log", "magnitude", "psd", "real", "imag", "angle", "stft")


class STFTSpectrogram(Layer):
    """Windows of signals as frequencies, by convolution with sines that can be trained.

    Shapes: (N, samples, channels) to (N, windows, channels * bins), with ``expand_dims`` to (N,
    windows, bins, channels); ``bins = fft_length // 2 + 1``, twice that for ``mode="stft"``. Raises
    ValueError for an unknown mode, scaling, padding or window and for lengths that do not fit.
    """

    def __init__(
        self,
        mode: str = "log",
        frame_length: int = 256,
        frame_step: int | None = None,
        fft_length: int | None = None,
        window: Any = "hann",
        periodic: bool = False,
        scaling: str | None = "density",
        padding: str = "valid",
        expand_dims: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value, known in (
            ("mode", mode, _MODES),
            ("scaling", scaling, (None, "density", "spectrum")),
            ("padding", padding, ("valid", "same")),
        ):
            if value not in known:
                raise ValueError(f"{name} is invalid, it must be one of {known}. Received: {value}")
        if frame_step is not None and not 1 <= frame_step <= frame_length:
            raise ValueError(
                "`frame_step` should be a positive integer not greater than `frame_length`. "
                f"Received frame_step={frame_step}, frame_length={frame_length}"
            )
        if fft_length is not None and fft_length < frame_length:
            raise ValueError(
                "`fft_length` should be not less than `frame_length`. Received fft_length="
                f"{fft_length}, frame_length={frame_length}"
            )
        self.mode, self.frame_length, self.frame_step = mode, frame_length, frame_step
        self.fft_length, self.window, self.periodic = fft_length, window, periodic
        self.scaling, self.padding, self.expand_dims = scaling, padding, expand_dims
        self.data_format = standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=3)
        initializers.STFT("real", window, scaling, periodic)  # complains about the window
        self.__dict__["_step"] = frame_step or frame_length // 2
        self.__dict__["_whole"] = fft_length or 2 ** math.ceil(math.log2(frame_length))

    def build(self, input_shape: Any) -> None:
        shape = (self.frame_length, 1, self._whole // 2 + 1)
        for side in ("real", "imag"):
            if self.mode != {"real": "imag", "imag": "real"}[side]:
                make = initializers.STFT(side, self.window, self.scaling, self.periodic)
                weight = self.add_weight(name=f"{side}_kernel", shape=shape, initializer=make)
                setattr(self, f"{side}_kernel", weight)

    def _transformed(self, signals: Any, kernel: Any) -> Any:
        """(N * channels, 1, samples) to (N * channels, bins, windows)."""
        if self.padding == "same":
            pads = same_padding(signals.shape[-1], self.frame_length, self._step)
            signals = pad_spatial(signals, [pads])
        return tg.conv1d(signals, kernel.permute(2, 1, 0).to(signals.dtype), None, self._step)

    def call(self, inputs: Any) -> Any:
        last = self.data_format == "channels_last"
        x = inputs.transpose(1, 2) if last else inputs
        count, channels = x.shape[:2]
        signals = x.reshape(count * channels, 1, -1)
        real = imaginary = None
        if self.mode != "imag":
            real = self._transformed(signals, self.real_kernel)
        if self.mode != "real":
            imaginary = self._transformed(signals, self.imag_kernel)
        made = self._shown(real, imaginary)
        made = made.reshape(count, channels, *made.shape[1:])  # (N, channels, bins, windows)
        if self.expand_dims:
            return made.permute(0, 3, 2, 1) if last else made.transpose(2, 3)
        made = made.reshape(count, -1, made.shape[-1])
        return made.transpose(1, 2) if last else made

    def _shown(self, real: Any, imaginary: Any) -> Any:
        if self.mode in ("real", "imag"):
            return real if self.mode == "real" else imaginary
        if self.mode == "angle":
            return tg.atan2(imaginary, real)
        if self.mode == "stft":
            return tg.cat([real, imaginary], 1)
        power = real * real + imaginary * imaginary
        if self.mode == "psd":  # all but the first and the last stand for two frequencies
            return tg.cat([power[:, :1], 2 * power[:, 1:-1], power[:, -1:]], 1)
        size = tg.sqrt(power.clamp(min=settings.epsilon))
        return size if self.mode == "magnitude" else tg.log(size.clamp(min=settings.epsilon))

    def compute_output_shape(self, input_shape: Any) -> tuple:
        last = self.data_format == "channels_last"
        batch, samples, channels = input_shape
        if not last:
            samples, channels = channels, samples
        windows = sliding_size(samples, self.frame_length, self._step, self.padding)
        bins = (self._whole // 2 + 1) * (2 if self.mode == "stft" else 1)
        if self.expand_dims:
            return (batch, windows, bins, channels) if last else (batch, channels, windows, bins)
        return (batch, windows, bins * channels) if last else (batch, bins * channels, windows)

    def get_config(self) -> dict[str, Any]:
        names = (
            "mode", "frame_length", "frame_step", "fft_length", "window", "periodic", "scaling",
            "padding", "data_format", "expand_dims",
        )  # fmt: skip
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


class MelSpectrogram(Layer):
    """The power of signals in bands that are equally wide to the ear (the HTK scale), by default in
    decibels. Shapes: (N, samples) to (N, num_mel_bins, windows), or the same without N.

    Raises ValueError for a ``sequence_length`` above ``fft_length``.
    """

    def __init__(
        self,
        fft_length: int = 2048,
        sequence_stride: int = 512,
        sequence_length: int | None = None,
        window: Any = "hann",
        sampling_rate: int = 16000,
        num_mel_bins: int = 128,
        min_freq: float = 20.0,
        max_freq: float | None = None,
        power_to_db: bool = True,
        top_db: float = 80.0,
        mag_exp: float = 2.0,
        min_power: float = 1e-10,
        ref_power: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.fft_length, self.sequence_stride = fft_length, sequence_stride
        self.sequence_length = sequence_length or fft_length
        if self.fft_length < self.sequence_length:
            raise ValueError(
                "`fft_length` must be greater than or equal to `sequence_length`. Received: "
                f"`sequence_length`={self.sequence_length}, `fft_length`={self.fft_length}."
            )
        self.window, self.sampling_rate, self.num_mel_bins = window, sampling_rate, num_mel_bins
        self.min_freq, self.max_freq = min_freq, max_freq or int(sampling_rate / 2)
        self.power_to_db, self.top_db, self.mag_exp = power_to_db, top_db, mag_exp
        self.min_power, self.ref_power = min_power, ref_power
        self.built = True

    def call(self, inputs: Any) -> Any:
        real, imaginary = stft(
            inputs, self.sequence_length, self.sequence_stride, self.fft_length, self.window
        )
        power = tg.sqrt(real * real + imaginary * imaginary) ** self.mag_exp
        bands = power @ mel_bands(
            self.num_mel_bins, power.shape[-1], self.sampling_rate, self.min_freq, self.max_freq
        ).to(power.dtype)
        if self.power_to_db:
            reference = max(abs(self.ref_power), self.min_power)
            bands = 10 * tg.log10(bands.clamp(min=self.min_power)) - 10 * math.log10(reference)
            bands = tg.maximum(bands, bands.max() - self.top_db)
        return bands.transpose(-1, -2)

    def compute_output_shape(self, input_shape: Any) -> tuple:
        *batch, samples = input_shape
        windows = None
        if samples is not None:
            windows = (samples + self.sequence_stride + 1) // self.sequence_stride
        return (*batch, self.num_mel_bins, windows)

    def get_config(self) -> dict[str, Any]:
        names = (
            "fft_length", "sequence_stride", "sequence_length", "window", "sampling_rate",
            "num_mel_bins", "min_freq", "max_freq", "power_to_db", "top_db", "mag_exp",
            "min_power", "ref_power",
        )  # fmt: skip
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def mel_bands(count: int, bins: int, rate: int, low: float, high: float) -> Any:
    """How much of each frequency each band takes, (bins, count): triangles on the mel scale."""

    def mel(frequency: Any) -> Any:
        return 1127.0 * tg.log1p(frequency / 700.0)

    places = mel(tg.linspace(0.0, rate / 2, bins, dtype=tg.float64)[1:]).unsqueeze(1)
    ends = [1127.0 * math.log1p(frequency / 700.0) for frequency in (low, high)]
    edges = tg.linspace(ends[0], ends[1], count + 2, dtype=tg.float64)
    start, middle, stop = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (places - start) / (middle - start), (stop - places) / (stop - middle)
    made = tg.minimum(rising, falling).clamp(min=0)
    return tg.cat([tg.zeros(1, count, dtype=tg.float64), made]).to(tg.float32)


own_module(globals())
