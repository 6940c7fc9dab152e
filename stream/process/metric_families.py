"""How a process declares its metrics."""

import itertools
from collections.abc import Iterable, Sequence
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_Family = TypeVar("_Family", Counter, Gauge, Histogram)


class MetricFamilies:
    """Declares metrics, each named `millstream_<process>_<name>`.

    A label is declared with the values it takes, and each is shown from the start: the first event of a series that
    appears only with it would be seen by no `rate`. A label without values shows none until it is given one.

    Args:
        registry: Where they are shown.
        process: Name of the process.
    """

    def __init__(self, registry: CollectorRegistry, process: str) -> None:
        self._registry = registry
        self._prefix = f"millstream_{process}_"

    def counter(self, name: str, documentation: str, **labels: Iterable[str]) -> Counter:
        """Declare a counter."""
        return _preset(Counter(self._prefix + name, documentation, list(labels), registry=self._registry), labels)

    def gauge(self, name: str, documentation: str, **labels: Iterable[str]) -> Gauge:
        """Declare a gauge."""
        return _preset(Gauge(self._prefix + name, documentation, list(labels), registry=self._registry), labels)

    def histogram(
        self,
        name: str,
        documentation: str,
        buckets: Sequence[float] = Histogram.DEFAULT_BUCKETS,
        **labels: Iterable[str],
    ) -> Histogram:
        """Declare a histogram with these upper bounds of its buckets."""
        family = Histogram(
            self._prefix + name, documentation, list(labels), registry=self._registry, buckets=tuple(buckets)
        )
        return _preset(family, labels)


def _preset(family: _Family, labels: dict[str, Iterable[str]]) -> _Family:
    if labels:
        for values in itertools.product(*labels.values()):
            family.labels(*values)
    return family
