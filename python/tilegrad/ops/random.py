"""Random numbers: the generator, tensors filled from it, and in-place fills.

The generator is the Mersenne Twister (Matsumoto and Nishimura, 1998). With one seed, ``rand``,
``randn``, ``randint``, ``randperm``, ``uniform_`` and ``normal_`` give the numbers of PyTorch's CPU
generator (normal numbers up to rounding). One thread draws, in the order of the elements in
memory, so the numbers do not depend on the number of threads. On a CUDA device the generator only
supplies a key for each call, and the card draws from the stream of that key; the numbers are not
those of the CPU. ``generator=None`` stands for the default one of the tensor's device, which
:func:`manual_seed` seeds.
"""

from __future__ import annotations

import math
from typing import Any

from .. import _C
from ..autograd.graph import needs_grad, record
from ..autograd.views import in_place
from ..tensor import Tensor
from ._generator import Generator, _source, _source_on, default_generator, seed_devices
from ._register import method, put_out, takes_tensors
from .binary import zero_backward
from .fill import _device, _dtype, _finish, _shape, empty, memory_like

__all__ = [
    "Generator",
    "bernoulli",
    "default_generator",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "multinomial",
    "normal",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "seed",
    "set_rng_state",
]


def manual_seed(seed: int) -> Generator:
    """Seeds the default generators of the CPU and of all CUDA devices; returns that of the CPU.

    Raises RuntimeError for a number outside 64 bits, ValueError or TypeError for what is not a
    number.
    """
    default_generator.manual_seed(seed)
    seed_devices(seed)
    return default_generator


def seed() -> int:
    """Seeds the default generator from the operating system; returns the seed.

    Never fails; the seed is a 64-bit integer.
    """
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default generator started from."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The default generator's state, as a uint8 tensor."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Continues the default generator from that state.

    Raises TypeError for what is not a tensor, RuntimeError for one that :func:`get_rng_state`
    cannot have returned.
    """
    default_generator.set_state(new_state)


# --- new tensors --------------------------------------------------------------------------------


def rand(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Uniform numbers in [0, 1).

    ``sizes``: integers, or one sequence of them, which may also be ``size=``; ``dtype``: the
    default dtype unless given. Errors as for :func:`zeros`, and NotImplementedError for a dtype
    that is not floating.
    """
    output = _C.empty(_shape("rand", sizes, size), _dtype(dtype), _device(device), "rand")
    _C.uniform_(output, 0, 1, _source(generator, output))
    return _finish(output, requires_grad, None, pin_memory)


