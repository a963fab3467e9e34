"""The Open Inference Protocol over gRPC: maps messages onto the plane, errors onto status codes.

Runs in the front's event loop on a port of its own. Messages are parsed here and not by gRPC, so
that a broken one is the client's fault. Needs the extra `grpc`; nothing else imports this file
before a server is to listen. Nothing here knows a release.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

import grpc
import grpc.aio

from sightloop.errors import (
    LineNotFoundError,
    PortInUseError,
    ReleaseNotFoundError,
    SightloopError,
)
from sightloop.protocol.answers import FINAL, FINAL_ASKED
from sightloop.protocol.grpc_form import answer_message, repository_parameters, request_parts
from sightloop.protocol.grpc_messages import SERVICE, message_class, message_of, read_message
from sightloop.protocol.load_order import read_load_order
from sightloop.serving.access import Caller, Order, Role
from sightloop.serving.doorkeeper import Doorkeeper
from sightloop.serving.in_order import InOrder
from sightloop.serving.open_bytes import OpenBytes
from sightloop.serving.open_inference import OpenInference, WorkerRefusal
from sightloop.serving.open_inference_rest import protocol_status
from sightloop.serving.update import OrderOutcome
from sightloop.telemetry.events import emit

_HEALTH: Final = "grpc.health.v1.Health"
_HEADROOM_BYTES: Final = 64 << 10
"""What a message may have beside its tensors."""
_CODES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_DRAIN_S: Final = 10.0
_RETRY: Final = (("retry-after", "1"),)
_LATER: Final = frozenset({429, 503})

Context = Any
Answer = Callable[[Any, Context], Awaitable[Any]]


def code_of(status: int) -> Any:
    """The gRPC status code of an HTTP status of the protocol."""
    return _CODES.get(status, grpc.StatusCode.INTERNAL)


class GrpcServer:
    """One listening address. Bound first, so that a port in use fails before workers start."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        body_bytes_max: int,
        calls_max: int,
        tls: tuple[bytes, bytes] | None = None,
    ) -> None:
        """Bind; needs a running event loop.

        Args:
            host: Address.
            port: Port; 0 takes a free one.
            body_bytes_max: Largest request.
            calls_max: Calls that may be open at once.
            tls: Private key and certificate chain, PEM; None: nothing is encrypted.

        Raises:
            PortInUseError: The address is taken or not of this machine.
        """
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=calls_max,
            options=(
                ("grpc.max_receive_message_length", body_bytes_max + _HEADROOM_BYTES),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
            ),
        )
        shown = f"[{host}]" if ":" in host else host
        try:
            if tls is None:
                bound = self._server.add_insecure_port(f"{shown}:{port}")
            else:
                secrets = grpc.ssl_server_credentials([tls])
                bound = self._server.add_secure_port(f"{shown}:{port}", secrets)
        except RuntimeError as error:
            raise PortInUseError(
                f"gRPC port {port} on {host}: expected it free, found another process listening; "
                "stop that one or choose another with serve.grpc_port (0 takes a free one, -1 none)"
            ) from error
        self.address = f"{shown}:{bound}"
        self._closing = asyncio.get_running_loop().create_future()
        self._stopping: asyncio.Future[None] | None = None

    async def serve(self, plane: OpenInference, keeper: Doorkeeper, open_bytes: OpenBytes) -> str:
        """Answer from now on; gives the address.

        `open_bytes` counts a message from when gRPC hands it over whole: what gRPC itself reads is
        bounded by `calls_max` and `body_bytes_max`.
        """
        calls = _Calls(plane, keeper, open_bytes, self._closing)
        self._server.add_generic_rpc_handlers((_inference(calls), _health(plane)))
        await self._server.start()
        return self.address

    def begin_stop(self) -> None:
        """Take no new requests; open ones are answered for a while, streams end between two."""
        if self._stopping is None:
            self._closing.set_result(None)
            self._stopping = asyncio.ensure_future(self._server.stop(_DRAIN_S))

    async def stop(self) -> None:
        """The same, and wait for its end."""
        self.begin_stop()
        assert self._stopping is not None
        await self._stopping


