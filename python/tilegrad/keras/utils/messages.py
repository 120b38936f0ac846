"""``tell``: what layers, models and callbacks say to the user, printed or sent to the log."""

from __future__ import annotations

import logging

from ..config import settings

__all__ = ["logger", "tell"]

logger = logging.getLogger("tilegrad.keras")


def tell(text: str) -> None:
    """Prints lines, or logs them after ``keras.config.disable_interactive_logging()``."""
    if settings.interactive_logging:
        print(text, flush=True)
    else:
        logger.info("%s", text.strip("\n"))
