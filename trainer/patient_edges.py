"""The trainer's edges to Kafka as it sees them through a broker's restart: each call waits until it is answered."""

from collections.abc import Collection, Mapping
from functools import partial

from stream.cluster.outage import Outage
from trainer.plans.example_record import ExampleRecord
from trainer.plans.planner import ExampleSource
from trainer.promotion.commands import Command, CommandInbox, CommandResult


class PatientSource:
    """A log of weighted examples that waits out an outage.

    Args:
        source: The log.
        outage: How to wait.
    """

    def __init__(self, source: ExampleSource, outage: Outage) -> None:
        self._source = source
        self._outage = outage

    def seek(self, offsets: Mapping[int, int]) -> None:
        """Go to the given next offset of every partition."""
        self._outage.through(partial(self._source.seek, offsets))

    def poll(self, timeout_seconds: float, partitions: Collection[int]) -> list[ExampleRecord]:
        """Return records of the wanted partitions, in offset order inside each."""
        return self._outage.through(partial(self._source.poll, timeout_seconds, partitions))

    def positions(self) -> dict[int, int]:
        """Return the next offset that would be read, by partition."""
        return self._outage.through(self._source.positions)

    def ends(self) -> dict[int, int]:
        """Return the present end offset, by partition."""
        return self._outage.through(self._source.ends)

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Show how far the checkpoint is; not worth waiting for."""
        self._source.commit(offsets)


class PatientInbox:
    """An inbox of commands that waits out an outage.

    Args:
        inbox: The inbox.
        outage: How to wait.
    """

    def __init__(self, inbox: CommandInbox, outage: Outage) -> None:
        self._inbox = inbox
        self._outage = outage

    def poll(self) -> list[tuple[int, Command | None]]:
        """Return the commands that came since the last call, each with the offset after it."""
        return self._outage.through(self._inbox.poll)

    def answer(self, result: CommandResult) -> None:
        """Tell the operator what became of a command."""
        self._outage.through(partial(self._inbox.answer, result))
