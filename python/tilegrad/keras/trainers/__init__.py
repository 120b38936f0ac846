"""Training: what ``compile`` and ``fit`` do."""
