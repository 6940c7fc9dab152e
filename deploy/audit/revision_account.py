"""What became of the labels of one revision: from label to score to the trainer's decision, by impression id."""

from collections.abc import Iterable, KeysView
from dataclasses import dataclass, field

from deploy.audit.report import named

SETTLED = ("trained", "sampled_out", "failed", "late")
"""Outcomes in the trainer's ledger that settle a row; repeats and replays settle nothing."""


@dataclass
class Reached:
    """The distinct ids that came so far; the value tells whether any copy may still get its next outcome."""

    open_by_id: dict[str, bool] = field(default_factory=dict)
    repeats: int = 0

    def add(self, key: str, *, is_open: bool) -> bool:
        """Note a copy, and return whether it is the first."""
        first = key not in self.open_by_id
        self.repeats += not first
        self.open_by_id[key] = is_open or self.open_by_id.get(key, False)
        return first

    def without(self, *outcomes: Iterable[str]) -> tuple[list[str], list[str]]:
        """Return the ids in none of the outcomes, those that wait and those that are lost."""
        had: set[str] = set().union(*outcomes)
        left = [(key, is_open) for key, is_open in self.open_by_id.items() if key not in had]
        return [key for key, is_open in left if is_open], [key for key, is_open in left if not is_open]


class RevisionAccount:
    """Takes labels, scores and decisions of one revision in any order.

    Args:
        adjective: Put before what a problem names, to tell the revisions apart; empty for the first labels.
    """

    def __init__(self, adjective: str = "") -> None:
        self._adjective = f"{adjective} " if adjective else ""
        self._labels = Reached()
        self._refused: set[str] = set()
        self._scores = Reached()
        self._before_line: set[str] = set()
        self._decisions: set[tuple[str, str]] = set()
        self._decided: dict[str, set[str]] = {name: set() for name in SETTLED}
        self._twice: list[str] = []

    @property
    def labeled_ids(self) -> KeysView[str]:
        """Impressions with a label."""
        return self._labels.open_by_id.keys()

    def take_label(self, impression_id: str, *, is_open: bool, is_refused: bool) -> bool:
        """Take a copy of a label, and return whether it is the first.

        Args:
            impression_id: Whose label.
            is_open: Whether the scorer may still come to it.
            is_refused: Whether the scorer wrote a dead letter for it.
        """
        if is_refused:
            self._refused.add(impression_id)
        return self._labels.add(impression_id, is_open=is_open)

    def take_score(self, impression_id: str, *, is_open: bool, is_before_line: bool = False) -> None:
        """Take a copy of a weighted example.

        Args:
            impression_id: Whose score.
            is_open: Whether the trainer may still come to it.
            is_before_line: Whether the trainer's model line begins after it.
        """
        if is_before_line:
            self._before_line.add(impression_id)
        self._scores.add(impression_id, is_open=is_open)

    def take_decision(self, line: str, impression_id: str, outcome: str) -> None:
        """Take a row of the trainer's ledger."""
        if outcome not in self._decided:
            return
        if outcome != "late":
            if (line, impression_id) in self._decisions:
                self._twice.append(impression_id)
            self._decisions.add((line, impression_id))
        self._decided[outcome].add(impression_id)

    def counts(self) -> dict[str, int]:
        """Return the terms of the law as `AuditReport` and `RevisedCounts` name them."""
        to_score, _ = self._labels.without(self._scores.open_by_id, self._refused)
        to_train, _ = self._scores.without(*self._decided.values(), self._before_line)
        trained, sampled_out = self._decided["trained"], self._decided["sampled_out"] - self._decided["trained"]
        failed = self._decided["failed"] - trained - sampled_out
        return {
            "labeled": len(self._labels.open_by_id),
            "scored": len(self._scores.open_by_id),
            "refused": len(self._refused - self._scores.open_by_id.keys()),
            "waiting_to_score": len(to_score),
            "trained": len(trained),
            "sampled_out": len(sampled_out),
            "failed": len(failed),
            "too_late": len(self._decided["late"] - trained - sampled_out - failed),
            "before_line": len(self._before_line - set().union(*self._decided.values())),
            "waiting_to_train": len(to_train),
            "repeated_labels": self._labels.repeats,
            "repeated_scores": self._scores.repeats,
        }

    def lost(self) -> list[str]:
        """Return what the scorer and the trainer lost, one line each."""
        _, lost_labels = self._labels.without(self._scores.open_by_id, self._refused)
        _, lost_scores = self._scores.without(*self._decided.values(), self._before_line)
        scored = "neither learned, sampled out nor waiting: lost by the trainer"
        return [
            *self._named("labeled impression", "neither scored nor waiting: lost by the scorer", lost_labels),
            *self._named("scored impression", scored, lost_scores),
        ]

    def contradictions(self) -> list[str]:
        """Return what no loss explains, one line each: outcomes of nothing, or two outcomes of one thing."""
        decided = self._decided["trained"] | self._decided["sampled_out"] | self._decided["failed"]
        return [
            *self._named("impression", "decided twice by one model line", self._twice),
            *self._named("score", "without a label", self._scores.open_by_id.keys() - self._labels.open_by_id.keys()),
            *self._named("decision", "without a score", decided - self._scores.open_by_id.keys()),
        ]

    def _named(self, what: str, how: str, names: Iterable[str]) -> list[str]:
        return named(self._adjective + what, how, names)
