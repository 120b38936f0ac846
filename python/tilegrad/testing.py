"""For tests: ``assert_close`` compares tensors, ``make_tensor`` draws some."""

from __future__ import annotations

import cmath
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import _C
from ._limits import finfo
from .ops.complex import view_as_real
from .ops.fill import as_tensor, empty
from .ops.random import randint
from .tensor import Tensor

__all__ = ["assert_allclose", "assert_close", "make_tensor"]

# Relative and absolute tolerance of two numbers of a dtype.
_TOLERANCES = {
    _C.float16: (1e-3, 1e-5),
    _C.bfloat16: (1.6e-2, 1e-5),
    _C.float32: (1.3e-6, 1e-5),
    _C.float64: (1e-7, 1e-7),
    _C.complex64: (1.3e-6, 1e-5),
    _C.complex128: (1e-7, 1e-7),
}
_SCALARS = (int, float, complex, np.number)


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: Any = None,
) -> None:
    """Raises AssertionError unless ``|actual - expected| <= atol + rtol * |expected|`` everywhere.

    Compares tensors, arrays, numbers, None, and sequences and mappings of these. Tolerances depend
    on the dtype unless both are given; integers and bools must be equal. Infinities must be equal,
    and NaN differs from NaN unless ``equal_nan``. ``msg`` replaces the message, or is a function of
    it. Raises ValueError for one tolerance without the other, TypeError for other things to
    compare.
    """
    if (rtol is None) != (atol is None):
        raise ValueError(
            "rtol and atol must both be specified or both be unspecified, got "
            f"rtol={rtol}, atol={atol} instead."
        )
    options = {
        "allow_subclasses": allow_subclasses, "rtol": rtol, "atol": atol, "equal_nan": equal_nan,
        "device": check_device, "dtype": check_dtype, "stride": check_stride,
    }  # fmt: skip
    complaint = _compare(actual, expected, options, ())
    if complaint is None:
        return
    if callable(msg):
        raise AssertionError(msg(complaint))
    raise AssertionError(complaint if msg is None else msg)


def _compare(actual: Any, expected: Any, options: dict, place: tuple) -> str | None:
    """What is wrong, or None."""
    if _is_sequence(actual) and _is_sequence(expected):
        if len(actual) != len(expected):
            return _at(
                f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", place
            )
        pairs = [((i,), a, e) for i, (a, e) in enumerate(zip(actual, expected, strict=True))]
    elif isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if set(actual) != set(expected):
            return _at(
                "The keys of the mappings do not match:\nMissing keys in the actual mapping: "
                f"{list(set(expected) - set(actual))}\nAdditional keys in the actual mapping: "
                f"{list(set(actual) - set(expected))}",
                place,
            )
        pairs = [((key,), actual[key], expected[key]) for key in expected]
    else:
        complaint = _compare_leaves(actual, expected, options)
        return complaint and _at(complaint, place)
    complaints = (_compare(a, e, options, place + key) for key, a, e in pairs)
    return next((complaint for complaint in complaints if complaint is not None), None)


def _is_sequence(x: Any) -> bool:
    return isinstance(x, Sequence) and not isinstance(x, (str, bytes))


def _at(complaint: str, place: tuple) -> str:
    if not place:
        return complaint
    return f"{complaint}\n\nThe failure occurred for item {''.join(f'[{k!r}]' for k in place)}"


def _compare_leaves(actual: Any, expected: Any, options: dict) -> str | None:
    if actual is None or expected is None:
        return None if actual is expected else f"None mismatch: {actual} is not {expected}"
    bools = (bool, np.bool_)
    if isinstance(actual, bools) and isinstance(expected, bools):
        return None if actual == expected else f"Booleans mismatch: {actual} is not {expected}"
    if isinstance(actual, _SCALARS) and isinstance(expected, _SCALARS):
        if options["dtype"] and type(actual) is not type(expected):
            return f"The (d)types do not match: {type(actual)} != {type(expected)}."
        return _compare_numbers(actual, expected, options)
    kinds = (Tensor, np.ndarray)
    if not (isinstance(actual, kinds) and isinstance(expected, kinds)):
        raise TypeError(
            "No comparison pair was able to handle inputs of type "
            f"{type(actual)} and {type(expected)}."
        )
    if not options["allow_subclasses"] and type(actual) is not type(expected):
        raise TypeError(f"Expected inputs of one type, got {type(actual)} and {type(expected)}.")
    return _compare_tensors(as_tensor(actual).detach(), as_tensor(expected).detach(), options)


def _tolerances(dtypes: Sequence[Any], options: dict) -> tuple[float, float]:
    if options["rtol"] is not None:
        return options["rtol"], options["atol"]
    rtols, atols = zip(*(_TOLERANCES.get(dtype, (0.0, 0.0)) for dtype in dtypes), strict=True)
    return max(rtols), max(atols)


def _compare_numbers(actual: Any, expected: Any, options: dict) -> str | None:
    dtypes = [
        _C.complex128 if isinstance(x, complex) else _C.float64 if isinstance(x, float) else None
        for x in (actual, expected)
    ]
    rtol, atol = _tolerances(dtypes, options)
    difference, size = abs(actual - expected), abs(expected)
    nans = cmath.isnan(actual) and cmath.isnan(expected) and options["equal_nan"]
    if actual == expected or nans:
        return None
    if not cmath.isinf(actual) and not cmath.isinf(expected) and difference <= atol + rtol * size:
        return None
    return (
        f"{_headline('Scalars', rtol, atol)}\n\nExpected {expected} but got {actual}.\n"
        f"Absolute difference: {difference}{_allowed(rtol, atol, atol)}\n"
        f"Relative difference: {difference / size if size else float('inf')}"
        f"{_allowed(rtol, atol, rtol)}"
    )


