"""REST: the HTTP application of a server, from the data plane, the admin plane and health.

What every route shares is in `request_rest.py`, who may call in `access_rest.py`.
"""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from sightloop.errors import SightloopError
from sightloop.serving.access_rest import SAYS_BEARER, asks, enter_data
from sightloop.serving.admin_rest import build_admin
from sightloop.serving.adminplane import AdminPlane
from sightloop.serving.dataplane import DataPlane
from sightloop.serving.detect_path import read_query
from sightloop.serving.docs_rest import add_docs_page
from sightloop.serving.doorkeeper import Doorkeeper
from sightloop.serving.request_rest import (
    BodyLimits,
    answer_error,
    documented,
    error_answer,
    read_body,
)
from sightloop.telemetry.metrics import ServingMetrics

_JSON: Final = "application/json"
_EXPOSITION: Final = "text/plain; version=0.0.4"
_MALFORMED: Final = "request_malformed"
_DETECT: Final = (400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504)
_IMAGE_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("application/octet-stream", "image/jpeg", "image/png", "image/bmp")
        },
    }
}


def build_rest(
    data: DataPlane,
    admin: AdminPlane,
    *,
    keeper: Doorkeeper,
    metrics: ServingMetrics,
    limits: BodyLimits,
    version: str,
) -> FastAPI:
    """Give the ASGI application of a server."""
    app = FastAPI(title="Sightloop", version=version, docs_url=None, redoc_url=None)
    add_docs_page(app, "/docs")
    app.add_exception_handler(SightloopError, answer_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.include_router(_data(data, keeper, limits))
    app.include_router(build_admin(admin, keeper, limits.of_orders()))
    app.include_router(_health(data, keeper, metrics))
    return app


def _data(data: DataPlane, keeper: Doorkeeper, limits: BodyLimits) -> APIRouter:
    says = [SAYS_BEARER] if keeper.rules.data_asks else []
    router = APIRouter(tags=["data"], dependencies=says)

    @router.post(
        "/v1/detect",
        summary="Detect objects in one JPEG or PNG image (raw body)",
        responses=documented(*_DETECT),
        openapi_extra=_IMAGE_BODY,
    )
    async def detect(
        request: Request,
        line: str | None = Query(None, description="Model line"),
        stream: str | None = Query(None, description="Camera or tracker", max_length=256),
        timeout_ms: float | None = Query(
            None, description="Time for the answer", gt=0, allow_inf_nan=False
        ),
    ) -> Response:
        enter_data(keeper, request)
        read_query(request.scope["query_string"])  # refuses names that nobody reads
        timeout_s = None if timeout_ms is None else timeout_ms / 1000
        with limits.open_bytes.share() as share:
            image = await read_body(request, limits, share)
            reply = await data.detect(line, image, stream=stream, timeout_s=timeout_s)
        return Response(reply.body, status_code=reply.status, media_type=_JSON)

    return router


def _health(data: DataPlane, keeper: Doorkeeper, metrics: ServingMetrics) -> APIRouter:
    router = APIRouter(tags=["health"])
    reads = [] if keeper.rules.metrics_open else [asks(keeper)]

    @router.get("/healthz", summary="The process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get(
        "/readyz", summary="Every line answers", responses={503: {"description": "Not every one"}}
    )
    async def readyz() -> Response:
        ready = data.ready
        word = "ready" if ready else "not_ready"
        return JSONResponse({"status": word}, status_code=200 if ready else 503)

    @router.get(
        "/metrics",
        summary="Prometheus metrics",
        dependencies=reads,
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **documented(401, 403, 429)},
    )
    async def prometheus() -> Response:
        text = await asyncio.to_thread(metrics.as_text)  # reads /proc: not on the frames' loop
        return Response(text, media_type=_EXPOSITION)

    return router


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}; /docs shows every call"
    return error_answer(error.status_code, _MALFORMED, message, error.headers)


async def _answer_invalid(_request: Request, error: Exception) -> Response:
    """A parameter or a key that is not expected: say which, and not what was sent."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "body"
    return error_answer(422, _MALFORMED, f"{where}: {first['msg']}")