def _inference(calls: _Calls) -> Any:
    """The generic handler of the protocol's service."""
    handlers = {
        name: _unary(f"{name}Request", calls.data(answer), calls.open_bytes)
        for name, answer in CALLS.items()
    }
    handlers |= {
        name: _unary(f"{name}Request", partial(answer, calls))
        for name, answer in OPEN_CALLS.items()
    }
    handlers |= {
        name: _unary(f"{name}Request", calls.admin(action, answer))
        for name, (action, answer) in ADMIN_CALLS.items()
    }
    handlers[STREAM] = grpc.stream_stream_rpc_method_handler(
        calls.stream, response_serializer=_as_bytes
    )
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _health(plane: OpenInference) -> Any:
    async def check(request: Any, context: Context) -> Any:
        if request.service in ("", SERVICE):
            ready = plane.ready
        else:
            ready = plane.model_ready(request.service, "")
        return message_of("HealthCheckResponse", {"status": "SERVING" if ready else "NOT_SERVING"})

    handlers = {"Check": _unary("HealthCheckRequest", check)}
    return grpc.method_handlers_generic_handler(_HEALTH, handlers)


def _as_bytes(message: Any) -> bytes:
    return bytes(message.SerializeToString())


def _unary(kind: str, answer: Answer, open_bytes: OpenBytes | None = None) -> Any:
    """A handler that parses its message and turns errors into status codes."""
    counted = open_bytes or OpenBytes.unbounded()

    async def handle(data: bytes, context: Context) -> Any:
        try:
            with counted.share() as share:
                share.hold(len(data))
                return await answer(read_message(kind, data), context)
        except SightloopError as error:
            status, reason, message = protocol_status(error), error.reason, error.message
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            emit("grpc_failed", call=kind, error=repr(error))
            status, reason, message = 500, "error", "the server failed on this request"
        return await _abort(context, code_of(status), reason, message, later=status in _LATER)

    return grpc.unary_unary_rpc_method_handler(handle, response_serializer=_as_bytes)


async def _abort(context: Context, code: Any, reason: str, message: str, *, later: bool) -> None:
    trailing = (("reason", reason), *(_RETRY if later else ()))
    await context.abort(code, message, trailing)


