"""Benchmarks: `python -m benchmarks VERB`, from the root of the checkout. See docs/benchmarks.md."""
