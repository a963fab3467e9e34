"""What every route of a server shares: bodies within size and time, errors as statuses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from sightloop.errors import (
    BundleError,
    DeadlineExceededError,
    ForbiddenError,
    FrameKillsWorkerError,
    ImageError,
    LineNotFoundError,
    OverloadedError,
    ProtocolError,
    RateLimitedError,
    ReleaseNotFoundError,
    ReleaseNotReadyError,
    RequestTooSlowError,
    ServingError,
    SightloopError,
    TooManyBytesError,
    UnauthenticatedError,
    UnsupportedError,
    UpdateInProgressError,
)
from sightloop.serving.open_bytes import OpenBytes, Share

_STATUS: Final[tuple[tuple[type[SightloopError], int], ...]] = (
    (ImageError, 400),
    (ProtocolError, 400),
    (UnauthenticatedError, 401),
    (ForbiddenError, 403),
    (LineNotFoundError, 404),
    (ReleaseNotFoundError, 404),
    (RequestTooSlowError, 408),
    (UpdateInProgressError, 409),
    (OverloadedError, 429),
    (RateLimitedError, 429),
    (FrameKillsWorkerError, 502),
    (ReleaseNotReadyError, 503),
    (DeadlineExceededError, 504),
    (UnsupportedError, 501),
    (BundleError, 409),
    (ServingError, 500),
)
ORDER_BYTES_MAX: Final = 64 << 10
_PASS_OVER_S: Final = 1.0
_TOO_LARGE: Final = frozenset({"image_too_large", "body_too_large"})
_CLOSING: Final = frozenset({408, 413})
"""After these the rest of the body may still come: the connection ends."""


class ErrorWords(BaseModel):
    """Why a call has no answer."""

    reason: str
    message: str


class ErrorBody(BaseModel):
    """Body of every error below /v1."""

    error: ErrorWords


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What a request's body may be.

    Attributes:
        bytes_max: Its size.
        seconds_max: How long all of it may take to come.
        open_bytes: What all of them may be together.
    """

    bytes_max: int
    seconds_max: float = 30.0
    open_bytes: OpenBytes = field(default_factory=OpenBytes.unbounded)

    def of_orders(self) -> BodyLimits:
        """Those of orders: small, and taken however many frames there are."""
        return BodyLimits(min(self.bytes_max, ORDER_BYTES_MAX), self.seconds_max)


def status_of(error: SightloopError) -> int:
    """The HTTP status of an error."""
    if error.reason in _TOO_LARGE:
        return 413
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def headers_of(status: int, *, later: bool) -> dict[str, str]:
    """What an error's answer says beside its body."""
    headers = {"Retry-After": "1"} if later else {}
    if status in _CLOSING:
        headers["Connection"] = "close"
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


class UnreadAnswer(JSONResponse):
    """The answer to a request whose body is not read: it is said at once, and the connection ends.

    What still comes is dropped for a moment, since a connection that is closed over unread bytes
    takes its answer with it.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all of it, and end a little later."""
        headers = [*self.raw_headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PASS_OVER_S):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b""})


def answer_kind(error: SightloopError) -> type[JSONResponse]:
    """How the answer to a request with this error is sent."""
    if not isinstance(error, TooManyBytesError):
        return JSONResponse
    error.__traceback__ = None  # its frames hold what was read, and nobody counts that any more
    return UnreadAnswer


def error_answer(
    status: int, reason: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """An error in the form of everything below /v1."""
    value = {"error": {"reason": reason, "message": message}}
    return JSONResponse(value, status_code=status, headers=dict(headers or {}))


async def answer_error(_request: Request, error: Exception) -> Response:
    """Handler of our own errors."""
    assert isinstance(error, SightloopError)
    return answer_of(error)


def answer_of(error: SightloopError) -> Response:
    """One of our own errors, in the form of everything below /v1."""
    status = status_of(error)
    value = {"error": {"reason": error.reason, "message": error.message}}
    headers = headers_of(status, later=error.retryable)
    return answer_kind(error)(value, status_code=status, headers=headers)


def documented(*statuses: int, body: type[BaseModel] = ErrorBody) -> dict[int | str, Any]:
    """What OpenAPI says of a route's errors."""
    return {status: {"model": body, "description": _WORDS[status]} for status in statuses}


_WORDS: Final = {
    400: "Not usable as it is",
    401: "No token, or none that is known here",
    403: "Not allowed to this token, or from this page",
    404: "No such line or release",
    408: "The body did not come in time",
    409: "Refused by a gate, or another update is running",
    413: "Too many bytes or pixels",
    422: "A parameter or key that is not expected",
    429: "The queue is full, or too many calls",
    500: "A fault of the server",
    501: "Not offered",
    502: "This image has ended two workers",
    503: "Nobody can answer at the moment",
    504: "No answer in the time allowed",
}


async def read_body(request: Request, limits: BodyLimits, share: Share | None = None) -> bytes:
    """The whole body, refused as soon as it is known to be too large or too slow.

    Args:
        request: Whose.
        limits: What it may be.
        share: Takes its bytes, as soon as they are known; None: they count nowhere.

    Raises:
        ImageError: Too many bytes, or the connection closed before its end.
        TooManyBytesError: Others' bodies leave no room for it.
        RequestTooSlowError: It did not come in time.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit():
        check_size(int(declared), limits, share)
    try:
        async with asyncio.timeout(limits.seconds_max):
            return await _gather(request, limits, share)
    except TimeoutError:
        raise too_slow(limits) from None
    except ClientDisconnect:
        raise ImageError(
            "request body: expected all of it, found a closed connection", "image_truncated"
        ) from None


async def _gather(request: Request, limits: BodyLimits, share: Share | None) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        check_size(size, limits, share)
        parts.append(part)
    return b"".join(parts)


def check_size(found_bytes: int, limits: BodyLimits, share: Share | None) -> None:
    """Let a body of this size go on, or one that has this size so far.

    Raises:
        ImageError: It is too large.
        TooManyBytesError: Others' bodies leave no room for it.
    """
    if found_bytes > limits.bytes_max:
        raise _too_large(found_bytes, limits.bytes_max)
    if share is not None:
        share.hold(found_bytes)


def too_slow(limits: BodyLimits) -> RequestTooSlowError:
    """The error of a body that did not come in time."""
    return RequestTooSlowError(
        f"request body: expected all of it within {limits.seconds_max:g} s; send faster or raise "
        "serve.body_timeout_s"
    )


def _too_large(found_bytes: int, limit_bytes: int) -> ImageError:
    """The error of a body beyond its bound."""
    return ImageError(
        f"request body: expected at most {limit_bytes} bytes, found {found_bytes}; send a smaller "
        "image or raise serve.body_bytes_max",
        "body_too_large",
    )
