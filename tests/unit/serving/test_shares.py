import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightloop.serving.shares import Shares


class Hungry:
    """A line that always has another request."""

    def __init__(self, shares: Shares, name: str, weight: float) -> None:
        self._shares = shares
        self.name = name
        self.running = 0
        self.done = 0
        shares.add(name, weight, self.go_on)

    def go_on(self) -> None:
        while self._shares.take(self.name):
            self.running += 1

    def end_one(self, used_s: float) -> None:
        self.running -= 1
        self.done += 1
        self._shares.give_back(self.name, used_s)


def test_line_alone_is_never_held_back() -> None:
    shares = Shares(1)
    shares.add("only", 1.0, lambda: None)
    assert [shares.take("only") for _ in range(5)] == [True] * 5


def test_busy_lines_share_worker_time_by_weight() -> None:
    shares = Shares(2)
    lines = [Hungry(shares, "gate", 3.0), Hungry(shares, "yard", 1.0)]
    cost_s = {"gate": 0.01, "yard": 0.02}
    for line in lines:
        line.go_on()
    for turn in range(4000):
        line = lines[turn % 2] if lines[turn % 2].running else lines[1 - turn % 2]
        line.end_one(cost_s[line.name])
    gate_s, yard_s = (line.done * cost_s[line.name] for line in lines)
    assert gate_s / yard_s == pytest.approx(3.0, rel=0.05)


def test_idle_line_leaves_everything_to_the_others_and_saves_nothing_up() -> None:
    shares = Shares(2)
    gate, yard = Hungry(shares, "gate", 1.0), Hungry(shares, "yard", 1.0)
    gate.go_on()
    for _ in range(500):
        gate.end_one(0.01)
    assert gate.running == 2
    yard.go_on()
    before = gate.done
    for _ in range(100):
        (yard if yard.running else gate).end_one(0.01)
    assert gate.done - before >= 1
    for _ in range(200):
        for line in (gate, yard):
            if line.running:
                line.end_one(0.01)
    assert gate.done - before > 100


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60), st.integers(1, 4))
def test_no_more_requests_are_in_workers_than_there_are_slots(
    acts: list[tuple[str, bool]], slots: int
) -> None:
    shares = Shares(slots)
    lines = {name: Hungry(shares, name, 1.0 + ord(name)) for name in "abc"}
    for name, begins in acts:
        if begins:
            lines[name].go_on()
        elif lines[name].running:
            lines[name].end_one(0.01)
        assert sum(line.running for line in lines.values()) <= slots
