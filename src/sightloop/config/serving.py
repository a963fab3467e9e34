"""Settings of a serving process: default < sightloop.toml < SIGHTLOOP_* < flag."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from sightloop.config.fault_text import fault_text
from sightloop.errors import ConfigError

_PREFIX = "SIGHTLOOP_SERVE_"
Positive = Annotated[float, Field(gt=0)]


class ServingConfig(BaseModel):
    """The frozen settings of one server."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port to listen on; 0 takes a free one."""
    grpc_port: Annotated[int, Field(ge=-1, le=65535)] | None = None
    """Port of gRPC: 0 takes a free one, -1 none; not given, the one after `port`."""
    tls_cert: str = ""
    """PEM file with the certificate and its chain; with it HTTP and gRPC are encrypted."""
    tls_key: str = ""
    """PEM file with the certificate's private key."""
    insecure: bool = False
    """Listen without TLS where other machines can reach it: something in front encrypts."""
    token: Annotated[SecretStr, Field(min_length=32)] | None = None
    """A token with the role operate, for machines without a file of tokens; from the environment
    alone."""
    data_token: bool = False
    """Ask for a token on the data plane too."""
    metrics_open: bool = False
    """Ask nobody for a token at /metrics."""
    bundle_folders: list[str] = []
    """Folders below which an order may name a bundle; none named: anywhere where only this machine
    can order, the workspace elsewhere."""
    admin_calls_per_s: Positive = 100.0
    """Calls to the admin plane from one address; twice as many at once."""
    connections_max: Annotated[int, Field(ge=1)] = 1000
    """Connections that may be open; a request on one more gets 503."""
    head_bytes_max: Annotated[int, Field(ge=1024)] = 32 << 10
    """Largest address and headers of a request."""
    head_timeout_s: Positive = 10.0
    """How long they may take to come."""
    body_timeout_s: Positive = 30.0
    """How long a request's body may take to come."""
    workers: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = 1
    """Worker processes of each release; "auto" takes workers and threads that were measured."""
    tune_for: Literal["latency", "throughput"] = "latency"
    """What "auto" is to be best at."""
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    """Intra-op threads of a worker."""
    provider: Literal["cpu", "cuda", "tensorrt", "openvino", "torch"] = "cpu"
    """What runs the networks; one that is not there is refused, never replaced by the CPU."""
    device_id: Annotated[int, Field(ge=0)] = 0
    """Which GPU, counted as CUDA counts."""
    gpu_memory_max_mib: Annotated[int, Field(ge=0)] = 0
    """GPU memory that ONNX Runtime's arena of one worker may take; 0: no bound."""
    openvino_device: Annotated[str, Field(pattern=r"^[A-Z]+([.:][A-Z0-9.,]+)?$")] = "CPU"
    """OpenVINO's name of its device, such as `CPU`, `GPU.0` or `AUTO:GPU,CPU`."""
    torch_device: Literal["cuda", "cpu"] = "cuda"
    """Where the provider `torch` runs."""
    engine_cache: str = ""
    """Folder of compiled engines; empty: `engines` in the workspace."""
    build_timeout_s: Positive = 1800.0
    """How long compiling an engine may take (state BUILDING); no other limit runs meanwhile."""
    batch_max: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = "auto"
    """Most frames that a worker runs together, of those that wait anyway, where the release's
    network takes several; auto: 8 on a GPU, 1 on a CPU."""
    batch_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """How long a worker waits for a batch to fill; 0: it takes what is there."""
    weights: dict[str, Positive] = {}
    """Share of the machine by model line, where all want more than there is; 1.0 if not named."""
    body_bytes_max: Annotated[int, Field(ge=1024)] = 32 << 20
    """Largest request body."""
    open_bytes_max: Annotated[int, Field(ge=1024)] = 512 << 20
    """Bytes of the bodies of all open requests together; half of it is parted evenly among
    `connections_max`, and a body within its part is never refused for the others'."""
    pixels_max: Annotated[int, Field(ge=1024)] = 50_000_000
    """Largest image, width times height, read from its header before it is decoded."""
    pending_max: Annotated[int, Field(ge=1)] = 64
    """Requests of a line that may be open; one more is refused at once."""
    pending_bytes_max: Annotated[int, Field(ge=1024)] = 256 << 20
    """Bytes of a line's requests that may wait for a worker."""
    streams_max: Annotated[int, Field(ge=1)] = 4096
    """Streams of a line whose release is remembered."""
    request_timeout_s: Positive = 10.0
    """How long a request may wait for its answer, recovery of a dead worker included; a worker that
    holds one longer is replaced."""
    candidate_timeout_s: Positive = 120.0
    """How long a candidate may take from the order to READY before it is killed."""
    candidate_memory_max_mib: Annotated[int, Field(ge=0)] = 4096
    """Memory that a candidate may take until it is READY, the champion's copy that it is compared
    with included; at most half of what is free; 0: no bound."""
    standby_delay_s: Annotated[float, Field(ge=0)] = 0.3
    """Pause after a switch before the next standby is forked: keeps the fork off the frames."""
    retire_delay_s: Annotated[float, Field(ge=0)] = 0.5
    """Pause between a release's last lease and the end of its worker."""
    stop_timeout_s: Positive = 5.0
    """How long a worker may take to end when told to, before it is killed."""
    latency_ratio_max: Positive = 1.5
    """Largest CPU time per frame of a candidate, as a multiple of the champion's."""

    @property
    def grpc_port_meant(self) -> int:
        """The port of gRPC, as `grpc_port` and `port` say together."""
        if self.grpc_port is not None:
            return self.grpc_port
        return min(self.port + 1, 65535) if self.port else 0

    @field_validator("weights", "bundle_folders", mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        """An environment variable holds a table as JSON."""
        return json.loads(value) if isinstance(value, str) else value


def load_serving_config(
    *, file: Path | None, flags: Mapping[str, object], environment: Mapping[str, str] | None = None
) -> ServingConfig:
    """Resolve the settings once.

    Args:
        file: A `sightloop.toml`; its table `[serve]` counts. None: no file.
        flags: What the command line set; None values do not count.
        environment: Stands for the process's environment in tests.

    Raises:
        ConfigError: Unreadable file, unknown key, impossible value.
    """
    values: dict[str, object] = {}
    if file is not None:
        values.update(_read_table(file))
        if "token" in values:
            raise ConfigError(
                f"settings file {file}: expected no serve.token, since the secret would lie there "
                f"to be read; set {_PREFIX}TOKEN, or make a token with `sightloop token create`",
                "token_in_file",
            )
    for name, text in (os.environ if environment is None else environment).items():
        if name.startswith(_PREFIX):
            values[name.removeprefix(_PREFIX).lower()] = text
    values.update({key: value for key, value in flags.items() if value is not None})
    try:
        return ServingConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        shown = _secret_shown if first["loc"] == ("token",) else repr
        said = fault_text(first, prefix="serve.", shown=shown)
        raise ConfigError(f"setting {said}; see docs/reference/config.md") from error


def _secret_shown(value: object) -> str:
    return f"{len(str(value))} characters"


def _read_table(file: Path) -> dict[str, object]:
    try:
        with open(file, "rb") as stream:
            tables = tomllib.load(stream)
    except (OSError, tomllib.TOMLDecodeError) as error:
        found = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"settings file {file}: expected readable TOML, found: {found}; correct it or name "
            "another with --config"
        ) from error
    if unknown := sorted(tables.keys() - {"serve"}):
        raise ConfigError(
            f"settings file {file}: expected the table [serve] alone, found {', '.join(unknown)}; "
            "correct the name or remove it"
        )
    table = tables.get("serve", {})
    if not isinstance(table, dict):
        raise ConfigError(f"settings file {file}: expected a table [serve], found {table!r}")
    return dict(table)
