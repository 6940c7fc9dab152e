"""Reads the Prometheus metrics of the demo's processes, as any scraper would."""

import urllib.error
import urllib.request
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families


@dataclass
class Scrape:
    """Samples of one moment, from all processes.

    Attributes:
        values: Value by (sample name, sorted label pairs).
        missing: Processes that did not answer.
    """

    values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)

    def get(self, name: str, **labels: str) -> float | None:
        """Return one sample, or None if nobody exports it."""
        return self.values.get((name, tuple(sorted(labels.items()))))

    def total(self, name: str, **labels: str) -> float:
        """Return the sum over all samples of a name whose labels include these; 0 if nobody exports it."""
        wanted = set(labels.items())
        return sum(value for (sample, pairs), value in self.values.items() if sample == name and wanted <= set(pairs))


def scrape(ports: dict[str, int], timeout_seconds: float = 1.0) -> Scrape:
    """Return what the processes on these loopback ports export now."""
    result = Scrape()
    for process, port in ports.items():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=timeout_seconds) as response:
                text = response.read().decode()
        except (urllib.error.URLError, OSError):
            result.missing.add(process)
            continue
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                result.values[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return result
