"""REST: maps HTTP onto the data plane and the admin plane, and errors onto status codes."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict
from starlette.requests import ClientDisconnect

from sightloop.errors import (
    BundleError,
    DeadlineExceededError,
    FrameKillsWorkerError,
    ImageError,
    LineNotFoundError,
    OverloadedError,
    ProtocolError,
    ReleaseNotFoundError,
    ReleaseNotReadyError,
    ServingError,
    SightloopError,
    UnsupportedError,
    UpdateInProgressError,
)
from sightloop.serving.adminplane import AdminPlane
from sightloop.serving.dataplane import DataPlane
from sightloop.serving.update import OrderOutcome
from sightloop.telemetry.metrics import ServingMetrics

_JSON = "application/json"
_STATUS: tuple[tuple[type[SightloopError], int], ...] = (
    (ImageError, 400),
    (ProtocolError, 400),
    (LineNotFoundError, 404),
    (ReleaseNotFoundError, 404),
    (UpdateInProgressError, 409),
    (OverloadedError, 429),
    (FrameKillsWorkerError, 502),
    (ReleaseNotReadyError, 503),
    (DeadlineExceededError, 504),
    (UnsupportedError, 501),
    (BundleError, 409),
    (ServingError, 500),
)
_TOO_LARGE = frozenset({"image_too_large", "body_too_large"})


class UpdateBody(BaseModel):
    """Body of an update: one of the two."""

    model_config = ConfigDict(extra="forbid")
    bundle: str | None = None
    digest: str | None = None


class RollbackBody(BaseModel):
    """Body of a rollback; empty means the previous release."""

    model_config = ConfigDict(extra="forbid")
    digest: str | None = None


def status_of(error: SightloopError) -> int:
    """The HTTP status of an error."""
    if error.reason in _TOO_LARGE:
        return 413
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def build_rest(
    data: DataPlane,
    admin: AdminPlane,
    *,
    metrics: ServingMetrics,
    body_bytes_max: int,
    version: str,
) -> FastAPI:
    """Give the ASGI application of a server."""
    app = FastAPI(title="Sightloop", version=version, redoc_url=None)
    app.add_exception_handler(SightloopError, _answer_error)
    _mount_data(app, data, body_bytes_max)
    _mount_admin(app, admin)
    _mount_health(app, data, metrics)
    return app


def _mount_data(app: FastAPI, data: DataPlane, body_bytes_max: int) -> None:
    @app.post("/v1/detect", summary="Detect objects in one JPEG or PNG image (raw body)")
    async def detect(
        request: Request,
        line: str | None = Query(None, description="Model line"),
        stream: str | None = Query(None, description="Camera or tracker", max_length=256),
        timeout_ms: float | None = Query(None, description="Time for the answer", gt=0),
    ) -> Response:
        image = await read_body(request, body_bytes_max)
        timeout_s = None if timeout_ms is None else timeout_ms / 1000
        reply = await data.detect(line, image, stream=stream, timeout_s=timeout_s)
        return Response(reply.body, status_code=reply.status, media_type=_JSON)


def _mount_admin(app: FastAPI, admin: AdminPlane) -> None:
    @app.get("/v1/lines", summary="Names of the model lines")
    async def lines() -> dict[str, list[str]]:
        return {"lines": list(admin.line_names)}

    @app.get("/v1/lines/{line}", summary="Champion, previous, candidate and standby of a line")
    async def status(line: str) -> dict[str, object]:
        return admin.status(line)

    @app.get("/v1/lines/{line}/history", summary="Every switch and refusal of a line")
    async def history(line: str) -> dict[str, object]:
        return {"line": line, "events": await admin.history(line)}

    @app.post("/v1/lines/{line}/updates", summary="Prove a release and switch to it")
    async def update(line: str, body: UpdateBody) -> Response:
        return _answer(await admin.update(line, bundle=body.bundle, digest=body.digest))

    @app.post("/v1/lines/{line}/rollback", summary="Return to the previous release")
    async def rollback(line: str, body: RollbackBody | None = None) -> Response:
        return _answer(await admin.rollback(line, body.digest if body else None))


def _mount_health(app: FastAPI, data: DataPlane, metrics: ServingMetrics) -> None:
    @app.get("/healthz", summary="The process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Every line answers")
    async def readyz() -> Response:
        ready = data.ready
        word = "ready" if ready else "not_ready"
        return JSONResponse({"status": word}, status_code=200 if ready else 503)

    @app.get("/metrics", summary="Prometheus metrics")
    async def prometheus() -> Response:
        text = await asyncio.to_thread(metrics.as_text)  # reads /proc: not on the frames' loop
        return Response(text, media_type="text/plain; version=0.0.4")


def _answer(outcome: OrderOutcome) -> Response:
    """A refusal is 409 with the verdicts; the same body as an acceptance otherwise."""
    value = outcome.as_dict()
    refusal = outcome.refusal
    if refusal is not None:
        value["error"] = {"reason": refusal.reason, "message": refusal.message}
    return JSONResponse(value, status_code=200 if outcome.switched else 409)


async def _answer_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, SightloopError)
    headers = {"Retry-After": "1"} if error.retryable else {}
    status = status_of(error)
    if status == 413:
        headers["Connection"] = "close"
    value = {"error": {"reason": error.reason, "message": error.message}}
    return JSONResponse(value, status_code=status, headers=headers)


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The whole body, refused as soon as it is known to be too large."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit_bytes:
        raise _too_large(int(declared), limit_bytes)
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit_bytes:
                raise _too_large(size, limit_bytes)
            parts.append(part)
    except ClientDisconnect:
        raise ImageError(
            "request body: expected all of it, found a closed connection", "image_truncated"
        ) from None
    return b"".join(parts)


def _too_large(found_bytes: int, limit_bytes: int) -> ImageError:
    return ImageError(
        f"request body: expected at most {limit_bytes} bytes, found {found_bytes}; send a smaller "
        "image or raise serve.body_bytes_max",
        "body_too_large",
    )
