"""The collector: what components say and what was counted, as Prometheus reads it."""

from collections.abc import Iterable, Mapping

from ingestd.observers.prometheus import Exposition, Sample
from ingestd.telemetry.metrics import METRICS, Counters, Histogram
from tests.support.scrape import Figures, promtool

AWKWARD = 'a "quoted" \\ name\nwith ümlaut'


def scrape(counters: Counters, figures: Mapping[str, Iterable[Sample]]) -> Figures:
    body, content_type = Exposition(counters, lambda: figures).render()
    assert content_type.startswith("text/plain")
    return Figures(body.decode())


def test_a_counter_is_what_was_counted():
    counters = Counters()
    counters.add("ingestd_errors_total", "kafka", "_TRANSPORT", count=3)
    assert scrape(counters, {}).value("ingestd_errors_total", stage="kafka", **{"class": "_TRANSPORT"}) == 3


def test_what_rooms_say_comes_before_what_was_counted():
    counters = Counters()
    counters.add("ingestd_events_abandoned_total", count=5)
    assert scrape(counters, {"ingestd_events_abandoned_total": [((), 7)]}).value("ingestd_events_abandoned_total") == 7


def test_a_partition_that_is_not_told_any_more_is_gone_at_the_next_scrape():
    rows = [(("t", "0"), 5.0), (("t", "1"), 6.0)]
    exposition = Exposition(Counters(), lambda: {"ingestd_kafka_consumer_lag_records": rows})
    assert Figures(exposition.render()[0].decode()).total("ingestd_kafka_consumer_lag_records") == 11
    rows.pop()
    assert Figures(exposition.render()[0].decode()).total("ingestd_kafka_consumer_lag_records") == 5


def test_a_histogram_has_cumulative_buckets_a_sum_and_a_count():
    counters = Counters()
    histogram = counters.histogram("ingestd_end_to_end_seconds")
    histogram.observe(0.004, 10)
    histogram.observe(0.3, 5)
    histogram.observe(1e9)
    found = scrape(counters, {})
    assert found.value("ingestd_end_to_end_seconds_bucket", le="0.005") == 10
    assert found.value("ingestd_end_to_end_seconds_bucket", le="0.25") == 10
    assert found.value("ingestd_end_to_end_seconds_bucket", le="0.5") == 15
    assert found.value("ingestd_end_to_end_seconds_bucket", le="+Inf") == 16
    assert found.value("ingestd_end_to_end_seconds_count") == 16
    assert found.value("ingestd_end_to_end_seconds_sum") == 0.004 * 10 + 0.3 * 5 + 1e9


def test_a_value_on_a_bound_is_in_its_bucket():
    histogram = Histogram((1.0, 2.0))
    histogram.observe(1.0)
    histogram.observe(2.0)
    assert histogram.cumulative() == [(1.0, 1), (2.0, 2), (float("inf"), 2)]
    assert histogram.count == 2


def test_histograms_of_one_name_and_label_are_one():
    counters = Counters()
    assert counters.histogram("ingestd_sink_seconds", "redis") is counters.histogram("ingestd_sink_seconds", "redis")
    counters.histogram("ingestd_sink_seconds", "kafka").observe(1)
    assert scrape(counters, {}).value("ingestd_sink_seconds_count", sink="redis") == 0


def test_names_that_services_choose_are_escaped():
    found = scrape(Counters(), {"ingestd_error_events_total": [((AWKWARD, "error"), 1)]})
    assert found.value("ingestd_error_events_total", service=AWKWARD, level="error") == 1
    promtool("check", "metrics", text=found.text)


def test_every_metric_is_named_by_its_kind_and_has_a_sentence():
    for name, metric in METRICS.items():
        assert name.startswith("ingestd_") and name.endswith("_total") == (metric.kind == "counter"), name
        assert bool(metric.buckets) == (metric.kind == "histogram"), name
        assert list(metric.buckets) == sorted(metric.buckets)
        assert metric.help.endswith("."), name
