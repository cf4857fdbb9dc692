"""Reads what a ``/metrics`` address says of pools: the other end of the exporters."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from .._metrics.catalog import PREFIX


@dataclass(slots=True)
class PoolNumbers:
    """The numbers of one pool at one address; keys are ``(metric without prefix, sorted labels without pool)``."""

    pool: str
    values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)

    def get(self, metric: str, **labels: str) -> float | None:
        """The value of one series, ``None`` where it is absent."""
        return self.values.get((metric, tuple(sorted(labels.items()))))

    def total(self, metric: str, **labels: str) -> float:
        """The sum over all series of ``metric`` that have ``labels``."""
        wanted = set(labels.items())
        return sum(value for (name, has), value in self.values.items() if name == metric and wanted <= set(has))


def read(text: str) -> Iterator[PoolNumbers]:
    """The pools of one exposition, in the order of their names. Raises ``ValueError`` if it is none."""
    pools: dict[str, PoolNumbers] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.name.startswith(PREFIX) or "pool" not in sample.labels:
                continue
            if not math.isfinite(sample.value):
                continue  # what a process has nothing to tell about; an application that serves the files shows it
            labels = dict(sample.labels)
            pool = labels.pop("pool")
            numbers = pools.setdefault(pool, PoolNumbers(pool))
            numbers.values[sample.name.removeprefix(PREFIX), tuple(sorted(labels.items()))] = sample.value
    return iter([pools[name] for name in sorted(pools)])