def _headline(what: str, rtol: float, atol: float) -> str:
    return f"{what} are not {'equal' if rtol == 0 == atol else 'close'}!"


def _allowed(rtol: float, atol: float, limit: float) -> str:
    return "" if rtol == 0 == atol else f" (up to {limit} allowed)"


def _compare_tensors(actual: Any, expected: Any, options: dict) -> str | None:
    if actual.shape != expected.shape:
        return f"The values for attribute 'shape' do not match: {actual.shape} != {expected.shape}."
    for what in ("device", "dtype", "stride"):
        values = [getattr(x, what) for x in (actual, expected)]
        values = [x() for x in values] if what == "stride" else values
        if options[what] and values[0] != values[1]:
            name = "stride()" if what == "stride" else what
            return f"The values for attribute '{name}' do not match: {values[0]} != {values[1]}."
    rtol, atol = _tolerances((actual.dtype, expected.dtype), options)
    expected = expected.to(actual.device)
    if actual.dtype is not expected.dtype:
        common = _C.promote_types(actual.dtype, expected.dtype)
        actual, expected = actual.to(common), expected.to(common)
    wrong = ~actual.isclose(expected, rtol=rtol, atol=atol, equal_nan=options["equal_nan"])
    if not wrong.any():
        return None
    return _report(actual, expected, wrong, rtol, atol)


def _report(actual: Any, expected: Any, wrong: Any, rtol: float, atol: float) -> str:
    count, total = int(wrong.sum()), wrong.numel()
    if not (actual.dtype.is_floating_point or actual.dtype.is_complex):
        actual, expected = actual.long(), expected.long()
    elif actual.dtype.itemsize == 2:
        actual, expected = actual.float(), expected.float()
    absolute = (actual - expected).abs()
    relative = absolute / expected.abs()
    if actual.ndim == 0:
        start = f"{_headline('Scalars', rtol, atol)}\n\nExpected {expected.item()} but got "
        start += f"{actual.item()}.\nAbsolute difference: {absolute.item()}"
        return (
            f"{start}{_allowed(rtol, atol, atol)}\nRelative difference: {relative.item()}"
            f"{_allowed(rtol, atol, rtol)}"
        )
    lines = [
        f"{_headline('Tensor-likes', rtol, atol)}\n",
        f"Mismatched elements: {count} / {total} ({count / total:.1%})",
    ]
    for name, difference, limit in (("absolute", absolute, atol), ("relative", relative, rtol)):
        difference = difference.masked_fill(~wrong, 0)  # matched infinities differ by NaN
        place = int(difference.reshape(-1).argmax())
        index = tuple(int(i) for i in np.unravel_index(place, tuple(difference.shape)))
        lines.append(
            f"Greatest {name} difference: {difference.reshape(-1)[place].item()} at index {index}"
            f"{_allowed(rtol, atol, limit)}"
        )
    return "\n".join(lines)


def assert_allclose(
    actual: Any,
    expected: Any,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    msg: str = "",
) -> None:
    """The older form of :func:`assert_close`: other things than tensors become tensors, devices
    and dtypes are not compared. The same errors."""
    actual, expected = as_tensor(actual), as_tensor(expected)
    assert_close(
        actual, expected, rtol=rtol, atol=atol, equal_nan=equal_nan, check_device=False,
        check_dtype=False, msg=msg or None,
    )  # fmt: skip


_NUMBERS: dict[Any, tuple[float, float]] = {_C.boolean: (0, 2), _C.uint8: (0, 10)}


def make_tensor(
    *shape: Any,
    dtype: Any,
    device: Any,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Uniform numbers in [low, high) from the default generator: -9 to 9, 0 to 9 for uint8.

    ``noncontiguous``: every other element of a larger tensor; ``exclude_zero``: the smallest
    positive number instead of 0. Raises ValueError for an empty range, for ``noncontiguous`` with a
    ``memory_format``, and for integers that should require gradients.
    """
    if len(shape) == 1 and isinstance(shape[0], Sequence):
        shape = tuple(shape[0])
    if noncontiguous and memory_format is not None:
        raise ValueError(
            "The parameters `noncontiguous` and `memory_format` are mutually exclusive, but got "
            f"noncontiguous={noncontiguous!r} and memory_format={memory_format!r}"
        )
    whole = dtype in _NUMBERS or not (dtype.is_floating_point or dtype.is_complex)
    least, most = _NUMBERS.get(dtype, (-9, 10 if whole else 9))
    low, high = least if low is None else low, most if high is None else high
    if not low < high and not (whole is False and low == high):
        raise ValueError(f"make_tensor: `low` must be less than `high`, got {low} and {high}")
    if requires_grad and whole:
        raise ValueError(
            "`requires_grad=True` is not supported for boolean and integral dtypes, but got "
            f"dtype={dtype}"
        )
    sizes, odd = list(shape), noncontiguous and math.prod(shape) > 1
    if odd:
        sizes[-1] *= 2
    if whole:
        made = randint(math.ceil(low), math.ceil(high), sizes, dtype=dtype, device=device)
    else:
        made = empty(sizes, dtype=dtype, device=device)
        (view_as_real(made) if dtype.is_complex else made).uniform_(low, high)
    if odd:
        made = made[..., 1::2]
    elif memory_format is not None:
        made = made.clone(memory_format=memory_format)
    if exclude_zero:
        made[made == 0] = 1 if whole else _smallest(dtype)
    return made.requires_grad_() if requires_grad else made


def _smallest(dtype: Any) -> Any:
    if dtype.is_complex:
        part = finfo(_C.float32 if dtype is _C.complex64 else _C.float64).tiny
        return complex(part, part)
    return finfo(dtype).tiny
