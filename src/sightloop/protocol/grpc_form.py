"""Between gRPC messages and the form that a worker reads and writes: a JSON head and raw tensors.

Tensors are moved, not computed with. Answers always go as `raw_output_contents`, which is all that
the stock client reads.
"""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np

from sightloop.errors import ProtocolError
from sightloop.protocol.answers import read_raw_answer
from sightloop.protocol.envelope import AnswerParts
from sightloop.protocol.grpc_messages import message_class
from sightloop.protocol.requests import ALL_BINARY, BINARY, BINARY_SIZE, Parameter
from sightloop.protocol.tensors import DTYPES, Datatype, bytes_tensor, read_datatype, to_raw

_CONTENTS: Final[dict[Datatype, str]] = {
    Datatype.BOOL: "bool_contents",
    Datatype.INT8: "int_contents",
    Datatype.INT16: "int_contents",
    Datatype.INT32: "int_contents",
    Datatype.INT64: "int64_contents",
    Datatype.UINT8: "uint_contents",
    Datatype.UINT16: "uint_contents",
    Datatype.UINT32: "uint_contents",
    Datatype.UINT64: "uint64_contents",
    Datatype.FP32: "fp32_contents",
    Datatype.FP64: "fp64_contents",
    Datatype.BYTES: "bytes_contents",
}
_AS_ON_THE_WIRE: Final = frozenset({Datatype.FP32, Datatype.FP64})
"""Packed as raw tensors are, so they need no walk over a million numbers."""


def request_parts(message: Any) -> tuple[bytes, bytes]:
    """Head and raw tensors of a ModelInferRequest.

    Raises:
        ProtocolError: Contents that fit neither inputs nor datatypes.
    """
    raws = message.raw_input_contents
    if raws and len(raws) != len(message.inputs):
        raise ProtocolError(
            f"request: raw_input_contents: expected {len(message.inputs)}, one an input, found "
            f"{len(raws)}"
        )
    inputs, tensors = [], []
    for index, item in enumerate(message.inputs):
        if raws and item.HasField("contents"):
            raise ProtocolError(f"input {item.name}: expected raw contents or typed, found both")
        raw = raws[index] if raws else _typed_contents(item)
        tensors.append(raw)
        parameters = _parameters(item.parameters) | {BINARY_SIZE: len(raw)}
        inputs.append(
            {
                "name": item.name,
                "datatype": item.datatype,
                "shape": list(item.shape),
                "parameters": parameters,
            }
        )
    outputs = [
        {"name": item.name, "parameters": _parameters(item.parameters) | {BINARY: True}}
        for item in message.outputs
    ]
    head = {
        "id": message.id,
        "parameters": _parameters(message.parameters) | {ALL_BINARY: True},
        "inputs": inputs,
        "outputs": outputs,
    }
    return json.dumps(head).encode(), b"".join(tensors)


def answer_message(parts: AnswerParts) -> Any:
    """A worker's answer as a ModelInferResponse."""
    found = read_raw_answer(parts.head, parts.raw or memoryview(b""))
    message = message_class("ModelInferResponse")(
        model_name=found.model_name, model_version=found.model_version, id=found.id
    )
    for key, value in found.parameters.items():
        if isinstance(value, bool):
            message.parameters[key].bool_param = value
        else:
            message.parameters[key].string_param = str(value)
    for output in found.outputs:
        message.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        message.raw_output_contents.append(bytes(output.data))
    return message


def repository_parameters(message: Any) -> dict[str, Any]:
    """The parameters of a load or unload as plain values."""
    return {key: _chosen(key, value) for key, value in message.parameters.items()}


def _parameters(found: Any) -> dict[str, Parameter]:
    return {key: _chosen(key, value) for key, value in found.items()}


def _chosen(key: str, value: Any) -> Any:
    choice = value.WhichOneof("choice")
    if choice is None:
        raise ProtocolError(
            f"parameter {key[:80]}: expected a value, found none", "request_parameter_invalid"
        )
    return getattr(value, choice)


def _typed_contents(item: Any) -> bytes:
    datatype = read_datatype(item.datatype, item.name)
    name = _CONTENTS.get(datatype)
    fields = [field.name for field, _ in item.contents.ListFields()]
    if name is None or fields not in ([name], []):
        raise _invalid(item, f"expected {name or 'raw contents'} for {datatype}, found {fields}")
    values = getattr(item.contents, name)
    if datatype is Datatype.BYTES:
        return to_raw(bytes_tensor(item.name, values))
    dtype = DTYPES[datatype]
    if datatype in _AS_ON_THE_WIRE:
        size = len(values) * dtype.itemsize
        return bytes(item.contents.SerializeToString()[-size:]) if size else b""
    wide = np.fromiter(values, np.uint64 if dtype.kind == "u" else np.int64, count=len(values))
    narrow = wide.astype(dtype)
    if not np.array_equal(narrow, wide):
        raise _invalid(item, f"expected {datatype}, found a value beyond it")
    return narrow.tobytes()


def _invalid(item: Any, text: str) -> ProtocolError:
    return ProtocolError(f"tensor {item.name[:80]}: contents: {text}", "tensor_invalid")
