"""How weights start: constants, random numbers scaled by the size of a layer, orthogonal matrices.

An initializer is called with a shape and a dtype. A random one draws the same numbers whenever it
is called: its seed is fixed when it is made.
"""

from __future__ import annotations

import math
from typing import Any

import tilegrad as tg

from .config import next_seed
from .dtypes import convert_to_tensor, dtype_of
from .registry import own, serialize_keras_object
from .resolve import resolve

__all__ = [
    "STFT",
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "IdentityInitializer",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "OrthogonalInitializer",
    "RandomNormal",
    "RandomUniform",
    "STFTInitializer",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "deserialize",
    "get",
    "serialize",
]

_CUT = 0.87962566103423978  # the deviation of a unit normal cut off at two deviations


class Initializer:
    """The base class: define ``__call__(shape, dtype=None)`` and, to be saved, ``get_config``."""

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A tensor of that shape and dtype."""
        raise NotImplementedError("Initializer subclasses must implement the `__call__()` method.")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal initializer."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The initializer of a configuration."""
        return cls(**config)

    def clone(self) -> Any:
        """Another one like this."""
        return self.__class__.from_config(self.get_config())


class Zeros(Initializer):
    """All zeros."""

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return tg.zeros(tuple(shape), dtype=dtype_of(dtype))


class Ones(Initializer):
    """All ones."""

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return tg.ones(tuple(shape), dtype=dtype_of(dtype))


class Constant(Initializer):
    """One number everywhere, or an array that is broadcast to the shape."""

    def __init__(self, value: Any = 0.0) -> None:
        self.value = value

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        value = convert_to_tensor(self.value).to(dtype_of(dtype))
        return value.expand(tuple(shape)).clone()

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value}


