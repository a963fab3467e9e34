from __future__ import annotations

from typing import Any

import pytest

from sightloop.errors import ProtocolError
from sightloop.protocol.settings import RequestSettings, read_settings


@pytest.mark.parametrize(
    ("parameters", "settings"),
    [
        ({}, RequestSettings()),
        ({"timeout": 0, "sequence_id": 0, "priority": 3}, RequestSettings()),
        ({"timeout": 250_000}, RequestSettings(timeout_s=0.25)),
        ({"sequence_id": 7, "sequence_start": True}, RequestSettings(stream="7")),
        ({"sequence_id": "cam-3"}, RequestSettings(stream="cam-3")),
        ({"stream": "cam-3", "sequence_id": 7}, RequestSettings(stream="cam-3")),
    ],
)
def test_time_is_microseconds_and_a_sequence_is_a_stream(
    parameters: dict[str, Any], settings: RequestSettings
) -> None:
    assert read_settings(parameters) == settings


@pytest.mark.parametrize(
    "parameters",
    [
        {"timeout": -1},
        {"timeout": 1.5},
        {"timeout": "1"},
        {"timeout": True},
        {"timeout": 1 << 60},
        {"stream": "x" * 300},
        {"stream": True},
        {"sequence_id": 1.5},
    ],
)
def test_setting_that_cannot_be_meant_is_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_settings(parameters)
    assert caught.value.reason == "request_parameter_invalid"
