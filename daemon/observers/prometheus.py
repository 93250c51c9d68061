"""The exposition for Prometheus, rendered when somebody scrapes and never before."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.utils import floatToGoString

from ..telemetry.metrics import METRICS, Counters

# ((label value, ...), figure)
Sample = tuple[tuple[str, ...], float]
FAMILIES = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


class Exposition:
    """Runs on: the loop. `figures` gives what components know; names that it has not come from `counters`."""

    def __init__(self, counters: Counters, figures: Callable[[], Mapping[str, Iterable[Sample]]]) -> None:
        self._counters = counters
        self._figures = figures
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus-client, once a scrape."""
        figures = self._figures()
        assert figures.keys() <= METRICS.keys()
        for name, metric in METRICS.items():
            if metric.kind == "histogram":
                yield self._histogram(name)
                continue
            family = FAMILIES[metric.kind](name, metric.help, labels=metric.labels)
            for labels, figure in figures[name] if name in figures else self._counters.samples(name):
                family.add_metric(labels, figure)
            yield family

    def _histogram(self, name: str) -> HistogramMetricFamily:
        metric = METRICS[name]
        family = HistogramMetricFamily(name, metric.help, labels=metric.labels)
        for labels, histogram in self._counters.histograms(name):
            rows = [(floatToGoString(bound), count) for bound, count in histogram.cumulative()]
            family.add_metric(labels, rows, histogram.total)
        return family

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The text and its content type, in the form that the scraper accepts."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
