"""An inference request: a JSON head, and the raw tensors behind it in the order of its inputs.

The same form comes from REST's binary extension, from plain JSON (nothing behind the head) and
from gRPC (the front writes the head). Pure: bytes to values, and a `ProtocolError` for all others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sightloop.errors import ProtocolError
from sightloop.protocol.tensors import Tensor, from_json, from_raw, read_datatype, read_shape

BINARY_SIZE: Final = "binary_data_size"
BINARY: Final = "binary_data"
ALL_BINARY: Final = "binary_data_output"
QUICK_BYTES_MAX: Final = 2 << 20
QUICK_VALUES_MAX: Final = 8192
_TENSORS_MAX: Final = 64
_NAME_MAX: Final = 256
_NOT_OFFERED: Final = frozenset(
    {"shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"}
)
Parameter = str | int | float | bool


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """An output that the client names.

    Attributes:
        binary: Raw bytes instead of JSON values; None leaves it to the request.
    """

    name: str
    binary: bool | None


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What stands in the head, tensors not yet read."""

    id: str
    parameters: Mapping[str, Parameter]
    inputs: tuple[Mapping[str, Any], ...]
    outputs: tuple[WantedOutput, ...]

    @property
    def all_binary(self) -> bool:
        """Whether outputs that do not say otherwise are raw bytes."""
        return self.parameters.get(ALL_BINARY) is True


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A whole request."""

    head: RequestHead
    inputs: tuple[Tensor, ...]


def is_quickly_read(head: bytes | memoryview) -> bool:
    """Whether the JSON can be read in about a millisecond: an image as base64 can, pixels cannot.

    What takes its time is the number of values, and each but the first has a comma before it.
    """
    return len(head) <= QUICK_BYTES_MAX and bytes(head).count(b",") <= QUICK_VALUES_MAX


def read_json(data: bytes | memoryview) -> Any:
    """Strict JSON: no NaN, nothing too deep.

    Raises:
        ProtocolError: Something else.
    """
    try:
        return json.loads(bytes(data), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"request: expected JSON, found: {error}") from None


def read_head(data: bytes | memoryview) -> RequestHead:
    """Read the head of an inference request.

    Raises:
        ProtocolError: Not the head of one (`request_malformed`, `request_parameter_invalid`).
    """
    value = read_json(data)
    if not isinstance(value, dict):
        raise ProtocolError(f"request: expected a JSON object, found {type(value).__name__}")
    inputs = _objects(value.get("inputs"), "inputs")
    if not inputs:
        raise ProtocolError("request: inputs: expected at least one, found none")
    return RequestHead(
        id=_text(value.get("id", ""), "id"),
        parameters=read_parameters(value.get("parameters")),
        inputs=inputs,
        outputs=tuple(_wanted(item) for item in _objects(value.get("outputs", []), "outputs")),
    )


def read_request(head_bytes: bytes | memoryview, raw: memoryview) -> InferRequest:
    """Read a whole request.

    Args:
        head_bytes: The JSON.
        raw: What stands behind it; the tensors share its memory.

    Raises:
        ProtocolError: Malformed, or bytes left or missing.
    """
    head = read_head(head_bytes)
    position, tensors = 0, []
    for item in head.inputs:
        tensor, position = _read_input(item, raw, position)
        tensors.append(tensor)
    if position != len(raw):
        raise ProtocolError(
            f"request: expected {position} bytes of tensors behind the JSON, found {len(raw)}"
        )
    return InferRequest(head, tuple(tensors))


def read_parameters(value: object) -> dict[str, Parameter]:
    """Parameters: an object of texts, numbers and booleans.

    Raises:
        ProtocolError: Something else (`request_parameter_invalid`).
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ProtocolError(
            "parameters: expected an object, found another", "request_parameter_invalid"
        )
    for key, item in value.items():
        if not isinstance(item, str | int | float):
            raise ProtocolError(
                f"parameter {key[:80]}: expected a text, number or boolean, found "
                f"{type(item).__name__}",
                "request_parameter_invalid",
            )
    return value


def _read_input(item: Mapping[str, Any], raw: memoryview, position: int) -> tuple[Tensor, int]:
    name = _text(item.get("name"), "inputs.name")
    datatype = read_datatype(item.get("datatype"), name)
    shape = read_shape(item.get("shape"), name)
    parameters = read_parameters(item.get("parameters"))
    _refuse_shared_memory(name, parameters)
    size = parameters.get(BINARY_SIZE)
    if size is None:
        return from_json(name, datatype, shape, item.get("data")), position
    if type(size) is not int or not 0 <= size <= len(raw) - position:
        raise ProtocolError(
            f"input {name}: {BINARY_SIZE}: expected 0 to {len(raw) - position} bytes, found {size}"
        )
    if "data" in item:
        raise ProtocolError(f"input {name}: expected data or {BINARY_SIZE}, found both")
    end = position + size
    return from_raw(name, datatype, shape, raw[position:end]), end


def _wanted(item: Mapping[str, Any]) -> WantedOutput:
    name = _text(item.get("name"), "outputs.name")
    parameters = read_parameters(item.get("parameters"))
    _refuse_shared_memory(name, parameters)
    if parameters.get("classification"):
        raise ProtocolError(
            f"output {name}: classification is not offered; read scores and labels",
            "request_parameter_invalid",
        )
    binary = parameters.get(BINARY)
    if binary is not None and not isinstance(binary, bool):
        raise ProtocolError(
            f"output {name}: {BINARY}: expected true or false, found {str(binary)[:80]}",
            "request_parameter_invalid",
        )
    return WantedOutput(name, binary)


def _refuse_shared_memory(name: str, parameters: Mapping[str, Parameter]) -> None:
    if _NOT_OFFERED & set(parameters):
        raise ProtocolError(
            f"tensor {name}: shared memory is not offered; send and take the bytes themselves",
            "request_parameter_invalid",
        )


def _objects(value: object, where: str) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ProtocolError(f"request: {where}: expected a list of objects, found another")
    if len(value) > _TENSORS_MAX:
        raise ProtocolError(
            f"request: {where}: expected at most {_TENSORS_MAX}, found {len(value)}"
        )
    return tuple(value)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or len(value) > _NAME_MAX:
        raise ProtocolError(
            f"request: {where}: expected a text of at most {_NAME_MAX} characters, found another"
        )
    return value


def _no_constant(word: str) -> None:
    raise ValueError(f"{word}, which JSON has not")
