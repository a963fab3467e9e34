from sightloop.release.verdict import Outcome, Verdict
from sightloop.serving.history import ReleaseId
from sightloop.serving.order import Order, OrderResult, order_from_bytes, result_from_bytes


def test_order_is_read_as_it_was_written() -> None:
    order = Order(
        line="plate",
        source="a",
        store="b",
        trust_folder="c",
        trust_files=("d",),
        accepted_digests=("e", "f"),
        gated=False,
        highest_semver="1.2.3",
    )
    assert order_from_bytes(order.to_bytes()) == order


def test_result_is_read_as_it_was_written_and_names_its_refusal() -> None:
    passed = Verdict("integrity", Outcome.PASS, "ok", "fine")
    failed = Verdict("latency", Outcome.INCONCLUSIVE, "too_few_samples", "3", {"samples": 3})
    result = OrderResult(ReleaseId("1.0.0", "a" * 64), (passed, failed), admitted=False)
    assert result_from_bytes(result.to_bytes()) == result
    assert result.refusal == failed
