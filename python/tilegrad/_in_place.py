"""Methods that write in place as functions: ``tilegrad.abs_(x)`` is ``x.abs_()``."""

from __future__ import annotations

from typing import Any

from .tensor import Tensor

__all__: list[str] = []

_NAMES = """
abs_ acos_ acosh_ addmv_ arccos_ arccosh_ arcsin_ arcsinh_ arctan_ arctanh_ as_strided_ asin_ asinh_
atan_ atanh_ ceil_ clamp_ clamp_max_ clamp_min_ clip_ conj_physical_ cos_ cosh_ deg2rad_ detach_
erf_ erfc_ exp2_ exp_ expm1_ fill_ fix_ floor_ frac_ gcd_ i0_ index_put_ lcm_ ldexp_ log10_ log1p_
log2_ log_ logit_ nan_to_num_ neg_ negative_ rad2deg_ reciprocal_ round_ rsqrt_ sin_ sinc_ sinh_
sqrt_ square_ tan_ trunc_ xlogy_
"""


def _function(name: str) -> Any:
    method = getattr(Tensor, name)

    def function(input: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(input, Tensor):
            raise TypeError(
                f"{name}(): argument 'input' (position 1) must be Tensor, not "
                f"{type(input).__name__}"
            )
        return method(input, *args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"``input.{name}(...)``, see :func:`tilegrad.Tensor.{name}`. Returns ``input``. "
        "Raises TypeError for what is not a tensor."
    )
    return function


for _name in _NAMES.split():
    globals()[_name] = _function(_name)
    __all__.append(_name)
