"""One training loop, never two; checkpoints without pickle."""
