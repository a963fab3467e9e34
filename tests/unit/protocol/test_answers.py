from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from sightloop.errors import ProtocolError
from sightloop.protocol.answers import (
    AnswerLabel,
    chosen_outputs,
    read_raw_answer,
    write_answer,
)
from sightloop.protocol.requests import InferRequest, read_request
from sightloop.protocol.tensors import array_tensor, bytes_tensor

LABEL = AnswerLabel("plate", "1.2.0", "ab" * 32)
SCORES = array_tensor("scores", np.array([0.5, 0.25], np.float32))
NAMES = bytes_tensor("names", [b"pit", b"spot"])


def request(**others: Any) -> InferRequest:
    inputs = [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]
    return read_request(json.dumps({"inputs": inputs, **others}).encode(), memoryview(b""))


def answer(asked: InferRequest) -> tuple[Any, bytes | None]:
    head, raw = write_answer(asked, LABEL, chosen_outputs(asked, [SCORES, NAMES]))
    return json.loads(head), raw


def test_answer_says_who_computed_it_and_echoes_the_id() -> None:
    value, raw = answer(request(id="42"))
    assert (value["model_name"], value["model_version"], value["id"]) == ("plate", "1.2.0", "42")
    assert value["parameters"] == {"release_digest": "ab" * 32}
    assert [output["data"] for output in value["outputs"]] == [[0.5, 0.25], ["pit", "spot"]]
    assert raw is None


def test_raw_answer_is_read_back_as_it_was_written() -> None:
    asked = request(id="1", parameters={"binary_data_output": True})
    head, raw = write_answer(asked, LABEL, chosen_outputs(asked, [SCORES, NAMES]))
    assert raw is not None
    found = read_raw_answer(head, memoryview(raw))
    assert (found.model_version, found.id, found.parameters) == (
        "1.2.0", "1", {"release_digest": LABEL.digest},
    )  # fmt: skip
    assert [output.name for output in found.outputs] == ["scores", "names"]
    assert bytes(found.outputs[0].data) == SCORES.array.tobytes()
    assert bytes(found.outputs[1].data) == b"\3\0\0\0pit\4\0\0\0spot"


def test_each_output_goes_as_it_asks() -> None:
    outputs = [{"name": "names", "parameters": {"binary_data": False}}, {"name": "scores"}]
    value, raw = answer(request(outputs=outputs, parameters={"binary_data_output": True}))
    assert [output["name"] for output in value["outputs"]] == ["names", "scores"]
    assert value["outputs"][0]["data"] == ["pit", "spot"]
    assert value["outputs"][1]["parameters"] == {"binary_data_size": 8}
    assert raw == SCORES.array.tobytes()


def test_output_that_is_not_offered_is_refused() -> None:
    with pytest.raises(ProtocolError) as caught:
        answer(request(outputs=[{"name": "depth"}]))
    assert caught.value.reason == "output_unknown"
    with pytest.raises(ProtocolError, match="twice"):
        answer(request(outputs=[{"name": "scores"}, {"name": "scores"}]))


def test_number_that_json_has_not_goes_binary_or_not_at_all() -> None:
    broken = array_tensor("scores", np.array([np.nan], np.float32))
    asked = request()
    with pytest.raises(ProtocolError) as caught:
        write_answer(asked, LABEL, [(broken, False)])
    assert caught.value.reason == "output_not_json"
    assert write_answer(asked, LABEL, [(broken, True)])[1] == broken.array.tobytes()


def test_last_answer_is_marked_for_who_asks() -> None:
    value, _ = answer(request(parameters={"triton_enable_empty_final_response": True}))
    assert value["parameters"]["triton_final_response"] is True
