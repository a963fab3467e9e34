"""A candidate and its parent on the candidate's test split: what the gate `quality` judges.

Both exported files run here, through the server's own code, each at its own operating threshold
and with its own preprocessing; what was lost is drawn into the run's folder. Which images count is
pinned by the candidate's dataset version; whether the parent was trained on some of them is not
known here.
"""

from __future__ import annotations

from sightloop.dataset.copying import read_copy
from sightloop.gates.quality import (
    Answers,
    LabelledSet,
    OnInconclusive,
    QualityJudgement,
    QualityPolicy,
    check_quality,
)
from sightloop.pipeline.comparison import FOLDER_NAME, Side, write_comparison
from sightloop.pipeline.context import Report, StepContext
from sightloop.pipeline.evaluation import Evaluation, evaluate_items
from sightloop.pipeline.exported_model import ExportedModel, ModelContractFile
from sightloop.pipeline.steps.evaluate import SPLIT, slices_of
from sightloop.release.bundle import Bundle
from sightloop.release.manifest import MODEL_NAME
from sightloop.runtime.onnx_backend import open_onnx


def compare_with_parent(
    context: StepContext, exported: ExportedModel, parent: Bundle
) -> QualityJudgement:
    """Run both on the test split of `dataset` and judge the difference.

    What was lost is shown in the run's folder, in `quality/`.

    Args:
        context: Of the step `gate`.
        exported: The candidate.
        parent: A verified release with the same classes.

    Raises:
        DatasetError: The test split or the table of slices is not to be used.
        BackendError: One of the two failed on an image.
    """
    score = context.number("score")
    theirs = parent.manifest
    parent_score = theirs.thresholds.score
    parent_model = ExportedModel(
        parent.folder / MODEL_NAME,
        ModelContractFile(
            classes=theirs.classes,
            input=theirs.input,
            preprocess=theirs.preprocess,
            output=theirs.output,
        ),
    )
    candidate = _answers(context, exported, part=(0.7, 0.15))
    champion = _answers(context, parent_model, part=(0.85, 0.15))
    labelled = LabelledSet(
        labels=candidate.labels,
        facts=candidate.facts,
        slices=slices_of(context, candidate, exported.contract.classes),
        side_px=exported.contract.preprocess.side_px,
    )
    judgement = check_quality(
        labelled,
        champion=Answers(champion.found, parent_score),
        candidate=Answers(candidate.found, score),
        policy=_policy(context),
    )
    write_comparison(
        context.run_folder / FOLDER_NAME,
        judgement,
        labelled,
        champion=Side(theirs.semver, champion, parent_score),
        candidate=Side(context.text("semver"), candidate, score),
        classes=exported.contract.classes,
    )
    return judgement


def _policy(context: StepContext) -> QualityPolicy:
    inconclusive: OnInconclusive = (
        "warn" if context.text("quality_slices_inconclusive") == "warn" else "refuse"
    )
    return QualityPolicy(
        drop_max=context.number("quality_drop_max"),
        detectable_drop=context.number("quality_detectable_drop"),
        alpha=context.number("quality_alpha"),
        slices=context.flag("quality_slices"),
        slices_inconclusive=inconclusive,
    )


def _answers(
    context: StepContext, model: ExportedModel, *, part: tuple[float, float]
) -> Evaluation:
    items = read_copy(context.inputs["dataset"]).of(SPLIT)
    report = _part(context.report, start=part[0], share=part[1])
    backend = open_onnx(model.model)
    try:
        return evaluate_items(backend, model.contract, items, progress=report)
    finally:
        backend.close()


def _part(report: Report, *, start: float, share: float) -> Report:
    def told(fraction: float, text: str) -> None:
        report(start + share * fraction, f"quality: {text}")

    return told
