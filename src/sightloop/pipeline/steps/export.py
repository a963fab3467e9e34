"""The step `export`: the checkpoint's network as an ONNX file with its contract.

Reads `training`; writes the folder `model`: model.onnx (raw layout, fixed shape, batch of one)
and contract.json. The classes come from the checkpoint, so that no later list can disagree.
"""

from __future__ import annotations

from sightloop.errors import ModelContractError
from sightloop.pipeline.context import StepContext
from sightloop.pipeline.exported_model import contract_of, write_contract
from sightloop.pipeline.training.results import read_results
from sightloop.pipeline.training.trainer import CHECKPOINT_NAME, Trainer
from sightloop.pipeline.training.trainer_process import trainer_process
from sightloop.release.manifest import MODEL_NAME
from sightloop.runtime.onnx_backend import open_onnx


def run(context: StepContext) -> None:
    """Export with the trainer that trained."""
    trainer = read_results(context.inputs["training"]).trainer
    with context.scratch() as scratch:
        export_with(context, trainer_process(trainer, scratch))


def export_with(context: StepContext, trainer: Trainer) -> None:
    """Export with a given trainer, and hold the file against what the trainer says of it.

    Raises:
        TrainerError: The export failed.
        ModelLoadError: The runtime cannot load the file.
        ModelContractError: The file's names or shapes are not those stated.
    """
    training, output = context.inputs["training"], context.outputs["model"]
    results = read_results(training)
    output.mkdir(parents=True, exist_ok=True)
    model = output / MODEL_NAME
    network = trainer.export(training / CHECKPOINT_NAME, model, side_px=context.integer("side_px"))
    contract = contract_of(network)
    backend = open_onnx(model)
    found = backend.contract
    backend.close()
    stated = (
        contract.input.name,
        contract.input.shape,
        contract.output.name,
        contract.output.shape,
    )
    read = (found.input_name, found.input_shape, found.output_name, found.output_shape)
    if stated != read or contract.classes != results.classes:
        raise ModelContractError(
            f"exported model: expected {stated} and classes {results.classes}, found {read} and "
            f"{contract.classes}"
        )
    write_contract(output, contract)
    context.report(1.0, f"{model.stat().st_size / 1e6:.1f} MB")
