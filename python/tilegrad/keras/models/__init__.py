"""``keras.models``: Sequential, functional and subclassed models."""

from __future__ import annotations

from ..saving import load_model, save_model
from .functional import Functional
from .model import Model, model_from_json
from .sequential import Sequential

__all__ = ["Functional", "Model", "Sequential", "load_model", "model_from_json", "save_model"]
