"""California's house prices as Keras gives them."""

from __future__ import annotations

from typing import Any

from ... import datasets
from ._arrange import split

__all__ = ["load_data"]


def load_data(
    version: str = "large",
    path: str = "california_housing.npz",
    test_split: float = 0.2,
    seed: int = 113,
) -> Any:
    """``(x_train, y_train), (x_test, y_test)``: 8 features, prices in dollars.

    ``version`` "small" has the first 600 districts, "large" all 20,640. Raises ValueError for
    another version or a ``test_split`` outside [0, 1), FileNotFoundError without file and network.
    """
    if version not in ("small", "large"):
        raise ValueError(
            "california_housing.load_data: argument 'version': expected 'small' or 'large', "
            f"got {version!r}"
        )
    features, prices = datasets.california_housing()
    if version == "small":
        features, prices = features[:600], prices[:600]
    return split("california_housing", features, prices, test_split, seed)
