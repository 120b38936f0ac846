"""``torch.hub``'s download of state dicts under its older name, and the bar that shows it."""

from __future__ import annotations

from typing import Any

from ..hub import download_url_to_file as _download_url_to_file
from ..hub import load_state_dict_from_url as load_url

try:
    from tqdm import tqdm
except ImportError:

    class tqdm:  # type: ignore[no-redef]
        """What a loop needs of a progress bar that shows nothing."""

        def __init__(self, iterable: Any = (), *args: Any, **options: Any) -> None:
            self._iterable = iterable

        def __iter__(self) -> Any:
            return iter(self._iterable)

        def __enter__(self) -> tqdm:
            return self

        def __exit__(self, *exception: Any) -> None:
            pass

        def update(self, n: float = 1) -> None:
            pass

        def close(self) -> None:
            pass


__all__ = ["_download_url_to_file", "load_url", "tqdm"]
