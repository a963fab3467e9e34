"""Log events: one JSON object a line, keys instead of sentences.

A process sets its sink once (`set_sink`); libraries of this package only call `emit`. Without a
sink nothing is written, so importing the package never prints.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping

Sink = Callable[[Mapping[str, object]], None]

_sinks: list[Sink] = []


def set_sink(sink: Sink | None) -> None:
    """Send the process's events to `sink`; None silences them."""
    _sinks[:] = [] if sink is None else [sink]


def emit(event: str, **keys: object) -> None:
    """Report that something happened.

    Args:
        event: Snake_case name, such as `release_refused`.
        keys: JSON values; `line`, `release`, `gate`, `reason` where they apply.
    """
    for sink in _sinks:
        sink({"event": event, **keys})


def json_sink(now_text: Callable[[], str]) -> Sink:
    """A sink that writes JSON lines to standard error, with the time as `at`."""

    def write(record: Mapping[str, object]) -> None:
        line = json.dumps({"at": now_text(), **record}, ensure_ascii=False, default=str)
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    return write
