from __future__ import annotations

import pytest

from sightloop.pipeline.training.compact_network import BINS, build_network, points_of

torch = pytest.importorskip("torch", reason="needs torch (extra `train-compact`)")


def test_places_are_the_middles_of_the_three_grids() -> None:
    centres, strides = points_of(64)
    assert centres.shape == (64 + 16 + 4, 2)
    assert centres[0].tolist() == [4.0, 4.0]
    assert centres[1].tolist() == [12.0, 4.0]  # x runs first
    assert centres[-1].tolist() == [48.0, 48.0]
    assert [int((strides == one).sum()) for one in (8, 16, 32)] == [64, 16, 4]


@pytest.mark.parametrize("side_px", [32, 96, 160])
def test_raw_layout_is_that_of_the_postprocessing(side_px: int) -> None:
    network = build_network(3, width=0.125).eval()
    with torch.no_grad():
        raw = network(torch.zeros(2, 3, side_px, side_px))
    assert raw.shape == (2, 4 + 3, len(points_of(side_px)[0]))
    assert float(raw[:, 2:4].min()) >= 0
    assert float(raw[:, 4:].min()) > 0
    assert float(raw[:, 4:].max()) < 1


def test_training_and_evaluation_state_the_same_boxes() -> None:
    network = build_network(2, width=0.125)
    given = torch.rand(1, 3, 64, 64)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    with torch.no_grad():
        logits, edges, boxes = network(given)
        raw = network.eval()(given).transpose(1, 2)
    assert edges.shape[2:] == (4, BINS)
    middle, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    assert torch.equal(raw[..., :2], middle)
    assert torch.equal(raw[..., 2:4], size)
    assert torch.equal(raw[..., 4:], logits.sigmoid())


def test_same_seed_gives_the_same_weights() -> None:
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(build_network(2, width=0.125).body.stem.weigh.weight)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
