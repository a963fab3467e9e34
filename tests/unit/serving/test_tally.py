from sightloop.serving.history import ReleaseId
from sightloop.serving.tally import RELEASES_MAX, Tally
from sightloop.serving.wire import NO_TIMES, StageTimes


def test_releases_are_counted_apart() -> None:
    tally = Tally()
    one, two = ReleaseId("1.0.0", "aa"), ReleaseId("1.1.0", "bb")
    tally.answered(one, NO_TIMES, queue_s=0.0, total_s=0.1, wall_s=1.0)
    tally.failed(two, total_s=0.2)
    assert (tally.of(one).answers, tally.of(one).failures) == (1, 0)
    assert (tally.of(two).answers, tally.of(two).failures) == (0, 1)


def test_counts_do_not_grow_with_the_number_of_releases() -> None:
    tally = Tally()
    for number in range(3 * RELEASES_MAX):
        tally.failed(ReleaseId("1.0.0", str(number)), total_s=0.0)
    assert len(tally.counts) == RELEASES_MAX


def test_frames_that_ran_together_are_one_run() -> None:
    tally, release = Tally(), ReleaseId("1.0.0", "aa")
    for frames in (4, 4, 4, 4, 1, 0):  # 0: nonsense of a worker
        times = StageTimes(frames=frames)
        tally.answered(release, times, queue_s=0.0, total_s=0.1, wall_s=1.0)
    assert (tally.of(release).answers, tally.of(release).runs) == (6, 3.0)
