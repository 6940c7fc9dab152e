"""The planner: reads `weighted-examples` until the next plan is full, or reads a plan that a crash interrupted."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from trainer.plans.example_record import ExampleRecord, in_plan_order
from trainer.plans.record_merger import RecordMerger
from trainer.settings import TrainerSettings
from trainer.state.plan import Plan


class ExampleSource(Protocol):
    """A log of weighted examples in partitions, such as the topic."""

    def seek(self, offsets: Mapping[int, int]) -> None:
        """Go to the given next offset of every partition."""

    def poll(self, timeout_seconds: float, partitions: Collection[int]) -> list[ExampleRecord]:
        """Return records of the wanted partitions, in offset order inside each; wait at most the time-out."""

    def positions(self) -> dict[int, int]:
        """Return the next offset that would be read, by partition."""

    def ends(self) -> dict[int, int]:
        """Return the present end offset, by partition."""

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Show how far the checkpoint is; nothing depends on it."""


def cut_plan(number: int, first: Mapping[int, int], records: Sequence[ExampleRecord], *, line: str, seed: int) -> Plan:
    """Return the plan that takes exactly these records.

    Args:
        number: Which update this is, from 1.
        first: Next offset by partition before the records.
        records: What the update learns from; at least one.
        line: The model line: two lines with one seed shuffle differently.
        seed: The trainer's seed.
    """
    after = dict(first)
    for record in records:
        after[record.partition] = max(after[record.partition], record.offset + 1)
    digest = hashlib.blake2b(f"{line}/{seed}/{number}".encode(), digest_size=7).digest()
    return Plan(
        number=number,
        first=dict(first),
        next=after,
        num_rows=sum(len(record.rows) for record in records),
        newest_ms=max(record.timestamp_ms for record in records),
        seed=int.from_bytes(digest),
    )


class Planner:
    """Cuts the log into plans, on record boundaries.

    A plan is full when it holds `update_rows` rows. When the stream is too quiet for that and everything has been read,
    it is cut once its oldest row has waited `update_seconds`. Which records a plan takes depends on the log alone, but
    for that wait; and a plan is written down before anything comes of it.

    Args:
        source: The log.
        offsets: Next offset by partition.
        settings: Of the trainer.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, source: ExampleSource, offsets: Mapping[int, int], settings: TrainerSettings, clock: Callable[[], float]
    ) -> None:
        self._source = source
        self._settings = settings
        self._clock = clock
        self._merger = RecordMerger(offsets)
        self._taken: list[ExampleRecord] = []
        self._num_rows = 0
        self._since: float | None = None
        source.seek(offsets)

    def collect(self, timeout_seconds: float) -> list[ExampleRecord] | None:
        """Read for at most the time-out and return the records of the next plan once they are complete."""
        for arrived in self._source.poll(timeout_seconds, self._wanted()):
            self._merger.add(arrived)
        for partition, position in self._source.positions().items():
            self._merger.read_past(partition, position)
        ends: dict[int, int] = {}
        while (record := self._pop(ends)) is not None:
            self._taken.append(record)
            self._num_rows += len(record.rows)
            self._since = self._clock() if self._since is None else self._since
            if self._num_rows >= self._settings.update_rows:
                return self._take()
        waited = 0.0 if self._since is None else self._clock() - self._since
        if waited >= self._settings.update_seconds and self._merger.at_end(ends):
            return self._take()
        return None

    def idle(self, timeout_seconds: float) -> None:
        """Read nothing for the time-out, but keep the connection alive."""
        self._source.poll(timeout_seconds, [])

    def read(self, plan: Plan, stop: Callable[[], bool]) -> list[ExampleRecord] | None:
        """Return the records of a plan that was cut before, or None when asked to stop before they are all there."""
        self._source.seek(plan.first)
        records: list[ExampleRecord] = []
        while any(self._source.positions()[partition] < end for partition, end in plan.next.items()):
            if stop():
                return None
            wanted = [key for key, position in self._source.positions().items() if position < plan.next[key]]
            records += self._source.poll(1.0, wanted)
        self._source.seek(plan.next)
        self._merger = RecordMerger(plan.next)
        return in_plan_order(record for record in records if record.offset < plan.next[record.partition])

    def _pop(self, ends: dict[int, int]) -> ExampleRecord | None:
        # The broker is asked for end offsets only once some partition has nothing left to show, and once a call.
        if not ends and self._merger.has_empty_partition():
            ends |= self._source.ends()
        return self._merger.pop(ends)

    def _take(self) -> list[ExampleRecord]:
        # The canonical order, which may differ from the order of arrival where record times run backwards.
        records = in_plan_order(self._taken)
        self._taken.clear()
        self._num_rows = 0
        self._since = None
        return records

    def _wanted(self) -> list[int]:
        plenty = 2 * self._settings.update_rows
        return [partition for partition in self._source.positions() if self._merger.num_rows(partition) < plenty]
