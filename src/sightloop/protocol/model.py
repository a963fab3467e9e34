"""What a model line says of itself: its tensors as metadata, and as Triton's model configuration.

Pure: a manifest in, JSON values out. REST sends them as they are, gRPC as messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sightloop.protocol.tensors import Datatype
from sightloop.release.manifest import Manifest

PLATFORM: Final = "onnxruntime_onnx"
BACKEND: Final = "onnxruntime"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, datatype and shape of a tensor; -1 is a size that varies."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]


IMAGE_INPUT: Final = TensorSpec("image", Datatype.BYTES, (1,))
FRAME_INPUT: Final = TensorSpec("frame", Datatype.UINT8, (-1, -1, 3))
DETECTIONS: Final = (
    TensorSpec("boxes", Datatype.FP32, (-1, 4)),
    TensorSpec("scores", Datatype.FP32, (-1,)),
    TensorSpec("labels", Datatype.INT64, (-1,)),
    TensorSpec("label_names", Datatype.BYTES, (-1,)),
)


def inputs_of(manifest: Manifest) -> tuple[TensorSpec, ...]:
    """What a request may give: one of these."""
    network = TensorSpec(manifest.input.name, Datatype.FP32, tuple(manifest.input.shape))
    return (IMAGE_INPUT, FRAME_INPUT, network)


def outputs_of(manifest: Manifest) -> tuple[TensorSpec, ...]:
    """What may come back: the last for the network's own input, the others for images."""
    raw = TensorSpec(manifest.output.name, Datatype.FP32, tuple(manifest.output.shape))
    return (*DETECTIONS, raw)


def metadata_of(manifest: Manifest, versions: Sequence[str]) -> dict[str, Any]:
    """The protocol's model metadata."""
    return {
        "name": manifest.line,
        "versions": list(versions),
        "platform": PLATFORM,
        "inputs": [_as_metadata(spec) for spec in inputs_of(manifest)],
        "outputs": [_as_metadata(spec) for spec in outputs_of(manifest)],
    }


def config_of(manifest: Manifest, digest: str) -> dict[str, Any]:
    """Triton's model configuration, as far as it says something true of a line.

    Every input is optional, since a request gives one of them.
    """
    return {
        "name": manifest.line,
        "platform": PLATFORM,
        "backend": BACKEND,
        "max_batch_size": 0,
        "input": [_as_config(spec) | {"optional": True} for spec in inputs_of(manifest)],
        "output": [_as_config(spec) for spec in outputs_of(manifest)],
        "default_model_filename": "model.onnx",
        "parameters": {
            "semver": {"string_value": manifest.semver},
            "release_digest": {"string_value": digest},
            "score_threshold": {"string_value": repr(manifest.thresholds.score)},
        },
    }


def _as_metadata(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype.value, "shape": list(spec.shape)}


def _as_config(spec: TensorSpec) -> dict[str, Any]:
    word = "STRING" if spec.datatype is Datatype.BYTES else spec.datatype.value
    return {"name": spec.name, "data_type": f"TYPE_{word}", "dims": list(spec.shape)}
