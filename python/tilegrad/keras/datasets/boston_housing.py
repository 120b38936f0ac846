"""Boston's house prices, which are not offered: one of their columns is about race."""

from __future__ import annotations

from typing import Any

__all__ = ["load_data"]


def load_data(path: str = "boston_housing.npz", test_split: float = 0.2, seed: int = 113) -> Any:
    """Raises NotImplementedError, and names a replacement of the same size."""
    raise NotImplementedError(
        "boston_housing is not offered, since its column 'B' presumes segregation by race: "
        "california_housing.load_data('small') has as many houses"
    )
