"""The page of `musicvae report`: figures of `musicvae.evaluate.report` as something to look at."""

from __future__ import annotations

from musicvae.errors import MissingExtraError

__all__ = ["require_templates"]


def require_templates() -> None:
    """Raise MissingExtraError without Jinja2: told before the work, not after it."""
    try:
        import jinja2  # noqa: F401  # and MarkupSafe, which it brings
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("jinja2", "markupsafe"):
            raise
        raise MissingExtraError("The page of a report", "eval") from None
