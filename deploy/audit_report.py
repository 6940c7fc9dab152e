"""What an audit found: every term of the conservation law, each counted on its own."""

from dataclasses import dataclass, replace


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
        joined_clicks: Clicks that came first on a labeled impression.
        further_clicks: Further clicks on it inside its window.
        late_clicks: Clicks after their impression's window closed; dead letters.
        orphaned_clicks: Clicks on no impression; dead letters.
        excess_clicks: Clicks beyond the most that one impression takes; dead letters.
        waiting_clicks: Clicks the label join has not settled.
        repeated_labels: Further copies of labels, after restarts.
        repeated_scores: Further copies of weighted examples.
        revised_labels: Labels that revise an earlier one.
        dead_lettered_later: Dead letters from topics after `events`.
        discarded: Learned rows that a restored champion undid; a part of `trained`.
        produced: Records in the producer's ledger; None without one.
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
    revised_labels: int
    dead_lettered_later: int
    discarded: int = 0
    produced: int | None = None
    problems: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether every law holds and nothing is missing, wrong or taught twice."""
        return not self.problems

    @property
    def waiting(self) -> int:
        """Labeled impressions that nothing has decided about yet, scored or not."""
        return self.waiting_to_score + self.waiting_to_train

    def laws(self) -> list[tuple[str, int, int]]:
        """Return the conservation laws: text, left side, right side."""
        return [
            (
                "records = impressions + clicks + duplicates + dead-lettered + waiting",
                self.records,
                self.impressions + self.clicks + self.duplicates + self.dead_lettered + self.unusable_waiting,
            ),
            ("impressions = labeled + pending", self.impressions, self.labeled + self.pending),
            (
                "labeled = scored + refused + waiting",
                self.labeled,
                self.scored + self.refused + self.waiting_to_score,
            ),
            (
                "scored = trained + sampled out + too late + waiting",
                self.scored,
                self.trained + self.sampled_out + self.too_late + self.waiting_to_train,
            ),
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
        ]

    def checked(self) -> "AuditReport":
        """Return this report with every broken law among its problems."""
        broken = [f"{law}: {left} is not {right}" for law, left, right in self.laws() if left != right]
        return replace(self, problems=(*self.problems, *broken))
