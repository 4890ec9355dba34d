"""Families of metrics, as Prometheus's library wants them, from plain numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from ratified.runtime import Durations


def gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_, value=float(value))


def counter(name: str, help_: str, value: float) -> Metric:
    """The name is without ``_total``."""
    return CounterMetricFamily(name, help_, value=float(value))


def gauges(name: str, help_: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]) -> Metric:
    family = GaugeMetricFamily(name, help_, labels=labels)
    for values, value in rows:
        family.add_metric(values, float(value))
    return family


def counters(name: str, help_: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]) -> Metric:
    """The name is without ``_total``."""
    family = CounterMetricFamily(name, help_, labels=labels)
    for values, value in rows:
        family.add_metric(values, float(value))
    return family


def histogram(name: str, help_: str, durations: Durations) -> Metric:
    """In seconds."""
    return histograms(name, help_, (), [((), durations)])


def histograms(name: str, help_: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], Durations]]) -> Metric:
    """In seconds."""
    family = HistogramMetricFamily(name, help_, labels=labels)
    for values, durations in rows:
        family.add_metric(values, _buckets(durations.cumulated()), durations.sum_s)
    return family


def _buckets(cumulated: list[tuple[float, int]]) -> list[tuple[str, int]]:
    return [("+Inf" if bound == float("inf") else f"{bound:g}", count) for bound, count in cumulated]
