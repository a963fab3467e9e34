from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightloop.errors import ProtocolError
from sightloop.protocol.answers import AnswerLabel, chosen_outputs, write_answer
from sightloop.protocol.envelope import join_answer, split_answer
from sightloop.protocol.grpc_form import answer_message, repository_parameters, request_parts
from sightloop.protocol.grpc_messages import message_class, read_message
from sightloop.protocol.requests import read_request
from sightloop.protocol.tensors import array_tensor

REQUEST = message_class("ModelInferRequest")


def message(datatype: str = "FP32", count: int = 2, **contents: Any) -> Any:
    found = REQUEST(id="7")
    item = found.inputs.add(name="x", datatype=datatype, shape=[count])
    for name, values in contents.items():
        getattr(item.contents, name).extend(values)
    return found


def tensor_of(found: Any) -> Any:
    head, raw = request_parts(found)
    (tensor,) = read_request(head, memoryview(raw)).inputs
    return tensor


@pytest.mark.parametrize(
    ("datatype", "name", "values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-128, 127]),
        ("INT32", "int_contents", [-5, 7]),
        ("INT64", "int64_contents", [-(1 << 62), 7]),
        ("UINT8", "uint_contents", [0, 255]),
        ("UINT64", "uint64_contents", [0, (1 << 64) - 1]),
        ("FP32", "fp32_contents", [0.5, -2.0]),
        ("FP64", "fp64_contents", [0.1, 1e300]),
    ],
)
def test_typed_contents_come_out_as_they_went_in(
    datatype: str, name: str, values: list[Any]
) -> None:
    assert tensor_of(message(datatype, 2, **{name: values})).array.tolist() == values


def test_bytes_come_typed_or_raw() -> None:
    typed = message("BYTES", bytes_contents=[b"a", b""])
    assert tensor_of(typed).elements == (b"a", b"")
    raw = message("BYTES", 1)
    raw.raw_input_contents.append(b"\2\0\0\0hi")
    assert tensor_of(raw).elements == (b"hi",)


def test_head_asks_for_raw_outputs_and_keeps_id_and_parameters() -> None:
    found = message(fp32_contents=[1, 2])
    found.parameters["timeout"].int64_param = 9
    found.parameters["priority"].uint64_param = 3
    found.outputs.add(name="y").parameters["binary_data"].bool_param = False
    head = read_request(*_viewed(request_parts(found))).head
    assert head.id == "7"
    assert head.all_binary
    assert head.parameters["timeout"] == 9
    assert [output.binary for output in head.outputs] == [True]


def _viewed(parts: tuple[bytes, bytes]) -> tuple[bytes, memoryview]:
    return parts[0], memoryview(parts[1])


@pytest.mark.parametrize(
    "case",
    [
        message("INT8", int_contents=[128, 0]),
        message("UINT8", uint_contents=[256, 0]),
        message("FP16", fp32_contents=[1, 2]),
        message("FP32", int_contents=[1, 2]),
        message("FP32", fp32_contents=[1, 2], int_contents=[1]),
        message("BF16", fp32_contents=[1, 2]),
    ],
)
def test_contents_of_another_kind_are_refused(case: Any) -> None:
    with pytest.raises(ProtocolError) as caught:
        request_parts(case)
    assert caught.value.reason == "tensor_invalid"


def test_raw_contents_are_one_an_input_and_alone() -> None:
    both = message(fp32_contents=[1, 2])
    both.raw_input_contents.append(bytes(8))
    two = message()
    two.raw_input_contents.extend([bytes(8), bytes(8)])
    for case in (both, two):
        with pytest.raises(ProtocolError):
            request_parts(case)


def test_parameter_without_a_value_is_refused() -> None:
    found = message(fp32_contents=[1, 2])
    found.parameters["empty"].SetInParent()
    with pytest.raises(ProtocolError, match="empty"):
        request_parts(found)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused_as_one(data: bytes) -> None:
    try:
        request_parts(read_message("ModelInferRequest", data))
    except ProtocolError:
        return


def test_answer_keeps_label_and_raw_tensors() -> None:
    asked = read_request(*_viewed(request_parts(message(fp32_contents=[1, 2]))))
    scores = array_tensor("scores", np.array([0.5], np.float32))
    label = AnswerLabel("plate", "1.2.0", "ab" * 32)
    head, raw = write_answer(asked, label, chosen_outputs(asked, [scores]))
    found = answer_message(split_answer(join_answer(label.digest, head, raw)))
    assert (found.model_name, found.model_version, found.id) == ("plate", "1.2.0", "7")
    assert found.parameters["release_digest"].string_param == label.digest
    assert found.outputs[0].name == "scores"
    assert list(found.outputs[0].shape) == [1]
    assert found.raw_output_contents[0] == scores.array.tobytes()
    assert json.loads(head)["id"] == "7"


def test_parameters_of_a_load_are_plain_values() -> None:
    found = message_class("RepositoryModelLoadRequest")(model_name="plate")
    found.parameters["config"].string_param = "{}"
    found.parameters["file:1/model.onnx"].bytes_param = b"x"
    assert repository_parameters(found) == {"config": "{}", "file:1/model.onnx": b"x"}