def randn(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Normal numbers of mean 0 and standard deviation 1.

    ``sizes``: integers, or one sequence of them, which may also be ``size=``; ``dtype``: the
    default dtype unless given. Errors as for :func:`zeros`, and NotImplementedError for a dtype
    that is not floating.
    """
    output = _C.empty(_shape("randn", sizes, size), _dtype(dtype), _device(device), "randn")
    _C.normal_(output, 0, 1, _source(generator, output))
    return _finish(output, requires_grad, None, pin_memory)


def randint(
    *args: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    **kwargs: Any,
) -> Tensor:
    """``randint(low=0, high, size)``: integers from ``low`` up to, not including, ``high``.

    int64 unless ``dtype`` is given. Raises RuntimeError for an empty range and for bounds that the
    dtype cannot hold.
    """
    low, high, size = _randint_arguments(*args, **kwargs)
    output = _C.empty(size, _C.int64 if dtype is None else dtype, _device(device))
    _C.random_integers_(output, low, high, _source(generator, output))
    return _finish(output, requires_grad, None, pin_memory)


def _randint_arguments(*args: Any, low: int = 0, **kwargs: Any) -> tuple:
    names = ("low", "high", "size") if len(args) + len(kwargs) == 3 else ("high", "size")
    given = dict(zip(names, args, strict=False)) | kwargs
    if set(given) - {"low"} != {"high", "size"} or len(args) > len(names):
        raise TypeError(
            f"randint: expected ([low], high, size), got {len(args)} positional arguments and "
            f"{sorted(kwargs)}"
        )
    return given.get("low", low), given["high"], given["size"]


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """The numbers from 0 to n - 1 in random order, int64 unless ``dtype`` is given.

    (n). Raises RuntimeError for a negative ``n``, TypeError for one that is not an integer.
    """
    where = _device(device)
    output = _C.randperm(n, _source_on(generator, where), where)
    if dtype is not None:
        output = _C.to_dtype(output, dtype)
    return _finish(output, requires_grad, None, pin_memory)


@takes_tensors
def rand_like(
    input: Any,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Uniform numbers in [0, 1) in the shape, dtype and device of ``input``.

    Raises TypeError if ``input`` is not a tensor, NotImplementedError for a dtype that is not
    floating.
    """
    output = memory_like(input, dtype, device, memory_format)
    _C.uniform_(output, 0, 1, _source(generator, output))
    return _finish(output, requires_grad, None, pin_memory)


@takes_tensors
def randn_like(
    input: Any,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Normal numbers in the shape, dtype and device of ``input``.

    Raises TypeError if ``input`` is not a tensor, NotImplementedError for a dtype that is not
    floating.
    """
    output = memory_like(input, dtype, device, memory_format)
    _C.normal_(output, 0, 1, _source(generator, output))
    return _finish(output, requires_grad, None, pin_memory)


@takes_tensors
def randint_like(
    input: Any,
    *args: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
    **kwargs: Any,
) -> Tensor:
    """Integers from ``low`` (0) below ``high`` in the shape, dtype and device of ``input``.

    Raises TypeError if ``input`` is not a tensor, RuntimeError for an empty range and for bounds
    that the dtype cannot hold.
    """
    if len(args) == 1 and "high" not in kwargs:
        kwargs["high"] = args[0]
        args = ()
    low, high, _ = _randint_arguments(*args, size=input.shape, **kwargs)
    output = memory_like(input, dtype, device, memory_format)
    _C.random_integers_(output, low, high, _source(generator, output))
    return _finish(output, requires_grad, None, pin_memory)


def normal(
    mean: Any,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    **kwargs: Any,
) -> Tensor:
    """Normal numbers whose mean and standard deviation are tensors (broadcast) or numbers.

    Two numbers need ``size``. Raises RuntimeError for a negative deviation.
    """
    if size is not None:
        kwargs.pop("layout", None)  # there is one
        output = empty(size, **kwargs)
        _C.normal_(output, mean, std, _source(generator, output))
        return output
    if not isinstance(mean, Tensor) and not isinstance(std, Tensor):
        raise TypeError("normal: expected a tensor 'mean' or 'std', or the argument 'size'")
    _check_deviation(std)
    given, (mean, std) = (
        (mean, std),
        (x.detach() if isinstance(x, Tensor) else x for x in (mean, std)),
    )
    both = _C.add(mean, std)  # broadcast and promoted
    output = _C.empty(both.shape, both.dtype, both.device)
    _C.normal_(output, 0, 1, _source(generator, output))
    output = _C.add(_C.mul(output, std), mean)
    if needs_grad(*given):
        record(output, zero_backward, given)
    return output


def _check_deviation(std: Any) -> None:
    """Refuses negative deviations; while a CUDA graph is captured, its replays will."""
    if isinstance(std, Tensor):
        if std.numel() == 0:
            return
        if std.is_cuda and _C.cuda_is_capturing():
            wrong: Any = std.detach() < 0
            _C.cuda_report_replayed(wrong.contiguous())
            return
        std = std.min().item()
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")


@method()
def multinomial(
    input: Any,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
    out: Any = None,
) -> Tensor:
    """``num_samples`` category indices per row of weights, (n) -> (num_samples), int64.

    ``input`` has one or two dimensions, (categories) or (rows, categories), and need not sum to 1.
    Raises RuntimeError for weights that are negative or not finite or sum to zero, and for more
    samples than categories without ``replacement``.
    """
    output = _C.multinomial(input, num_samples, replacement, _source(generator, input))
    return output if out is None else put_out(out, output, exact=True)


@method()
@takes_tensors
def bernoulli(
    input: Any,
    p: float | None = None,
    *,
    generator: Generator | None = None,
    out: Any = None,
) -> Tensor:
    """1 with the probability that each element gives (or ``p``), else 0. The gradient is zero."""
    if p is None:
        output = _C.bernoulli(input, _source(generator, input))
    else:
        output = _C.empty(input.shape, input.dtype, input.device)
        _C.bernoulli_(output, p, _source(generator, output))
    if needs_grad(input):
        record(output, bernoulli_backward, (input,))
    return output if out is None else put_out(out, output, apart_from=(input,))


def bernoulli_backward(node: Any, grad: Any) -> Any:
    return grad.new_zeros(grad.shape)


# --- in-place fills -----------------------------------------------------------------------------


def _fill(name: str, tensor: Any, draw: Any) -> Any:
    """``draw(tensor)`` writes random numbers; what the tensor held before gets no gradient."""
    if not needs_grad(tensor):
        draw(tensor)
        return tensor

    def drawn(x: Any) -> Any:
        output = _C.empty(x.shape, x.dtype, x.device)
        draw(output)
        record(output, random_fill_backward, (x,))
        return output

    return in_place(name, drawn, tensor)


def random_fill_backward(node: Any, grad: Any) -> Any:
    return grad.new_zeros(grad.shape)


@method()
def uniform_(
    input: Any,
    from_: float = 0,
    to: float = 1,
    *,
    generator: Generator | None = None,
    **kwargs: Any,
) -> Any:
    """Fills with uniform numbers in [from, to); returns ``self``."""
    low = kwargs.pop("from", from_)
    if kwargs:
        raise TypeError(f"uniform_: unexpected arguments {sorted(kwargs)}")
    return _fill("uniform_", input, lambda y: _C.uniform_(y, low, to, _source(generator, y)))


@method()
def normal_(
    input: Any, mean: float = 0, std: float = 1, *, generator: Generator | None = None
) -> Any:
    """Fills with normal numbers; returns ``self``. Raises RuntimeError for a negative ``std``."""
    return _fill("normal_", input, lambda y: _C.normal_(y, mean, std, _source(generator, y)))


@method()
def exponential_(input: Any, lambd: float = 1, *, generator: Generator | None = None) -> Any:
    """Fills with exponential numbers of rate ``lambd`` > 0; returns ``self``."""
    return _fill("exponential_", input, lambda y: _C.exponential_(y, lambd, _source(generator, y)))


@method()
def cauchy_(
    input: Any, median: float = 0, sigma: float = 1, *, generator: Generator | None = None
) -> Any:
    """Fills with Cauchy's distribution of this median and half width; returns ``self``. Raises
    RuntimeError for a width that is not positive, NotImplementedError for other dtypes than
    floating."""
    _check_floating("cauchy_", input)
    if sigma <= 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")

    def draw(y: Any) -> None:
        _C.uniform_(y, 0.0, 1.0, _source(generator, y))
        turned = _C.tan(_C.mul(_C.sub(y, 0.5), math.pi))
        _C.copy_(y, _C.add(_C.mul(turned, sigma), median))

    return _fill("cauchy_", input, draw)


@method()
def log_normal_(
    input: Any, mean: float = 1, std: float = 2, *, generator: Generator | None = None
) -> Any:
    """Fills with exponentials of normal numbers; returns ``self``. Raises RuntimeError for a
    deviation that is not positive, NotImplementedError for other dtypes than floating."""
    _check_floating("log_normal_", input)
    if std <= 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")

    def draw(y: Any) -> None:
        _C.normal_(y, mean, std, _source(generator, y))
        _C.exp_(y)

    return _fill("log_normal_", input, draw)


@method()
def geometric_(input: Any, p: float, *, generator: Generator | None = None) -> Any:
    """Fills with the number of the first success, of probability ``p`` each; returns ``self``.
    Raises RuntimeError unless ``p`` lies between 0 and 1."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")

    if input.dtype.is_complex:
        raise NotImplementedError(f"geometric_ is not implemented for {input.dtype}")

    def draw(y: Any) -> None:
        dtype = y.dtype if y.dtype.is_floating_point else _C.float64
        drawn = _C.empty(y.shape, dtype, y.device)
        _C.uniform_(drawn, 0.0, 1.0, _source(generator, drawn))
        tries = _C.ceil(_C.div(_C.log(_C.sub(1.0, drawn)), math.log1p(-p)))
        _C.copy_(y, _C.to_dtype(_C.maximum(tries, 1.0), y.dtype))

    return _fill("geometric_", input, draw)


def _check_floating(op: str, tensor: Any) -> None:
    if not tensor.dtype.is_floating_point:
        raise NotImplementedError(f"{op} is not implemented for {tensor.dtype}")


@method()
def bernoulli_(input: Any, p: Any = 0.5, *, generator: Generator | None = None) -> Any:
    """Fills with 1 with probability ``p``, a number or a tensor that broadcasts, else 0."""
    if isinstance(p, Tensor):
        chosen = p.detach().expand(input.shape)
        source = _source(generator, input)
        return _fill("bernoulli_", input, lambda y: _C.copy_(y, _C.bernoulli(chosen, source)))
    return _fill("bernoulli_", input, lambda y: _C.bernoulli_(y, p, _source(generator, y)))


@method()
def random_(
    input: Any, from_: int = 0, to: int | None = None, *, generator: Generator | None = None
) -> Any:
    """Fills with integers: ``random_()`` over all from 0 that the dtype holds exactly,
    ``random_(to)`` below ``to``, ``random_(from, to)`` from ``from`` up; returns ``self``.
    """
    if to is None and from_ == 0:
        return _fill("random_", input, lambda y: _C.random_full_range_(y, _source(generator, y)))
    low, high = (0, from_) if to is None else (from_, to)
    return _fill(
        "random_", input, lambda y: _C.random_integers_(y, low, high, _source(generator, y))
    )
