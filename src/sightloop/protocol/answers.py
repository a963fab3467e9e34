"""An inference answer: a JSON head and raw tensors, as REST's binary extension has them.

A worker writes it for every client; REST passes it on unread, gRPC reads the head and moves the
raw tensors into its own message. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sightloop.errors import ProtocolError
from sightloop.protocol.requests import BINARY_SIZE, InferRequest, Parameter
from sightloop.protocol.tensors import Tensor, to_json, to_raw

FINAL_ASKED: Final = "triton_enable_empty_final_response"
FINAL: Final = "triton_final_response"


@dataclass(frozen=True, slots=True)
class AnswerLabel:
    """Who computed an answer: line, semver and the release's digest."""

    line: str
    semver: str
    digest: str


def chosen_outputs(request: InferRequest, offered: Sequence[Tensor]) -> list[tuple[Tensor, bool]]:
    """The outputs that a request asks for, in its order, each with whether it goes raw.

    Raises:
        ProtocolError: One that is not offered for this input (`output_unknown`), or one twice.
    """
    head = request.head
    if not head.outputs:
        return [(tensor, head.all_binary) for tensor in offered]
    known = {tensor.name: tensor for tensor in offered}
    chosen: dict[str, tuple[Tensor, bool]] = {}
    for wanted in head.outputs:
        if wanted.name not in known:
            raise ProtocolError(
                f"output {wanted.name}: expected one of {', '.join(known)} for this input",
                "output_unknown",
            )
        if wanted.name in chosen:
            raise ProtocolError(f"output {wanted.name}: expected once, found twice")
        binary = head.all_binary if wanted.binary is None else wanted.binary
        chosen[wanted.name] = (known[wanted.name], binary)
    return list(chosen.values())


def write_answer(
    request: InferRequest, label: AnswerLabel, outputs: Sequence[tuple[Tensor, bool]]
) -> tuple[bytes, bytes | None]:
    """Write an answer.

    Args:
        request: What is answered; its `id` is echoed.
        label: Who answers.
        outputs: Tensors, each with whether it goes raw.

    Returns:
        The JSON head, and the raw tensors behind it; None when every output is JSON values, which
        differs from raw tensors without elements.

    Raises:
        ProtocolError: A tensor that JSON cannot hold (`output_not_json`).
    """
    raw: list[bytes] = []
    listed = []
    for tensor, binary in outputs:
        item: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype.value,
            "shape": list(tensor.shape),
        }
        if binary:
            raw.append(to_raw(tensor))
            item["parameters"] = {BINARY_SIZE: len(raw[-1])}
        else:
            item["data"] = to_json(tensor)
        listed.append(item)
    parameters: dict[str, Parameter] = {"release_digest": label.digest}
    if request.head.parameters.get(FINAL_ASKED) is True:
        parameters[FINAL] = True  # one answer a request, so each is the last
    value: dict[str, Any] = {"model_name": label.line, "model_version": label.semver}
    if request.head.id:
        value["id"] = request.head.id
    value |= {"parameters": parameters, "outputs": listed}
    body = b"".join(raw) if raw else None
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode(), body


@dataclass(frozen=True, slots=True)
class RawOutput:
    """One output of an answer whose tensors are all raw."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: memoryview


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer whose tensors are all raw."""

    model_name: str
    model_version: str
    id: str
    parameters: Mapping[str, Parameter]
    outputs: tuple[RawOutput, ...]


def read_raw_answer(head: bytes | memoryview, raw: memoryview) -> RawAnswer:
    """Read an answer of `write_answer` whose outputs all went raw."""
    value = json.loads(bytes(head))
    position, outputs = 0, []
    for item in value["outputs"]:
        end = position + item["parameters"][BINARY_SIZE]
        outputs.append(
            RawOutput(item["name"], item["datatype"], tuple(item["shape"]), raw[position:end])
        )
        position = end
    return RawAnswer(
        model_name=value["model_name"],
        model_version=value["model_version"],
        id=value.get("id", ""),
        parameters=value["parameters"],
        outputs=tuple(outputs),
    )
