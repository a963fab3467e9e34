from sightloop.telemetry.metrics import ServingMetrics


def roles(metrics: ServingMetrics) -> set[tuple[str, str, str]]:
    return {
        (s.labels["line"], s.labels["role"], s.labels["semver"])
        for metric in metrics.release.collect()
        for s in metric.samples
    }


def test_release_that_lost_its_role_leaves_no_series() -> None:
    metrics = ServingMetrics()
    metrics.set_roles("a", {"champion": ("1.0.0", "0" * 64)})
    metrics.set_roles("b", {"champion": ("7.0.0", "7" * 64)})
    metrics.set_roles("a", {"champion": ("1.1.0", "1" * 64), "previous": ("1.0.0", "0" * 64)})
    assert roles(metrics) == {
        ("a", "champion", "1.1.0"),
        ("a", "previous", "1.0.0"),
        ("b", "champion", "7.0.0"),
    }


def test_two_servers_do_not_share_counts() -> None:
    one, two = ServingMetrics(), ServingMetrics()
    one.requests.labels("a", "ok").inc()
    assert b'line="a"' in one.as_text()
    assert b'line="a"' not in two.as_text()
