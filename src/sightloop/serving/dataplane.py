"""The data plane: an image in, a worker's answer out. Knows no HTTP; REST and gRPC sit above."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from sightloop._support.clock import Clock
from sightloop.errors import ImageError, LineNotFoundError, SightloopError
from sightloop.serving.asking import Ask, Reply
from sightloop.serving.line import ServedLine
from sightloop.telemetry.metrics import ServingMetrics

_OK: Final = 200


class DataPlane:
    """Finds the line of a request, asks it, counts the outcome."""

    def __init__(
        self, lines: Mapping[str, ServedLine], *, metrics: ServingMetrics, clock: Clock
    ) -> None:
        self._lines = lines
        self._metrics = metrics
        self._clock = clock
        self._counts = {name: _LineCounts(name, metrics) for name in lines}

    @property
    def ready(self) -> bool:
        """Whether every line has somebody who answers."""
        return bool(self._lines) and all(
            line.slot.table.answering is not None for line in self._lines.values()
        )

    async def detect(
        self,
        line_name: str | None,
        image: bytes,
        *,
        stream: str | None = None,
        timeout_s: float | None = None,
    ) -> Reply:
        """Answer one image.

        Args:
            line_name: The model line; None takes the only one.
            image: JPEG or PNG bytes.
            stream: See `Ask`.
            timeout_s: See `Ask`.

        Returns:
            The worker's reply: its status and JSON body.

        Raises:
            As `ask`.
        """
        return await self.ask(line_name, Ask(image, stream=stream, timeout_s=timeout_s))

    async def ask(self, line_name: str | None, ask: Ask) -> Reply:
        """Answer one request.

        Raises:
            LineNotFoundError: No such line, or several and none named.
            ImageError: Nothing was sent.
            ServingError: Nobody could answer.
        """
        line = self.line(line_name)
        name = line.parts.name
        began_s = self._clock.monotonic_s()
        counts = self._counts[name]
        counts.pending.inc()
        try:
            if not ask.body:
                raise ImageError(
                    "request body: expected a JPEG or PNG image, found nothing", "image_empty"
                )
            reply = await line.ask(ask)
        except SightloopError as error:
            self._metrics.requests.labels(name, error.reason).inc()
            self._metrics.request_errors.labels(name, error.reason).inc()
            raise
        finally:
            counts.pending.dec()
        counts.latency.observe(self._clock.monotonic_s() - began_s)
        if reply.status == _OK:
            counts.ok.inc()
            return reply
        self._metrics.requests.labels(name, _outcome(reply)).inc()
        reason = json.loads(reply.body)["error"]["reason"]
        self._metrics.request_errors.labels(name, reason).inc()
        return reply

    def line(self, name: str | None) -> ServedLine:
        """The line of this name; None takes the only one.

        Raises:
            LineNotFoundError: No such line, or several and none named.
        """
        if name is None and len(self._lines) == 1:
            return next(iter(self._lines.values()))
        line = self._lines.get(name or "")
        if line is None:
            raise LineNotFoundError(
                f"line {name or '(none named)'}: expected one of "
                f"{', '.join(sorted(self._lines))}; name it with ?line="
            )
        return line


class _LineCounts:
    """What every request of a line is counted by, looked up once."""

    def __init__(self, name: str, metrics: ServingMetrics) -> None:
        self.pending = metrics.pending.labels(name)
        self.latency = metrics.latency.labels(name)
        self.ok = metrics.requests.labels(name, "ok")


def _outcome(reply: Reply) -> str:
    return "input_refused" if reply.status < 500 else "worker_error"
