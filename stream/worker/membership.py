"""A worker's place in its consumer group."""

from collections.abc import Callable
from typing import Any

import faust
import structlog
from faust.types import TP, Message

from stream.worker.metrics import GroupMetrics
from stream.worker.slot import SlotDispute


class Membership:
    """A worker's place in its consumer group: which records are its own, and what a rebalance takes away.

    A rebalance begins a new generation and takes every partition: whoever owns one next reads again whatever of it was
    not acknowledged.

    Args:
        app: The Faust app.
        metrics: What to count in.
        drop: Forgets all that was read and not acknowledged.

    Attributes:
        rebalancing: Whether the partitions are taken and not yet given again.
        num_assignments: How often they were given.
    """

    def __init__(self, app: faust.App, metrics: GroupMetrics, drop: Callable[[], None]) -> None:
        self.rebalancing = False
        self.num_assignments = 0
        self._app = app
        self._metrics = metrics
        self._drop = drop
        self._revoked_generation: int | None = None
        group, slot = str(app.conf.id), str(app.conf.consumer_group_instance_id)
        self._dispute = SlotDispute(group, slot.removeprefix(f"{group}-"))
        app.on_partitions_revoked.connect(self._on_revoked)  # type: ignore[arg-type]  # its types forbid named arguments
        app.on_partitions_assigned.connect(self._on_assigned)  # type: ignore[arg-type]

    def owns(self, message: Message) -> bool:
        """Return whether the record is of this generation: what `noack_take` has buffered survives a rebalance."""
        generation = self._app.consumer_generation_id
        return bool(message.generation_id == generation != self._revoked_generation)

    async def _on_revoked(self, _app: Any, revoked: set[TP], **_: Any) -> None:
        self.rebalancing = True
        # The app bears this generation until it is given the next: what comes meanwhile will be read again.
        self._revoked_generation = self._app.consumer_generation_id
        self._metrics.rebalances.inc()
        self._drop()
        structlog.get_logger(__name__).info("partitions_revoked", partitions=_numbers(revoked))

    async def _on_assigned(self, _app: Any, assigned: set[TP], **_: Any) -> None:
        self.rebalancing = False
        self.num_assignments += 1
        self._metrics.partitions.set(len(assigned))
        structlog.get_logger(__name__).info("partitions_assigned", partitions=_numbers(assigned))
        if dispute := self._dispute.note_rebalance():
            structlog.get_logger(__name__).error("instance_name_taken", message=dispute)


def _numbers(partitions: set[TP]) -> list[int]:
    return sorted(partition.partition for partition in partitions)
