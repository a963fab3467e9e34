import sys

import numpy as np
import pytest

from sightloop.errors import MissingExtraError
from sightloop.vision.detections import Detections, no_detections

FOUND = Detections(
    boxes=np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32),
    scores=np.array([0.9, 0.5], np.float32),
    classes=np.array([1, 0], np.int64),
)


def test_supervision_gets_the_same_boxes_scores_classes_and_names() -> None:
    supervision = pytest.importorskip(
        "supervision", reason="supervision is the user's own: pip install supervision"
    )
    converted = FOUND.to_supervision(("pit", "spot"))
    assert isinstance(converted, supervision.Detections)
    np.testing.assert_array_equal(converted.xyxy, FOUND.boxes)
    np.testing.assert_array_equal(converted.confidence, FOUND.scores)
    np.testing.assert_array_equal(converted.class_id, FOUND.classes)
    assert converted.data["class_name"].tolist() == ["spot", "pit"]
    assert len(no_detections().to_supervision(("pit", "spot"))) == 0
    assert FOUND.to_supervision().data == {}


def test_without_supervision_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtraError, match="pip install supervision"):
        FOUND.to_supervision()
