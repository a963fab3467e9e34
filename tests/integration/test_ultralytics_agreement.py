"""`vision/` sees what Ultralytics sees: the same input, the same detections.

Stated tolerances: letterboxed pixels and tensors are equal; suppression of the same raw output
gives the same boxes to 0.001 px; a whole prediction (their torch model, our exported file) the
same to 0.1 px of the frame and 0.001 of the score.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sightloop.runtime.onnx_backend import open_onnx
from sightloop.vision.decode import decode_image
from sightloop.vision.detections import Detections
from sightloop.vision.matching import match
from sightloop.vision.postprocess import decode_output
from sightloop.vision.preprocess import letterbox, prepare

pytestmark = [
    # PyTorch announces what it will drop; Ultralytics and its exporter still use it.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

SIDE_PX: Final = 160
CLASSES: Final = 3
SCORE: Final = 0.25
IOU: Final = 0.6
RAW_TOLERANCE_PX: Final = 0.001
BOX_TOLERANCE_PX: Final = 0.1
SCORE_TOLERANCE: Final = 0.001

_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
_SIZES = [
    (426, 640),
    (483, 640),
    (500, 375),
    (160, 160),
    (120, 90),
    (200, 200),
    (1, 300),
    (333, 77),
]


@pytest.fixture(scope="module", autouse=True)
def quiet_ultralytics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Its settings go to a folder of ours; it neither installs nor asks the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLO_CONFIG_DIR", str(tmp_path_factory.mktemp("ultralytics")))
        patch.setenv("YOLO_AUTOINSTALL", "false")
        patch.setenv("YOLO_OFFLINE", "true")
        patch.setenv("MPLBACKEND", "Agg")
        pytest.importorskip("ultralytics", reason="needs the extra `train` (Ultralytics)")
        yield


def _scene(height: int, width: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """Coloured blobs, RGB: something for random kernels to differ on."""
    rng = np.random.default_rng([seed, height, width])
    noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    blurred = cv2.GaussianBlur(noise, (0, 0), max(height, width) / 40).astype(np.float32)
    stretched = (blurred - blurred.min()) / max(float(np.ptp(blurred)), 1.0) * 255
    scene: NDArray[np.uint8] = stretched.astype(np.uint8)
    return scene


def _as_detections(result: Any) -> Detections:
    rows = np.asarray(result.boxes.data, np.float32)
    return Detections(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64))


def _detect(model: Any, frame: NDArray[np.uint8], side_px: int) -> Detections:
    """Our way: vision/ around an exported file."""
    tensor, placement = prepare(frame, side_px=side_px)
    found = decode_output(
        model.run(tensor),
        layout="raw",
        score_threshold=SCORE,
        iou_threshold=IOU,
        max_candidates=30_000,
        max_detections=300,
    )
    height, width = frame.shape[:2]
    boxes = placement.to_frame(found.boxes, width_px=width, height_px=height)
    return Detections(boxes, found.scores, found.classes)


def _predict(yolo: Any, frame: NDArray[np.uint8], side_px: int) -> Detections:
    """Their way, on a square input as the exported file takes it."""
    bgr = np.ascontiguousarray(frame[..., ::-1])
    arguments = {"imgsz": side_px, "conf": SCORE, "iou": IOU, "rect": False, "max_det": 300}
    return _as_detections(
        yolo.predict(bgr, verbose=False, device="cpu", save=False, **arguments)[0]
    )


def _assert_agree(ours: Detections, theirs: Detections, *, box_px: float, score: float) -> None:
    pairs = match(theirs.boxes, theirs.classes, ours.boxes, ours.classes, iou=0.9)
    assert len(pairs) == len(theirs) == len(ours) > 0
    box_difference = np.abs(theirs.boxes[pairs[:, 0]] - ours.boxes[pairs[:, 1]])
    score_difference = np.abs(theirs.scores[pairs[:, 0]] - ours.scores[pairs[:, 1]])
    assert float(box_difference.max()) <= box_px
    assert float(score_difference.max()) <= score


@pytest.fixture(scope="module")
def small_yolo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A narrow YOLOv8 with seeded random weights that detects (nonsense), and its ONNX."""
    import torch
    import ultralytics
    import yaml

    folder = tmp_path_factory.mktemp("yolo")
    source = Path(ultralytics.__file__).parent / "cfg" / "models" / "v8" / "yolov8.yaml"
    config = yaml.safe_load(source.read_text())
    config |= {"nc": CLASSES, "scales": {"n": [0.33, 0.125, 1024]}, "scale": "n"}
    (folder / "yolov8n-narrow.yaml").write_text(yaml.safe_dump(config))
    torch.manual_seed(0)
    yolo = ultralytics.YOLO(folder / "yolov8n-narrow.yaml", task="detect", verbose=False)
    _wake_up(yolo.model)
    path = folder / "model.onnx"
    example = torch.zeros(1, 3, SIDE_PX, SIDE_PX)
    with warnings.catch_warnings():
        # The tracer warns about every Python number in the network's forward.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _first_output_of(yolo.model),
            (example,),
            str(path),
            input_names=["images"],
            output_names=["output0"],
            opset_version=17,
            dynamo=False,
        )
    return yolo, path


