"""The state of a model line, and the only ways in which it changes.

Live trainer and backtest move by the same transitions. The accounts hold after any sequence of them:

    rows ever learned = base_rows + rows_since_champion + discarded_rows
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stream.cluster.gone_records import GoneRange
from trainer.state.contract import Contract
from trainer.state.ledger_segments import SegmentReference
from trainer.state.plan import Plan

Gap = dict[int, tuple[int, int]]
"""First offset and the one after the last, by partition of `weighted-examples`."""

MAX_EARLIER = 100
"""Versions remembered that served before the champion."""

MAX_GAPS = 32
"""Undone stretches of the log that are remembered, the newest."""


@dataclass(frozen=True)
class Knowledge:
    """What weights have learned.

    Attributes:
        rows: Rows of the stream that taught them, replayed ones included.
        covered: Next offset of `weighted-examples` by partition: their plans reach up to it.
        gaps: Stretches before `covered` that they have not learned, since it was undone.
    """

    rows: int = 0
    covered: Mapping[int, int] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()


class LineState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of a checkpoint that is no tensor.

    Attributes:
        line: The model line.
        contract: What must not change under it.
        offsets: Next offset of `weighted-examples` by partition.
        champion: Version that serves.
        lineage: Published version that the weights descend from.
        update: Updates learned so far.
        number: Number that the weights would be published under.
        num_steps: Optimizer steps in the life of the line.
        previous: Version that served before the champion, whether or not it was rolled back from.
        earlier: Versions that served before the champion and were not rolled back from, oldest first; null in the
            checkpoints of older releases.
        champion_checkpoint: Checkpoint that holds the champion's weights and optimizer; null when none does.
        covered: Next offset by partition that the weights have learned up to.
        gaps: Stretches before `covered` whose learning was undone.
        holds_in_row: Holds since the last promotion.
        base_rows: Rows learned by the version that `rows_since_champion` counts from; a line of an older release counts
            from its champion at the upgrade.
        rows_since_champion: Rows learned since the champion's weights, or since the version that learning restarted
            from.
        discarded_rows: Rows whose learning was undone by restoring an older version, in the life of the line.
        paused: No update is cut.
        promotions_stopped: After a rollback nothing is promoted until an operator resumes.
        command_offset: Next offset of `trainer-commands`.
        evidence_since_ms: Record time at which the gate's pool began; null when it is empty.
        evidence_until_ms: Record time of its newest record.
        num_newest_judged: Rows of the last plan in the pool.
        ledger: The last ledger segment.
        statistics: Running statistics of the numeric features.
        replay_state: Bookkeeping of the replay buffer.
        first_offsets: Where in `weighted-examples` the line began, by partition; empty in checkpoints of releases that
            did not note it.
        device: Kind of device that the line's precision was measured on; null in checkpoints of older releases.
        gone: Examples that retention deleted before they were learned, and that the line was told to skip.
        shares: How much each step of the ladder is believed; empty in checkpoints of older releases.
    """

    line: str
    contract: Contract
    offsets: dict[int, int]
    champion: str
    lineage: str
    update: int = 0
    number: int = 0
    num_steps: int = 0
    previous: str | None = None
    earlier: tuple[str, ...] | None = None
    champion_checkpoint: str | None = None
    covered: dict[int, int] = {}
    gaps: tuple[Gap, ...] = ()
    holds_in_row: int = 0
    base_rows: int = 0
    rows_since_champion: int = 0
    discarded_rows: int = 0
    paused: bool = False
    promotions_stopped: bool = False
    command_offset: int = 0
    evidence_since_ms: int | None = None
    evidence_until_ms: int = 0
    num_newest_judged: int = 0
    ledger: SegmentReference | None = None
    statistics: dict[str, Any] = {}
    replay_state: dict[str, Any] = {}
    first_offsets: dict[int, int] = {}
    device: str | None = None
    gone: tuple[GoneRange, ...] = ()
    shares: dict[str, float] = {}

    @property
    def knowledge(self) -> Knowledge:
        """What the present weights have learned."""
        return Knowledge(self.base_rows + self.rows_since_champion, self.covered, self.gaps)

    @property
    def served_before(self) -> tuple[str, ...]:
        """Versions that served before the champion and were not rolled back from, oldest first."""
        if self.earlier is not None:
            return self.earlier
        return _older((self.previous,) if self.previous else (), self.champion)

    def warm_started(self, version: str, offsets: dict[int, int], command_offset: int) -> "LineState":
        """Return the state after a log was learned: its version serves, and the live stream goes on from there.

        Args:
            version: What the weights will be published as, number 1 of the line.
            offsets: Next offset of `weighted-examples` by partition.
            command_offset: Next offset of `trainer-commands`.
        """
        return msgspec.structs.replace(
            self,
            champion=version,
            lineage=version,
            number=1,
            offsets=offsets,
            first_offsets=offsets,
            command_offset=command_offset,
        )

    def skipped(self, gone: Sequence[GoneRange]) -> "LineState":
        """Return the state in which the line stands after examples that are gone, and names them for ever."""
        offsets = self.offsets | {one.partition: one.last + 1 for one in gone}
        return msgspec.structs.replace(self, offsets=offsets, gone=(*self.gone, *gone))

    def learned(self, plan: Plan, num_rows: int) -> "LineState":
        """Return the state after a plan that taught so many rows."""
        return msgspec.structs.replace(
            self,
            update=plan.number,
            number=plan.number + 1,
            offsets=dict(plan.next),
            covered=dict(plan.next),
            rows_since_champion=self.rows_since_champion + num_rows,
        )

    def promoted(self, version: str, checkpoint: str | None) -> "LineState":
        """Return the state in which the present weights serve.

        Args:
            version: What they were published as.
            checkpoint: The checkpoint that holds them and their optimizer.
        """
        return msgspec.structs.replace(
            self._serving(version),
            lineage=version,
            champion_checkpoint=checkpoint,
            holds_in_row=0,
            base_rows=self.base_rows + self.rows_since_champion,
            rows_since_champion=0,
        )

    def held(self) -> "LineState":
        """Return the state after one more hold."""
        return msgspec.structs.replace(self, holds_in_row=self.holds_in_row + 1)

    def rolled_back(self, version: str, rows: int) -> "LineState":
        """Return the state in which an older version serves and promotions are stopped; the weights stay.

        Args:
            version: What serves; may be of another model line.
            rows: Rows of this line that its weights have learned.
        """
        state = self if version == self.champion else self._serving(version)
        held_by_weights = self.knowledge.rows
        base = min(rows, held_by_weights)
        return msgspec.structs.replace(
            state,
            promotions_stopped=True,
            holds_in_row=0,
            base_rows=base,
            rows_since_champion=held_by_weights - base,
        )

    def restored(self, version: str, knowledge: Knowledge) -> "LineState":
        """Return the state in which the weights are those of an older version again, and learning goes on from there.

        Args:
            version: The version.
            knowledge: What its weights have learned.
        """
        undone = {
            partition: (start, stop)
            for partition, stop in self.offsets.items()
            if (start := knowledge.covered.get(partition, self.first_offsets.get(partition, 0))) < stop
        }
        ever = self.knowledge.rows + self.discarded_rows
        return msgspec.structs.replace(
            self,
            lineage=version,
            covered=dict(knowledge.covered),
            gaps=(*knowledge.gaps, *([undone] if undone else ()))[-MAX_GAPS:],
            holds_in_row=0,
            base_rows=knowledge.rows,
            rows_since_champion=0,
            discarded_rows=ever - knowledge.rows,
        )

    def may_promote_again(self) -> "LineState":
        """Return the state after an operator ended a rollback."""
        return msgspec.structs.replace(self, promotions_stopped=False)

    def with_pause(self, *, paused: bool) -> "LineState":
        """Return the state in which updates are cut, or are not."""
        return msgspec.structs.replace(self, paused=paused)

    def commands_read(self, offset: int) -> "LineState":
        """Return the state after the commands before an offset."""
        return msgspec.structs.replace(self, command_offset=offset)

    def recorded(self, segment: SegmentReference) -> "LineState":
        """Return the state in which a ledger segment is the last one of the chain."""
        return msgspec.structs.replace(self, ledger=segment)

    def remembering(
        self,
        *,
        num_steps: int,
        statistics: dict[str, Any],
        replay_state: dict[str, Any] | None = None,
        evidence_ms: tuple[int | None, int] = (None, 0),
        num_newest_judged: int = 0,
        shares: Mapping[str, float] | None = None,
    ) -> "LineState":
        """Return the state that goes beside the tensors of a checkpoint; arguments are named as its attributes."""
        return msgspec.structs.replace(
            self,
            num_steps=num_steps,
            statistics=statistics,
            replay_state=replay_state or {},
            evidence_since_ms=evidence_ms[0],
            evidence_until_ms=evidence_ms[1],
            num_newest_judged=num_newest_judged,
            shares=dict(shares or {}),
        )

    def _serving(self, version: str) -> "LineState":
        earlier = _older((*self.served_before, self.champion), version)[-MAX_EARLIER:]
        return msgspec.structs.replace(
            self, champion=version, previous=self.champion, earlier=earlier, champion_checkpoint=None
        )


def _older(versions: tuple[str, ...], than: str) -> tuple[str, ...]:
    """Return those versions that were published before another one in its line; names sort by number."""
    line, _, _ = than.partition("-")
    return tuple(version for version in versions if version.startswith(f"{line}-") and version < than)