class Identity(Initializer):
    """``gain`` on the diagonal of a square or oblong matrix. Raises ValueError for other ranks."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        if len(shape) != 2:
            raise ValueError(
                "Identity matrix initializer can only be used for 2D matrices. Received: "
                f"shape={shape} of rank {len(shape)}."
            )
        return self.gain * tg.eye(*shape, dtype=dtype_of(dtype))

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain}


class STFT(Initializer):
    """The cosines (``side="real"``) or sines of a short-time Fourier transform as the kernel of a
    convolution, shape (frame_length, 1, fft_length // 2 + 1), times a window by name or values.

    ``scaling`` divides by the window's root of squares (``"density"``) or its sum (``"spectrum"``).
    Raises ValueError for another side, scaling or window.
    """

    def __init__(
        self,
        side: str = "real",
        window: Any = "hann",
        scaling: str | None = "density",
        periodic: bool = False,
    ) -> None:
        if side not in ("real", "imag"):
            raise ValueError(f"side should be 'real' or 'imag', not {side}")
        if scaling not in (None, "density", "spectrum"):
            raise ValueError(
                "Scaling is invalid, it must be `None`, 'density' or 'spectrum'. Received: "
                f"scaling={scaling}"
            )
        if isinstance(window, str) and window not in tg.signal.windows.__all__:
            raise ValueError(f"Unknown window type: {window!r}")
        self.side, self.window, self.scaling, self.periodic = side, window, scaling, periodic

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        length, _, bins = shape
        step = -2 * math.pi / ((bins - 1) * 2)
        places = tg.outer(tg.arange(length, dtype=tg.float64), tg.arange(bins, dtype=tg.float64))
        kernel = tg.cos(step * places) if self.side == "real" else tg.sin(step * places)
        if self.window is not None:
            window = self._window(length)
            kernel = kernel * window.unsqueeze(1)
            if self.scaling is not None:
                spectrum = self.scaling == "spectrum"
                kernel = kernel / (window.abs().sum() if spectrum else (window**2).sum().sqrt())
        return kernel.unsqueeze(1).to(dtype_of(dtype))

    def _window(self, length: int) -> Any:
        if isinstance(self.window, str):
            make = getattr(tg.signal.windows, self.window)
            return make(length, sym=not self.periodic, dtype=tg.float64)
        made = convert_to_tensor(self.window).to(tg.float64)
        if tuple(made.shape) != (length,):
            raise ValueError(
                "The shape of `window` must be equal to [frame_length]. Received: window shape="
                f"{tuple(made.shape)}"
            )
        return made

    def get_config(self) -> dict[str, Any]:
        return {
            "side": self.side,
            "window": self.window,
            "periodic": self.periodic,
            "scaling": self.scaling,
        }


class RandomInitializer(Initializer):
    """What draws random numbers, always the same for one ``seed``."""

    def __init__(self, seed: Any = None) -> None:
        self._given_seed = seed
        self.seed = next_seed() if seed is None else int(getattr(seed, "seed", seed))

    def _generator(self) -> Any:
        return tg.Generator().manual_seed(self.seed)

    def _uniform(self, shape: Any, low: float, high: float, dtype: Any) -> Any:
        x = tg.rand(tuple(shape), generator=self._generator())
        return (x * (high - low) + low).to(dtype_of(dtype))

    def _normal(self, shape: Any, mean: float, deviation: float, dtype: Any) -> Any:
        x = tg.randn(tuple(shape), generator=self._generator())
        return (x * deviation + mean).to(dtype_of(dtype))

    def _truncated(self, shape: Any, mean: float, deviation: float, dtype: Any) -> Any:
        # Uniform numbers between the probabilities of -2 and 2, through the inverse of the
        # distribution function.
        edge = math.erf(2 / math.sqrt(2))
        x = tg.rand(tuple(shape), generator=self._generator())
        x = tg.erfinv((2 * x - 1) * edge) * math.sqrt(2)
        return (x.clamp(-2, 2) * deviation + mean).to(dtype_of(dtype))

    def get_config(self) -> dict[str, Any]:
        return {"seed": self._given_seed}


class RandomUniform(RandomInitializer):
    """Uniform numbers from ``minval`` to ``maxval``."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Any = None) -> None:
        self.minval, self.maxval = minval, maxval
        super().__init__(seed)

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return self._uniform(shape, self.minval, self.maxval, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"minval": self.minval, "maxval": self.maxval, **super().get_config()}


class RandomNormal(RandomInitializer):
    """Normal numbers of that mean and deviation."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Any = None) -> None:
        self.mean, self.stddev = mean, stddev
        super().__init__(seed)

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return self._normal(shape, self.mean, self.stddev, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"mean": self.mean, "stddev": self.stddev, **super().get_config()}


class TruncatedNormal(RandomNormal):
    """Normal numbers that lie within two deviations of the mean."""

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return self._truncated(shape, self.mean, self.stddev, dtype)


def compute_fans(shape: Any, inputs: Any = None, outputs: Any = None) -> tuple[float, float]:
    """How many inputs an output depends on, and how many outputs an input reaches.

    The last two axes of a kernel are those of inputs and outputs, unless told otherwise.
    """
    shape = tuple(shape)
    if inputs is not None or outputs is not None:
        axes_in = [inputs] if isinstance(inputs, int) else list(inputs or [])
        axes_out = [outputs] if isinstance(outputs, int) else list(outputs or [])
        axes_in = [axis % len(shape) for axis in axes_in]
        axes_out = [axis % len(shape) for axis in axes_out]
        rest = [n for i, n in enumerate(shape) if i not in axes_in + axes_out]
        field = math.prod(rest)
        return (
            math.prod(shape[a] for a in axes_in) * field,
            math.prod(shape[a] for a in axes_out) * field,
        )
    if len(shape) < 1:
        return 1, 1
    if len(shape) == 1:
        return shape[0], shape[0]
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


class VarianceScaling(RandomInitializer):
    """Random numbers of the variance ``scale / n``, n being ``fan_in``, ``fan_out`` or their mean
    (``mode``), drawn from a ``truncated_normal``, ``untruncated_normal`` or ``uniform``
    distribution. Raises ValueError for other words and for a scale that is not positive.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Any = None,
        input_axes: Any = None,
        output_axes: Any = None,
    ) -> None:
        if scale <= 0.0:
            raise ValueError(f"Argument `scale` must be positive float. Received: scale={scale}")
        modes = {"fan_in", "fan_out", "fan_avg"}
        if mode not in modes:
            raise ValueError(f"Invalid `mode` argument: {mode}. Please use one of {sorted(modes)}")
        distribution = distribution.lower()
        if distribution == "normal":
            distribution = "truncated_normal"
        kinds = {"uniform", "truncated_normal", "untruncated_normal"}
        if distribution not in kinds:
            raise ValueError(
                f"Invalid `distribution` argument: {distribution}. Please use one of "
                f"{sorted(kinds)}"
            )
        self.scale, self.mode, self.distribution = scale, mode, distribution
        self.input_axes, self.output_axes = input_axes, output_axes
        super().__init__(seed)

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        scale = self.scale / max(1.0, fans[self.mode])
        if self.distribution == "truncated_normal":
            return self._truncated(shape, 0.0, math.sqrt(scale) / _CUT, dtype)
        if self.distribution == "untruncated_normal":
            return self._normal(shape, 0.0, math.sqrt(scale), dtype)
        limit = math.sqrt(3.0 * scale)
        return self._uniform(shape, -limit, limit, dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            "scale": self.scale,
            "mode": self.mode,
            "distribution": self.distribution,
            "seed": self._given_seed,
            "input_axes": self.input_axes,
            "output_axes": self.output_axes,
        }