def _wake_up(network: Any) -> None:
    """Make random weights answer differently from place to place, some above the threshold.

    Scores are spread out and stay away from 1: equal scores would leave the order to chance.
    """
    import torch

    scenes = [prepare(_scene(*size, seed=1), side_px=SIDE_PX)[0] for size in _SIZES[:6]]
    batch = torch.from_numpy(np.concatenate(scenes))
    head = network.model[-1]
    with torch.no_grad():
        for branch in head.cv3:
            branch[-1].bias.zero_()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None
                module.reset_running_stats()
        network.train()
        network(batch)
        network.eval()
        logits = torch.logit(network(batch)[0][:, 4:])
        for branch in head.cv3:
            branch[-1].weight.div_(logits.std())
            branch[-1].bias.fill_(float(-2 - logits.mean() / logits.std()))


def _first_output_of(network: Any) -> Any:
    import torch

    class FirstOutput(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, tensor: Any) -> Any:
            return self.network(tensor)[0]

    return FirstOutput().eval()


@pytest.mark.parametrize(("height", "width"), _SIZES)
@pytest.mark.parametrize("side_px", [160, 640])
def test_letterboxed_pixels_are_equal(height: int, width: int, side_px: int) -> None:
    from ultralytics.data.augment import LetterBox

    frame = _scene(height, width)
    ours, _ = letterbox(frame, side_px=side_px)
    assert np.array_equal(ours, LetterBox((side_px, side_px), auto=False)(image=frame))


@pytest.mark.parametrize(("height", "width"), _SIZES[:3])
def test_tensors_are_equal(small_yolo: tuple[Any, Path], height: int, width: int) -> None:
    yolo, _ = small_yolo
    frame = _scene(height, width)
    _predict(yolo, frame, SIDE_PX)
    theirs = yolo.predictor.preprocess([np.ascontiguousarray(frame[..., ::-1])]).numpy()
    ours, _ = prepare(frame, side_px=SIDE_PX)
    assert ours.tobytes() == np.ascontiguousarray(theirs).tobytes()


@pytest.mark.parametrize(("height", "width"), _SIZES)
def test_boxes_map_back_to_the_same_place(height: int, width: int) -> None:
    import torch
    from ultralytics.utils.ops import scale_boxes

    _, placement = letterbox(np.zeros((height, width, 3), np.uint8), side_px=SIDE_PX)
    boxes = np.random.default_rng(0).uniform(-5, SIDE_PX + 5, (50, 4)).astype(np.float32)
    theirs = scale_boxes((SIDE_PX, SIDE_PX), torch.from_numpy(boxes.copy()), (height, width))
    ours = placement.to_frame(boxes, width_px=width, height_px=height)
    assert ours == pytest.approx(np.asarray(theirs), abs=RAW_TOLERANCE_PX)


@pytest.mark.parametrize("seed", range(3))
def test_suppression_of_the_same_output_agrees(small_yolo: tuple[Any, Path], seed: int) -> None:
    import torch
    from ultralytics.utils.nms import non_max_suppression

    tensor, _ = prepare(_scene(300, 400, seed=seed), side_px=SIDE_PX)
    raw = open_onnx(small_yolo[1]).run(tensor)
    rows = non_max_suppression(torch.from_numpy(raw.copy()), SCORE, IOU, max_det=300)[0].numpy()
    theirs = Detections(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64))
    ours = decode_output(
        raw,
        layout="raw",
        score_threshold=SCORE,
        iou_threshold=IOU,
        max_candidates=30_000,
        max_detections=300,
    )
    assert len(ours) > 10
    assert ours.scores.tolist() == theirs.scores.tolist()
    _assert_agree(ours, theirs, box_px=RAW_TOLERANCE_PX, score=0.0)


@pytest.mark.parametrize(("height", "width"), _SIZES[:6])
def test_whole_prediction_agrees(small_yolo: tuple[Any, Path], height: int, width: int) -> None:
    yolo, path = small_yolo
    frame = _scene(height, width)
    theirs = _predict(yolo, frame, SIDE_PX)
    ours = _detect(open_onnx(path), frame, SIDE_PX)
    _assert_agree(ours, theirs, box_px=BOX_TOLERANCE_PX, score=SCORE_TOLERANCE)


@pytest.mark.skipif(
    not (_DATA / "coco-mini").is_dir(), reason=f"real frames and weights are not at {_DATA}"
)
def test_real_detector_agrees_on_real_frames() -> None:
    import ultralytics
    from ultralytics.utils.patches import imread

    path = _DATA / "weights-coco" / "yolov8n_coco_dq_640.onnx"
    yolo, model = ultralytics.YOLO(path, task="detect"), open_onnx(path)
    for image in sorted((_DATA / "coco-mini" / "images" / "val").glob("*.jpg"))[:3]:
        frame = decode_image(image.read_bytes())
        assert np.array_equal(frame[..., ::-1], imread(str(image)))
        ours, theirs = _detect(model, frame, 640), _predict(yolo, frame, 640)
        _assert_agree(ours, theirs, box_px=BOX_TOLERANCE_PX, score=SCORE_TOLERANCE)
