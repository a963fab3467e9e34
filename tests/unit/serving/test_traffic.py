from sightloop.serving.traffic import WINDOW_S, RecentTraffic


class ClockByHand:
    def __init__(self) -> None:
        self.now_s = 1000.5

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return self.now_s

    def sleep_s(self, seconds: float) -> None:
        self.now_s += seconds


def test_shares_add_up_to_one_over_the_releases_that_answered() -> None:
    traffic = RecentTraffic(ClockByHand())
    for digest in ("a", "a", "a", "b"):
        traffic.count(digest)
    assert traffic.shares() == {"a": 0.75, "b": 0.25}


def test_answers_older_than_the_window_do_not_count() -> None:
    clock = ClockByHand()
    traffic = RecentTraffic(clock)
    traffic.count("a")
    clock.sleep_s(WINDOW_S / 2)
    traffic.count("b")
    assert traffic.shares() == {"a": 0.5, "b": 0.5}
    clock.sleep_s(WINDOW_S / 2 + 1)
    assert traffic.shares() == {"b": 1.0}
    clock.sleep_s(WINDOW_S)
    assert traffic.shares() == {}


def test_memory_is_bounded_by_the_window() -> None:
    clock = ClockByHand()
    traffic = RecentTraffic(clock)
    for _ in range(10 * WINDOW_S):
        traffic.count("a")
        clock.sleep_s(1)
    assert len(traffic._seconds) <= WINDOW_S + 1
