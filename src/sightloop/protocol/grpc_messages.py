"""The protocol's gRPC messages, declared here by name, number and type.

They live in a descriptor pool of their own: a stock client in the same process registers the same
names in the default one. What is not declared is skipped when it comes in, as protobuf does.
Needs `protobuf`, which the extra `grpc` brings.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    json_format,
    message_factory,
)
from google.protobuf.message import DecodeError

from sightloop.errors import ProtocolError

PACKAGE: Final = "inference"
SERVICE: Final = "inference.GRPCInferenceService"

# name=number:type, with `*` before a repeated type, `map:` before a map from text to it, and
# `|` before a member of the message's one choice.
_DECLARED: Final[dict[str, str]] = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live=1:bool",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready=1:bool",
    "ModelReadyRequest": "name=1:string version=2:string",
    "ModelReadyResponse": "ready=1:bool",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name=1:string version=2:string extensions=3:*string",
    "ModelMetadataRequest": "name=1:string version=2:string",
    "TensorMetadata": "name=1:string datatype=2:string shape=3:*int64",
    "ModelMetadataResponse": "name=1:string versions=2:*string platform=3:string "
    "inputs=4:*TensorMetadata outputs=5:*TensorMetadata",
    "InferParameter": "bool_param=1:|bool int64_param=2:|int64 string_param=3:|string "
    "double_param=4:|double uint64_param=5:|uint64",
    "InferTensorContents": "bool_contents=1:*bool int_contents=2:*int32 int64_contents=3:*int64 "
    "uint_contents=4:*uint32 uint64_contents=5:*uint64 fp32_contents=6:*float "
    "fp64_contents=7:*double bytes_contents=8:*bytes",
    "InferInputTensor": "name=1:string datatype=2:string shape=3:*int64 "
    "parameters=4:map:InferParameter contents=5:InferTensorContents",
    "InferRequestedOutputTensor": "name=1:string parameters=2:map:InferParameter",
    "ModelInferRequest": "model_name=1:string model_version=2:string id=3:string "
    "parameters=4:map:InferParameter inputs=5:*InferInputTensor "
    "outputs=6:*InferRequestedOutputTensor raw_input_contents=7:*bytes",
    "InferOutputTensor": "name=1:string datatype=2:string shape=3:*int64 "
    "parameters=4:map:InferParameter contents=5:InferTensorContents",
    "ModelInferResponse": "model_name=1:string model_version=2:string id=3:string "
    "parameters=4:map:InferParameter outputs=5:*InferOutputTensor raw_output_contents=6:*bytes",
    "ModelStreamInferResponse": "error_message=1:string infer_response=2:ModelInferResponse",
    "ModelConfigRequest": "name=1:string version=2:string",
    "ModelInput": "name=1:string data_type=2:DataType dims=4:*int64 optional=8:bool",
    "ModelOutput": "name=1:string data_type=2:DataType dims=3:*int64",
    "ModelParameter": "string_value=1:string",
    "ModelConfig": "name=1:string platform=2:string max_batch_size=4:int32 input=5:*ModelInput "
    "output=6:*ModelOutput default_model_filename=8:string parameters=14:map:ModelParameter "
    "backend=17:string",
    "ModelConfigResponse": "config=1:ModelConfig",
    "ModelStatisticsRequest": "name=1:string version=2:string",
    "StatisticDuration": "count=1:uint64 ns=2:uint64",
    "InferStatistics": "success=1:StatisticDuration fail=2:StatisticDuration "
    "queue=3:StatisticDuration compute_input=4:StatisticDuration "
    "compute_infer=5:StatisticDuration compute_output=6:StatisticDuration "
    "cache_hit=7:StatisticDuration cache_miss=8:StatisticDuration",
    "InferBatchStatistics": "batch_size=1:uint64 compute_input=2:StatisticDuration "
    "compute_infer=3:StatisticDuration compute_output=4:StatisticDuration",
    "ModelStatistics": "name=1:string version=2:string last_inference=3:uint64 "
    "inference_count=4:uint64 execution_count=5:uint64 inference_stats=6:InferStatistics "
    "batch_stats=7:*InferBatchStatistics",
    "ModelStatisticsResponse": "model_stats=1:*ModelStatistics",
    "RepositoryIndexRequest": "repository_name=1:string ready=2:bool",
    "ModelIndex": "name=1:string version=2:string state=3:string reason=4:string",
    "RepositoryIndexResponse": "models=1:*ModelIndex",
    "ModelRepositoryParameter": "bool_param=1:|bool int64_param=2:|int64 string_param=3:|string "
    "bytes_param=4:|bytes",
    "RepositoryModelLoadRequest": "repository_name=1:string model_name=2:string "
    "parameters=3:map:ModelRepositoryParameter",
    "RepositoryModelLoadResponse": "",
    "RepositoryModelUnloadRequest": "repository_name=1:string model_name=2:string "
    "parameters=3:map:ModelRepositoryParameter",
    "RepositoryModelUnloadResponse": "",
    "HealthCheckRequest": "service=1:string",
    "HealthCheckResponse": "status=1:ServingStatus",
}
_ENUMS: Final[dict[str, tuple[str, ...]]] = {
    "DataType": (
        *("TYPE_INVALID", "TYPE_BOOL", "TYPE_UINT8", "TYPE_UINT16", "TYPE_UINT32", "TYPE_UINT64"),
        *("TYPE_INT8", "TYPE_INT16", "TYPE_INT32", "TYPE_INT64", "TYPE_FP16", "TYPE_FP32"),
        *("TYPE_FP64", "TYPE_STRING", "TYPE_BF16"),
    ),
    "ServingStatus": ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"),
}
MESSAGES: Final = tuple(_DECLARED)


@cache
def message_class(name: str) -> Any:
    """The class of a declared message."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


