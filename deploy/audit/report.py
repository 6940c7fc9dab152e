"""What an audit found: every term of the conservation law, each counted on its own."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

Law = tuple[str, int, int]
"""Text, left side, right side."""

_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class RevisedCounts:
    """What became of revision 1, the labels that early-negative mode sends for clicked impressions.

    Attributes:
        labeled: Impressions with a revised label.
        joined_clicks: Clicks that revised one; a part of the report's joined clicks.

    The others are as in `AuditReport`.
    """

    labeled: int
    joined_clicks: int
    scored: int
    refused: int
    waiting_to_score: int
    trained: int
    sampled_out: int
    too_late: int
    waiting_to_train: int
    repeated_labels: int
    repeated_scores: int
    before_line: int = 0
    failed: int = 0

    def laws(self) -> list[Law]:
        """Return the conservation laws of revised labels."""
        laws = [("labeled = joined clicks", self.labeled, self.joined_clicks), *_label_laws(self)]
        return [(f"revised: {law}", left, right) for law, left, right in laws]


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """Counts over distinct ids; repeats stand apart.

    Attributes:
        records: Records in `events`.
        impressions: Impressions in `events`.
        clicks: Clicks in `events`.
        dead_lettered: Unusable records of `events` that have their dead letter.
        unusable_waiting: Unusable records of `events` that the label join has not come to.
        duplicates: Second copies of impressions and clicks in `events`.
        labeled: Impressions with a label.
        pending: Impressions without one that the label join has not settled: their windows are open.
        scored: Labeled impressions with a weighted example.
        refused: Labeled impressions the scorer could not use; they have a dead letter.
        waiting_to_score: Labeled impressions the scorer has not come to.
        trained: Scored impressions that were learned.
        sampled_out: Scored impressions that the selection left out.
        too_late: Scored impressions so old that a repeat could not be told any more; never learned.
        waiting_to_train: Scored impressions the trainer has not come to.
        failed: Scored impressions that were chosen and could not be learned, because of an error or of numbers that are
            not finite.
        before_line: Scored impressions that lie before the start of the trainer's model line, and no line learned.
        joined_clicks: Clicks that came first on a labeled impression.
        further_clicks: Further clicks on it inside its window.
        late_clicks: Clicks after their impression's window closed; dead letters.
        orphaned_clicks: Clicks on no impression; dead letters.
        excess_clicks: Clicks beyond the most that one impression takes; dead letters.
        waiting_clicks: Clicks the label join has not settled.
        repeated_labels: Further copies of labels, after restarts.
        repeated_scores: Further copies of weighted examples.
        dead_lettered_later: Dead letters from topics after `events`.
        revised: Revised labels, counted apart; None when there are none.
        discarded: Learned rows that a restored champion undid; a part of those trained.
        produced: Records in the producer's ledger; None without one.
        gone: Records that retention deleted before they were read, by what dead letters tell of them.
        counted_from: First offset of `events` that is counted, by partition; partitions counted from 0 are left out.
        problems: Everything that is wrong, one line each.
    """

    records: int
    impressions: int
    clicks: int
    dead_lettered: int
    unusable_waiting: int
    duplicates: int
    labeled: int
    pending: int
    scored: int
    refused: int
    waiting_to_score: int
    trained: int
    sampled_out: int
    too_late: int
    waiting_to_train: int
    joined_clicks: int
    further_clicks: int
    late_clicks: int
    orphaned_clicks: int
    excess_clicks: int
    waiting_clicks: int
    repeated_labels: int
    repeated_scores: int
    dead_lettered_later: int
    revised: RevisedCounts | None = None
    before_line: int = 0
    failed: int = 0
    discarded: int = 0
    produced: int | None = None
    gone: int = 0
    counted_from: dict[int, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether every law holds and nothing is missing, wrong or taught twice."""
        return not self.problems

    @property
    def waiting(self) -> int:
        """Labels that nothing has decided about yet, scored or not."""
        waiting = self.waiting_to_score + self.waiting_to_train
        return waiting + (self.revised.waiting_to_score + self.revised.waiting_to_train if self.revised else 0)

    def terms(self) -> dict[str, int]:
        """Return every count there is by its name."""
        fields: dict[str, Any] = asdict(self)
        del fields["problems"], fields["counted_from"]
        revised: dict[str, int] = fields.pop("revised") or {}
        fields |= {f"revised_{name}": value for name, value in revised.items()}
        return {name: value for name, value in fields.items() if value is not None}

    def laws(self) -> list[Law]:
        """Return the conservation laws: text, left side, right side."""
        return [
            (
                "records = impressions + clicks + duplicates + dead-lettered + waiting",
                self.records,
                self.impressions + self.clicks + self.duplicates + self.dead_lettered + self.unusable_waiting,
            ),
            ("impressions = labeled + pending", self.impressions, self.labeled + self.pending),
            *_label_laws(self),
            (
                "clicks = joined + further + late + orphaned + excess + waiting",
                self.clicks,
                self.joined_clicks
                + self.further_clicks
                + self.late_clicks
                + self.orphaned_clicks
                + self.excess_clicks
                + self.waiting_clicks,
            ),
            *(self.revised.laws() if self.revised else ()),
        ]

    def checked(self) -> "AuditReport":
        """Return this report with every broken law among its problems."""
        broken = [f"{law}: {left} is not {right}" for law, left, right in self.laws() if left != right]
        return replace(self, problems=(*self.problems, *broken))


def named(what: str, how: str, names: Iterable[str]) -> list[str]:
    """Return one line that counts the names and lists the first few; nothing when there are none."""
    found = sorted(names)
    if not found:
        return []
    more = ", ..." if len(found) > _NAMED else ""
    return [f"{len(found)} {what}{'s' if len(found) > 1 else ''} {how}: {', '.join(found[:_NAMED])}{more}"]


def _label_laws(counts: AuditReport | RevisedCounts) -> list[Law]:
    return [
        (
            "labeled = scored + refused + waiting",
            counts.labeled,
            counts.scored + counts.refused + counts.waiting_to_score,
        ),
        (
            "scored = trained + sampled out + failed + too late + before the line + waiting",
            counts.scored,
            counts.trained
            + counts.sampled_out
            + counts.failed
            + counts.too_late
            + counts.before_line
            + counts.waiting_to_train,
        ),
    ]
