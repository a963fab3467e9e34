"""What a line is asked and what comes back: plain data between planes, line and workers."""

from __future__ import annotations

from dataclasses import dataclass

from sightloop.serving.wire import NO_TIMES, Kind, StageTimes


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to a line.

    Attributes:
        body: The bytes that a worker gets: an image for DETECT, tensors for INFER.
        kind: DETECT or INFER.
        stream: Camera or tracker that this frame belongs to: its frames change release only
            between frames, once. None: no stream.
        timeout_s: How long the answer may take; never more than `serve.request_timeout_s`.
        digest: The release that must answer; None takes the champion.
    """

    body: bytes
    kind: Kind = Kind.DETECT
    stream: str | None = None
    timeout_s: float | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A worker's answer, passed on unread.

    Attributes:
        status: As HTTP has it.
        body: JSON for DETECT; for INFER what `infer.py` says.
        times: What the parts took in the worker.
    """

    status: int
    body: bytes
    times: StageTimes = NO_TIMES
