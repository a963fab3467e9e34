"""The parameters of a request that decide how it is served: time and stream. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sightloop.errors import ProtocolError
from sightloop.protocol.requests import Parameter

_STREAM_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """How a request is to be served.

    Attributes:
        timeout_s: How long the answer may take; None leaves it to the server.
        stream: The camera or tracker that it belongs to.
    """

    timeout_s: float | None = None
    stream: str | None = None


def read_settings(parameters: Mapping[str, Parameter]) -> RequestSettings:
    """Read `timeout` (microseconds) and `stream`, or `sequence_id` in its place.

    Raises:
        ProtocolError: A value that cannot be meant (`request_parameter_invalid`).
    """
    timeout = parameters.get("timeout", 0)
    if type(timeout) is not int or not 0 <= timeout < 1 << 53:
        raise _invalid(f"timeout: expected microseconds, found {str(timeout)[:80]}")
    name = parameters.get("stream") or parameters.get("sequence_id") or None
    if isinstance(name, bool | float) or len(str(name)) > _STREAM_MAX:
        raise _invalid(f"stream: expected a text or number of at most {_STREAM_MAX} characters")
    return RequestSettings(
        timeout_s=timeout / 1e6 if timeout else None, stream=None if name is None else str(name)
    )


def _invalid(text: str) -> ProtocolError:
    return ProtocolError(f"parameter {text}", "request_parameter_invalid")