def read_message(name: str, data: bytes) -> Any:
    """Parse a message.

    Raises:
        ProtocolError: These bytes are none.
    """
    try:
        return message_class(name).FromString(data)
    except DecodeError as error:
        raise ProtocolError(f"request: expected a {name}, found: {error}") from None


def message_of(name: str, value: Mapping[str, Any]) -> Any:
    """A message of JSON values; what it does not declare is left out."""
    found = message_class(name)()
    return json_format.ParseDict(dict(value), found, ignore_unknown_fields=True)


@cache
def _pool() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="sightloop/open_inference.proto", package=PACKAGE, syntax="proto3"
    )
    for name, values in _ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    for name, fields in _DECLARED.items():
        message = file.message_type.add(name=name)
        for field in fields.split():
            _add_field(message, field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _add_field(message: Any, text: str) -> None:
    name, _, rest = text.partition("=")
    number, _, kind = rest.partition(":")
    field = message.field.add(name=name, number=int(number))
    types = descriptor_pb2.FieldDescriptorProto
    field.label = types.LABEL_OPTIONAL
    if kind.startswith("|"):
        kind = kind[1:]
        if not message.oneof_decl:
            message.oneof_decl.add(name="choice")
        field.oneof_index = 0
    elif kind.startswith("map:"):
        field.label = types.LABEL_REPEATED
        kind = _add_map_entry(message, name, kind.removeprefix("map:"))
    elif kind.startswith("*"):
        field.label = types.LABEL_REPEATED
        kind = kind[1:]
    _set_type(field, kind)


def _set_type(field: Any, kind: str) -> None:
    types = descriptor_pb2.FieldDescriptorProto
    if kind in _ENUMS:
        field.type = types.TYPE_ENUM
        field.type_name = f".{PACKAGE}.{kind}"
    elif kind.partition(".")[0] in _DECLARED:
        field.type = types.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{kind}"
    else:
        field.type = types.Type.Value(f"TYPE_{kind.upper()}")


def _add_map_entry(message: Any, name: str, kind: str) -> str:
    entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
    entry.options.map_entry = True
    _add_field(entry, "key=1:string")
    _add_field(entry, f"value=2:{kind}")
    return f"{message.name}.{entry.name}"
