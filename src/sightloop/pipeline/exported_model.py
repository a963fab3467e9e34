"""The exported network with what is needed to run it: `model.onnx` beside `contract.json`.

What the steps between training and the signed release pass on. The values are the manifest's
own, so that evaluation, calibration and the release read one contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from sightloop._support.files import write_json_atomic
from sightloop.errors import ModelContractError
from sightloop.pipeline.training.trainer import NetworkContract
from sightloop.release.manifest import MODEL_NAME, InputContract, OutputContract, Preprocess

CONTRACT_NAME: Final = "contract.json"


class ModelContractFile(BaseModel):
    """contract.json: classes, input, preprocessing and output, in the manifest's words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: tuple[str, ...]
    input: InputContract
    preprocess: Preprocess
    output: OutputContract


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """An exported network.

    Attributes:
        model: The ONNX file.
        contract: How it is to be fed and read.
    """

    model: Path
    contract: ModelContractFile


def contract_of(network: NetworkContract) -> ModelContractFile:
    """The contract of a network that a trainer exported: letterboxed input, raw output."""
    side = network.side_px
    return ModelContractFile(
        classes=network.classes,
        input=InputContract(name=network.input_name, shape=(1, 3, side, side)),
        preprocess=Preprocess(side_px=side),
        output=OutputContract(name=network.output_name, shape=network.output_shape, layout="raw"),
    )


def write_contract(folder: Path, contract: ModelContractFile) -> None:
    """Write contract.json into `folder`."""
    write_json_atomic(folder / CONTRACT_NAME, contract.model_dump(mode="json"))


def read_exported(folder: Path) -> ExportedModel:
    """Read what the step `export` made.

    Raises:
        ModelContractError: contract.json is missing or not of this form.
    """
    try:
        text = (folder / CONTRACT_NAME).read_bytes()
        contract = ModelContractFile.model_validate_json(text)
    except (OSError, ValidationError) as error:
        raise ModelContractError(
            f"{folder / CONTRACT_NAME}: expected the contract that the step `export` writes, "
            f"found: {error}; run the pipeline again"
        ) from error
    return ExportedModel(model=folder / MODEL_NAME, contract=contract)
