"""What a request says, checked: every bad input becomes a RequestError, which is one clear sentence as JSON."""

from __future__ import annotations

import asyncio
import base64
import difflib
import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

__all__ = ["BODY_BYTES", "Answer", "Fields", "RequestError", "query_fields", "read_body", "read_fields"]

BODY_BYTES = 2 * 2**20
"""Largest body of a request."""

BODY_SECONDS = 5.0
"""Time that a body has to arrive."""

LARGEST_Z = 1000.0
"""Largest coordinate of a point: a thousand standard deviations of the prior, far beyond anything that is music."""

_NO_DEFAULT: Final = object()

_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?")


class Answer(Response):
    """JSON in ASCII: names that clients made up may hold what UTF-8 cannot, such as half of a surrogate pair."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the content as JSON; raises ValueError for NaN and infinities."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class RequestError(Exception):
    """A request that cannot be answered: the status, what is wrong, what to do, the field to blame."""

    def __init__(
        self, status: int, error: str, *, hint: str = "", field: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.status, self.error, self.hint, self.field, self.headers = status, error, hint, field, headers

    @property
    def answer(self) -> Answer:
        """The problem as a response."""
        content = {"error": self.error, "hint": self.hint} | ({"field": self.field} if self.field else {})
        return Answer(content, self.status, self.headers)


# ------------------------------------------------------------------------------------------------- bodies
async def read_body(request: Request, types: Collection[str]) -> bytes:
    """Return the body of a request of one of these media types; raises RequestError 408, 413 or 415."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in types:
        raise RequestError(
            415, f"the body is {_shown(kind) if kind else 'of no type'}; wanted {' or '.join(sorted(types))}"
        )
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_BYTES:
                    raise RequestError(413, f"the body is too large; wanted at most {BODY_BYTES // 2**20} MB")
    except TimeoutError:
        raise RequestError(408, f"the body did not arrive within {BODY_SECONDS:g} seconds") from None
    except ClientDisconnect:
        raise RequestError(400, "the connection was closed before the body had arrived") from None
    return bytes(body)


async def read_fields(request: Request, known: Collection[str]) -> Fields:
    """Return the fields of a request's JSON; raises RequestError where it is no JSON object or has other fields."""
    body = await read_body(request, ("application/json",))
    try:
        content = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # bytes that are no text, numbers of 5000 digits, [[[[…
        what = str(error).partition(": line")[0] if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise RequestError(400, f"the body is not JSON ({what})") from None
    if not isinstance(content, dict):
        raise RequestError(400, f"the body is {_shown(content)}; wanted an object")
    return Fields(content, known)


def query_fields(request: Request, known: Collection[str]) -> Fields:
    """Return the fields of a request's address; texts that are JSON numbers are numbers."""
    content: dict[str, Any] = {}
    for name, text in request.query_params.items():
        content[name] = text
        if _NUMBER.fullmatch(text):
            content[name] = json.loads(text)
    return Fields(content, known)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


class Fields:
    """The fields of a request; each method returns one of them, checked, or raises RequestError 400."""

    def __init__(self, content: Mapping[str, Any], known: Collection[str]) -> None:
        self.content = content
        for name in content:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(sorted(known))}."
                raise RequestError(400, f"there is no field {_shown(name)}", hint=hint, field=name[:60])

    def get(self, name: str, default: Any = _NO_DEFAULT) -> Any:
        """Return a field as it is."""
        value = self.content.get(name, default)
        if value is _NO_DEFAULT:
            raise RequestError(400, f"the field {name} is missing", field=name)
        return value

    def whole(self, name: str, low: int, high: int, default: int | object = _NO_DEFAULT) -> int:
        """Return a whole number."""
        value = self.get(name, default)
        if type(value) is not int or not low <= value <= high:
            raise _wrong(name, value, f"a whole number from {low} to {high}")
        return value

    def number(self, name: str, low: float, high: float, default: float | object = _NO_DEFAULT) -> float:
        """Return a number."""
        return _number(name, self.get(name, default), low, high)

    def numbers(self, name: str, count: int, low: float, high: float) -> list[float]:
        """Return a list of `count` numbers."""
        values = self.list(name, count, count)
        return [_number(f"{name}[{i}]", value, low, high, name) for i, value in enumerate(values)]

    def amounts(self, name: str, known: Collection[str], most: float) -> dict[str, float]:
        """Return numbers by name, from -most to most, for some of the `known` names."""
        values = self.get(name)
        if not isinstance(values, dict):
            raise _wrong(name, values, "an object with a number for each attribute")
        for key in values:
            if key not in known:
                hint = f"It has: {', '.join(known)}." if known else "It has none."
                raise RequestError(400, f"the model has no attribute {_shown(key)}", hint=hint, field=name)
        return {key: _number(f"{name}.{key}", value, -most, most, name) for key, value in values.items()}

    def list(self, name: str, least: int, most: int) -> list[Any]:
        """Return a list of `least` to `most` things."""
        value = self.get(name)
        wanted = f"a list of {least}" + (f" to {most}" if most > least else "")
        if not isinstance(value, list):
            raise _wrong(name, value, wanted)
        if not least <= len(value) <= most:
            raise RequestError(400, f"{name} has {len(value)} entries; wanted {wanted}", field=name)
        return value

    def point(self, name: str, dimensions: int) -> NDArray[np.float32]:
        """Return a point (Z,)."""
        return _point(name, self.get(name), dimensions, name)

    def points(self, name: str, dimensions: int, least: int, most: int) -> NDArray[np.float32]:
        """Return points (n, Z)."""
        values = self.list(name, least, most)
        return np.stack([_point(f"{name}[{i}]", value, dimensions, name) for i, value in enumerate(values)])


def _number(name: str, value: Any, low: float, high: float, field: str | None = None) -> float:
    # Compared, not converted: an integer may be larger than any float. NaN is in no range.
    if type(value) not in (int, float) or not low <= value <= high:
        raise _wrong(name, value, f"a number from {low:g} to {high:g}", field)
    return float(value)


def _point(name: str, value: Any, dimensions: int, field: str) -> NDArray[np.float32]:
    wanted = f"{dimensions} little-endian float32 in base64url"
    if not isinstance(value, str):
        raise _wrong(name, value, wanted, field)
    text = value.rstrip("=")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise RequestError(400, f"{name} is not base64url; wanted {wanted}", field=field) from None
    if len(data) != 4 * dimensions:
        raise RequestError(400, f"{name} has {len(data)} bytes; wanted {4 * dimensions}: {wanted}", field=field)
    point = np.frombuffer(data, dtype="<f4").astype(np.float32)
    if not (np.abs(point) <= LARGEST_Z).all():
        raise RequestError(
            400, f"{name} has coordinates that are not from -{LARGEST_Z:g} to {LARGEST_Z:g}", field=field
        )
    return point


def _wrong(name: str, value: Any, wanted: str, field: str | None = None) -> RequestError:
    return RequestError(400, f"{name} is {_shown(value)}; wanted {wanted}", field=name if field is None else field)


def _shown(value: Any) -> str:
    """Return a value as an error shows it, short."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:59] + "…"