class _Preset(VarianceScaling):
    """Variance scaling with a fixed scale, mode and distribution."""

    _options: tuple[float, str, str]

    def __init__(self, seed: Any = None, input_axes: Any = None, output_axes: Any = None) -> None:
        super().__init__(*self._options, seed, input_axes, output_axes)

    def get_config(self) -> dict[str, Any]:
        return {
            "seed": self._given_seed,
            "input_axes": self.input_axes,
            "output_axes": self.output_axes,
        }


class GlorotUniform(_Preset):
    """Uniform, of the variance 2 / (fan in + fan out) (Glorot and Bengio, 2010)."""

    _options = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Preset):
    """Truncated normal, of the variance 2 / (fan in + fan out) (Glorot and Bengio, 2010)."""

    _options = (1.0, "fan_avg", "truncated_normal")


class LecunNormal(_Preset):
    """Truncated normal, of the variance 1 / fan in (Klambauer et al., 2017)."""

    _options = (1.0, "fan_in", "truncated_normal")


class LecunUniform(_Preset):
    """Uniform, of the variance 1 / fan in."""

    _options = (1.0, "fan_in", "uniform")


class HeNormal(_Preset):
    """Truncated normal, of the variance 2 / fan in (He et al., 2015)."""

    _options = (2.0, "fan_in", "truncated_normal")


class HeUniform(_Preset):
    """Uniform, of the variance 2 / fan in (He et al., 2015)."""

    _options = (2.0, "fan_in", "uniform")


class Orthogonal(RandomInitializer):
    """A matrix with orthonormal rows or columns, times ``gain``; more axes are flattened into rows
    (Saxe et al., 2014). Raises ValueError for fewer than two axes."""

    def __init__(self, gain: float = 1.0, seed: Any = None) -> None:
        self.gain = gain
        super().__init__(seed)

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        if len(shape) < 2:
            raise ValueError(
                "The tensor to initialize must be at least two-dimensional. Received: "
                f"shape={shape} of rank {len(shape)}."
            )
        rows, columns = math.prod(shape[:-1]), shape[-1]
        x = tg.randn((max(rows, columns), min(rows, columns)), generator=self._generator())
        q, r = tg.linalg.qr(x)
        q = q * tg.sign(tg.diagonal(r))
        if rows < columns:
            q = q.t()
        return (self.gain * q.reshape(tuple(shape))).to(dtype_of(dtype)).contiguous()

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, **super().get_config()}


IdentityInitializer = Identity
OrthogonalInitializer = Orthogonal

_BY_NAME: dict[str, Any] = {
    "constant": Constant,
    "glorot_normal": GlorotNormal,
    "glorot_uniform": GlorotUniform,
    "he_normal": HeNormal,
    "he_uniform": HeUniform,
    "identity": Identity,
    "lecun_normal": LecunNormal,
    "lecun_uniform": LecunUniform,
    "ones": Ones,
    "one": Ones,
    "orthogonal": Orthogonal,
    "random_normal": RandomNormal,
    "random_uniform": RandomUniform,
    "stft": STFT,
    "truncated_normal": TruncatedNormal,
    "variance_scaling": VarianceScaling,
    "zeros": Zeros,
    "zero": Zeros,
    "normal": RandomNormal,
    "uniform": RandomUniform,
}
constant, glorot_normal, glorot_uniform = Constant, GlorotNormal, GlorotUniform
he_normal, he_uniform, identity = HeNormal, HeUniform, Identity
lecun_normal, lecun_uniform, ones = LecunNormal, LecunUniform, Ones
orthogonal, random_normal, random_uniform = Orthogonal, RandomNormal, RandomUniform
stft = STFTInitializer = STFT
truncated_normal, variance_scaling, zeros = TruncatedNormal, VarianceScaling, Zeros
own(*_BY_NAME.values())


def get(identifier: Any) -> Any:
    """The initializer meant by a name, a configuration, a class or an instance.

    Raises ValueError for what is none of them.
    """
    if isinstance(identifier, (tg.Tensor,)) or hasattr(identifier, "__array__"):
        return Constant(identifier)
    return resolve("initializer", identifier, _BY_NAME)


def serialize(initializer: Any) -> Any:
    """The configuration that :func:`deserialize` takes."""
    return serialize_keras_object(initializer)


def deserialize(config: Any, custom_objects: Any = None) -> Any:
    """The initializer of a configuration. Raises TypeError for an unknown name."""
    from .registry import deserialize_keras_object

    return deserialize_keras_object(config, custom_objects)
