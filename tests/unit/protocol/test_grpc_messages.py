from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tritonclient.grpc import service_pb2

from sightloop.errors import ProtocolError
from sightloop.protocol.grpc_messages import MESSAGES, message_class, message_of, read_message

OURS_ALONE = {"HealthCheckRequest", "HealthCheckResponse"}
ROOTS = sorted(
    name for name in MESSAGES if name.endswith(("Request", "Response")) and name not in OURS_ALONE
)


def differences(ours: Any, stock: Any, seen: set[str]) -> Iterator[str]:
    """What two descriptors say differently, and what hangs below them."""
    if ours.full_name in seen:
        return
    seen.add(ours.full_name)
    for field in ours.fields:
        other = stock.fields_by_name.get(field.name)
        if other is None:
            yield f"{stock.name}.{field.name} is unknown to the stock client"
            continue
        for what in ("number", "type", "is_repeated"):
            if getattr(field, what) != getattr(other, what):
                yield f"{stock.name}.{field.name}: {what}"
        if field.message_type is not None:
            yield from differences(field.message_type, other.message_type, seen)
        if field.enum_type is not None:
            numbers = {v.name: v.number for v in other.enum_type.values}
            if any(numbers[v.name] != v.number for v in field.enum_type.values):
                yield f"{stock.name}.{field.name}: enum"


@pytest.mark.parametrize("name", ROOTS)
def test_declared_fields_are_those_of_the_stock_client(name: str) -> None:
    stock = service_pb2.DESCRIPTOR.message_types_by_name[name]
    assert list(differences(message_class(name).DESCRIPTOR, stock, set())) == []


@pytest.mark.parametrize("name", ["ModelInferRequest", "ModelInferResponse"])
def test_inference_messages_are_declared_whole(name: str) -> None:
    stock = service_pb2.DESCRIPTOR.message_types_by_name[name]
    assert set(message_class(name).DESCRIPTOR.fields_by_name) == set(stock.fields_by_name)


def test_stock_message_is_read_and_ours_is_read_by_it() -> None:
    stock = service_pb2.ModelInferRequest(model_name="plate", raw_input_contents=[b"\1\2"])
    stock.parameters["timeout"].int64_param = 7
    ours = read_message("ModelInferRequest", stock.SerializeToString())
    assert ours.model_name == "plate"
    assert ours.parameters["timeout"].WhichOneof("choice") == "int64_param"
    assert service_pb2.ModelInferRequest.FromString(ours.SerializeToString()) == stock


def test_bytes_that_are_no_message_are_refused() -> None:
    with pytest.raises(ProtocolError):
        read_message("ModelInferRequest", b"\xff\xff\xff")


def test_json_values_become_a_message_and_strange_ones_are_left_out() -> None:
    found = message_of("ServerMetadataResponse", {"name": "x", "extensions": ["a"], "strange": 1})
    assert (found.name, list(found.extensions)) == ("x", ["a"])
