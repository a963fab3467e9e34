from sightloop.serving.rate_limit import ADDRESSES_MAX, RateLimit


class ClockByHand:
    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return self.now_s

    def sleep_s(self, seconds: float) -> None:
        self.now_s += seconds


def test_address_has_twice_its_rate_at_once_and_then_its_rate() -> None:
    clock = ClockByHand()
    rate = RateLimit(10, clock=clock)
    assert [rate.take("a") for _ in range(21)] == [True] * 20 + [False]
    clock.sleep_s(0.125)
    assert [rate.take("a"), rate.take("a")] == [True, False]
    clock.sleep_s(1)
    assert sum(rate.take("a") for _ in range(50)) == 10


def test_one_address_does_not_use_up_what_another_has() -> None:
    rate = RateLimit(1, clock=ClockByHand())
    while rate.take("a"):
        pass
    assert rate.take("b")


def test_many_addresses_do_not_grow_memory() -> None:
    rate = RateLimit(1, clock=ClockByHand())
    for number in range(ADDRESSES_MAX + 100):
        rate.take(str(number))
    assert len(rate._buckets) == ADDRESSES_MAX


def test_bucket_holds_no_more_than_a_burst_however_long_it_rests() -> None:
    clock = ClockByHand()
    rate = RateLimit(5, clock=clock)
    rate.take("a")
    clock.sleep_s(1e6)
    assert sum(rate.take("a") for _ in range(100)) == 10