class _Calls:
    """What each call of the service asks of the plane."""

    def __init__(
        self,
        plane: OpenInference,
        keeper: Doorkeeper,
        open_bytes: OpenBytes,
        closing: asyncio.Future[None],
    ) -> None:
        self.open_bytes = open_bytes
        self._plane = plane
        self._keeper = keeper
        self._closing = closing

    def data(self, answer: Callable[[_Calls, Any, Context], Awaitable[Any]]) -> Answer:
        """A call of the data plane, behind its door."""

        async def enter(request: Any, context: Context) -> Any:
            self._keeper.enter_data(_header(context), _address(context))
            return await answer(self, request, context)

        return enter

    def admin(
        self,
        action: str | None,
        answer: Callable[[_Calls, Any, Context, Caller], Awaitable[Any]],
    ) -> Answer:
        """A call of the admin plane, behind its door; `action` is what an order does."""
        needed = Role.READ if action is None else Role.OPERATE

        async def enter(request: Any, context: Context) -> Any:
            order = None if action is None else Order(action, request.model_name)
            header, address = _header(context), _address(context)
            caller = self._keeper.enter_admin(needed, header, address, order)
            return await answer(self, request, context, caller)

        return enter

    async def server_live(self, request: Any, context: Context) -> Any:
        return message_of("ServerLiveResponse", {"live": True})

    async def server_ready(self, request: Any, context: Context) -> Any:
        return message_of("ServerReadyResponse", {"ready": self._plane.ready})

    async def model_ready(self, request: Any, context: Context) -> Any:
        try:
            ready = self._plane.model_ready(request.name, request.version)
        except (LineNotFoundError, ReleaseNotFoundError):
            ready = False  # the stock client asks a question here and expects no exception
        return message_of("ModelReadyResponse", {"ready": ready})

    async def server_metadata(self, request: Any, context: Context) -> Any:
        return message_of("ServerMetadataResponse", self._plane.server_metadata())

    async def model_metadata(self, request: Any, context: Context) -> Any:
        value = await self._plane.model_metadata(request.name, request.version)
        return message_of("ModelMetadataResponse", value)

    async def model_config(self, request: Any, context: Context) -> Any:
        value = await self._plane.model_config(request.name, request.version)
        return message_of("ModelConfigResponse", {"config": value})

    async def model_statistics(self, request: Any, context: Context) -> Any:
        value = self._plane.statistics(request.name, request.version)
        return message_of("ModelStatisticsResponse", value)

    async def repository_index(self, request: Any, context: Context, _: Caller) -> Any:
        models = await self._plane.repository_index(ready=request.ready)
        return message_of("RepositoryIndexResponse", {"models": models})

    async def load(self, request: Any, context: Context, caller: Caller) -> Any:
        order = read_load_order(repository_parameters(request))
        outcome = await self._plane.load(request.model_name, order, caller=caller)
        if outcome is not None and outcome.refusal is not None:
            await _abort_refused(context, request.model_name, outcome)
        return message_class("RepositoryModelLoadResponse")()

    async def unload(self, request: Any, context: Context, _: Caller) -> Any:
        self._plane.unload(request.model_name)

    async def model_infer(self, request: Any, context: Context) -> Any:
        found = await self._infer(request, context)
        if isinstance(found, WorkerRefusal):
            later = found.status in _LATER
            code = code_of(found.status)
            return await _abort(context, code, found.reason, found.message, later=later)
        return found

    async def stream(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
        """One answer a request, in their order; an error is an answer too."""
        try:
            self._keeper.enter_data(_header(context), _address(context))
        except SightloopError as error:
            code = code_of(protocol_status(error))
            await _abort(context, code, error.reason, error.message, later=False)
        answering: InOrder[bytes, Any] = InOrder(
            lambda data: self._stream_answer(data, context), self._closing
        )
        async for answer in answering.of(requests):
            yield answer
        if self._closing.done():
            await _abort(
                context, code_of(503), "release_not_ready", "the server is stopping", later=True
            )

    async def _stream_answer(self, data: bytes, context: Context) -> Any:
        answer = message_class("ModelStreamInferResponse")()
        request = None
        try:
            with self.open_bytes.share() as share:
                share.hold(len(data))
                request = read_message("ModelInferRequest", data)
                found = await self._infer(request, context)
            if not isinstance(found, WorkerRefusal):
                answer.infer_response.CopyFrom(found)
                return answer
            answer.error_message = f"[{found.status}] {found.message} ({found.reason})"
        except SightloopError as error:
            status = protocol_status(error)
            answer.error_message = f"[{status}] {error.message} ({error.reason})"
        except Exception as error:
            emit("grpc_failed", call="ModelStreamInfer", error=repr(error))
            answer.error_message = "[500] the server failed on this request (error)"
        if request is not None:
            _name_request(answer.infer_response, request)
        return answer

    async def _infer(self, request: Any, context: Context) -> Any:
        """The answer's message, or the worker's refusal."""
        found = await self._plane.infer(
            request.model_name,
            request.model_version,
            *request_parts(request),
            time_left_s=context.time_remaining(),
        )
        return found if isinstance(found, WorkerRefusal) else answer_message(found)


STREAM: Final = "ModelStreamInfer"
OPEN_CALLS: Final[dict[str, Callable[[_Calls, Any, Context], Awaitable[Any]]]] = {
    "ServerLive": _Calls.server_live,
    "ServerReady": _Calls.server_ready,
    "ServerMetadata": _Calls.server_metadata,
}
"""Calls that ask nobody for a token. A call's request message is named after the call."""
CALLS: Final[dict[str, Callable[[_Calls, Any, Context], Awaitable[Any]]]] = {
    "ModelReady": _Calls.model_ready,
    "ModelMetadata": _Calls.model_metadata,
    "ModelConfig": _Calls.model_config,
    "ModelStatistics": _Calls.model_statistics,
    "ModelInfer": _Calls.model_infer,
}
"""Those of the data plane; `STREAM` is one too."""
ADMIN_CALLS: Final[
    dict[str, tuple[str | None, Callable[[_Calls, Any, Context, Caller], Awaitable[Any]]]]
] = {
    "RepositoryIndex": (None, _Calls.repository_index),
    "RepositoryModelLoad": ("update", _Calls.load),
    "RepositoryModelUnload": ("unload", _Calls.unload),
}
"""Those of the admin plane, with what each orders; None: it looks."""


def _header(context: Context) -> str | None:
    """The token that a call brings along, as HTTP's header."""
    return next((v for k, v in context.invocation_metadata() or () if k == "authorization"), None)


def _address(context: Context) -> str:
    """Where a call comes from: `ipv4:127.0.0.1:5000` and `ipv6:%5B::1%5D:5000` without the rest."""
    host = unquote(context.peer()).partition(":")[2].rpartition(":")[0]
    return host.strip("[]") or "unknown"


def _name_request(response: Any, request: Any) -> None:
    """Say which request of a stream an error belongs to."""
    response.id = request.id
    response.model_name = request.model_name
    if request.parameters[FINAL_ASKED].bool_param:
        response.parameters[FINAL].bool_param = True


async def _abort_refused(context: Context, model: str, outcome: OrderOutcome) -> None:
    refusal = outcome.refusal
    assert refusal is not None
    message = f"load of {model}: refused by gate {refusal.gate}: {refusal.message}"
    code = grpc.StatusCode.FAILED_PRECONDITION
    await _abort(context, code, refusal.reason, f"{message} ({refusal.reason})", later=False)
