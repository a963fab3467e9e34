from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightloop.errors import ProtocolError
from sightloop.protocol.requests import (
    QUICK_BYTES_MAX,
    is_quickly_read,
    read_head,
    read_request,
)
from sightloop.protocol.tensors import Datatype

NUMBERS = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0]}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 1 << 40) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["id", "name", "inputs", "outputs", "datatype", "shape", "data", "parameters",
             "binary_data_size", "binary_data", "classification"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip
INPUTS = st.fixed_dictionaries(
    {"name": st.sampled_from(["x", "image"]), "datatype": st.sampled_from([*Datatype, "BF16"])},
    optional={"shape": VALUES, "data": VALUES, "parameters": VALUES},
)


def request(*inputs: dict[str, Any], raw: bytes = b"", **others: Any) -> Any:
    head = json.dumps({"inputs": list(inputs), **others}).encode()
    return read_request(head, memoryview(raw))


@given(st.binary(max_size=60), st.binary(max_size=20))
def test_any_bytes_are_refused_as_no_request(head: bytes, raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_request(head, memoryview(raw))


@given(VALUES, st.binary(max_size=20))
def test_any_json_is_a_request_or_refused_as_one(value: Any, raw: bytes) -> None:
    head = json.dumps(value).encode()
    with contextlib.suppress(ProtocolError):
        read_request(head, memoryview(raw))


@given(st.lists(INPUTS, min_size=1, max_size=2), VALUES, st.binary(max_size=20))
def test_anything_in_the_shape_of_a_request_is_one_or_refused(
    inputs: list[Any], parameters: Any, raw: bytes
) -> None:
    head = json.dumps({"inputs": inputs, "parameters": parameters}).encode()
    with contextlib.suppress(ProtocolError):
        assert len(read_request(head, memoryview(raw)).inputs) == len(inputs)


def test_binary_and_json_inputs_mix_in_their_order() -> None:
    raw = np.array([5, 6], "<i4").tobytes() + np.array([7], "<f8").tobytes()
    found = request(
        {"name": "a", "datatype": "INT32", "shape": [2], "parameters": {"binary_data_size": 8}},
        NUMBERS,
        {"name": "c", "datatype": "FP64", "shape": [1], "parameters": {"binary_data_size": 8}},
        raw=raw,
        id="7",
    )
    assert [tensor.array.tolist() for tensor in found.inputs] == [[5, 6], [1, 2], [7]]
    assert found.head.id == "7"


@pytest.mark.parametrize(
    "case",
    [
        {"raw": b"left"},
        {"outputs": [{"name": "y", "parameters": {"classification": 3}}]},
        {"outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]},
        {"outputs": [{"name": "y", "parameters": {"binary_data": "yes"}}]},
        {"outputs": [{"name": 3}]},
        {"parameters": {"timeout": [1]}},
        {"parameters": []},
        {"id": 5},
        {"id": "x" * 300},
    ],
)
def test_request_that_cannot_be_meant_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        request(NUMBERS, **case)


@pytest.mark.parametrize(
    "item",
    [
        NUMBERS | {"parameters": {"binary_data_size": 8}},
        {"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 9}},
        {"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": -1}},
        {"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": True}},
        {"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"shared_memory_region": ""}},
        {"name": "x", "datatype": "FP32", "shape": [2]},
        {"datatype": "FP32", "shape": [1], "data": [1]},
    ],
)
def test_input_that_cannot_be_meant_is_refused(item: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        request(item, raw=b"12345678")


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"inputs": [NaN]}', b'{"a": ' + b"9" * 9000])
def test_json_bombs_are_refused(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_head(text)


def test_binary_wish_is_the_outputs_own_or_the_requests() -> None:
    head = read_head(
        json.dumps(
            {
                "inputs": [NUMBERS],
                "outputs": [{"name": "a"}, {"name": "b", "parameters": {"binary_data": False}}],
                "parameters": {"binary_data_output": True},
            }
        ).encode()
    )
    assert head.all_binary
    assert [output.binary for output in head.outputs] == [None, False]


def test_image_as_base64_is_read_quickly_and_pixels_are_not() -> None:
    image = json.dumps({"inputs": [{"data": ["A" * (1 << 20)]}]}).encode()
    pixels = json.dumps({"inputs": [{"data": [0] * 10_000}]}).encode()
    assert is_quickly_read(memoryview(image))
    assert not is_quickly_read(pixels)
    assert not is_quickly_read(b" " * (QUICK_BYTES_MAX + 1))
