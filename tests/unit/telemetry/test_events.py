import json

import pytest

from sightloop.telemetry.events import emit, json_sink, set_sink


def test_event_is_one_json_line_with_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    set_sink(json_sink(lambda: "now"))
    try:
        emit("release_refused", line="plate", gate="latency")
    finally:
        set_sink(None)
    out = capsys.readouterr()
    assert out.out == ""
    assert json.loads(out.err) == {
        "at": "now",
        "event": "release_refused",
        "line": "plate",
        "gate": "latency",
    }


def test_without_a_sink_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    emit("release_refused", line="plate")
    assert capsys.readouterr() == ("", "")
