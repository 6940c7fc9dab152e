"""What became of clicks: joined to a label, a dead letter with its reason, waiting, or lost."""

from collections.abc import Collection, KeysView
from dataclasses import dataclass

from stream.events import Click, LabeledImpression

ClickId = tuple[str, str]
"""Impression id and click id: what the label join tells clicks by."""

_TERMS = ("joined_clicks", "further_clicks", "late_clicks", "orphaned_clicks", "excess_clicks", "waiting_clicks")


@dataclass
class _Copies:
    """All copies of one click.

    Attributes:
        number: How many there are.
        is_open: Whether any may still get its outcome.
        reason: Why the first with a dead letter has it.
        is_before: Whether all lie before the place where the audit's count begins.
    """

    number: int = 0
    is_open: bool = False
    reason: str | None = None
    is_before: bool = True


class ClickAccount:
    """Takes clicks and then labels; tells where every click ended.

    Where the count does not begin at offset 0, a click without an outcome may lie in a label that retention has
    deleted: unless its impression is counted it is none of the account.
    """

    def __init__(self) -> None:
        self._clicks: dict[ClickId, _Copies] = {}
        self._from_zero: dict[ClickId, bool] = {}
        self._joined: dict[ClickId, bool] = {}
        self._joined_by_repeat: list[str] = []
        self._revising: set[ClickId] = set()
        self._unprovable: set[ClickId] = set()

    @property
    def ids(self) -> KeysView[ClickId]:
        """Ids of all clicks in `events`."""
        return self._clicks.keys()

    def take(self, click: Click, offset: int, start: int, reason: str | None, *, is_open: bool) -> None:
        """Take a copy of a click.

        Args:
            click: The click.
            offset: Where it stands in its partition.
            start: Where the count begins there.
            reason: Of its dead letter, when it has one.
            is_open: Whether the label join may still give it an outcome.
        """
        key = (click.impression_id, click.click_id)
        copies = self._clicks.setdefault(key, _Copies())
        copies.number += 1
        copies.is_open |= is_open
        copies.reason = copies.reason or reason
        copies.is_before &= offset < start
        self._from_zero[key] = start == 0

    def take_label(self, labeled: LabeledImpression, *, first: bool, from_zero: bool) -> None:
        """Take the clicks of a counted label.

        Args:
            labeled: The label.
            first: Whether it is the first copy of its revision.
            from_zero: Whether all clicks that it can name are in the topic.
        """
        for rank, click_id in enumerate(labeled.click_ids):
            key = (labeled.impression.impression_id, click_id)
            if not from_zero:
                self._unprovable.add(key)
            if key not in self._joined:
                self._joined[key] = first and rank == 0
                # A positive that was made again may name another click, when the one that came before its impression
                # was settled by then: it is a further click, and the first copy is as right as before.
                if not first and not labeled.revision:
                    self._joined_by_repeat.append(click_id)
                elif first and labeled.revision and rank == 0:
                    self._revising.add(key)

    def num_revising(self) -> int:
        """Return how many clicks revised a label; those that retention may have deleted count on the label's word."""
        return len(self._revising & (self._clicks.keys() | self._unprovable))

    def num_records(self, impression_ids: Collection[str]) -> tuple[int, int]:
        """Return how many clicks are counted, and how many records they are."""
        counted = [copies.number for key, copies in self._clicks.items() if self._counts(key, copies, impression_ids)]
        return len(counted), sum(counted)

    def outcomes(self, impression_ids: Collection[str]) -> tuple[dict[str, int], list[str]]:
        """Return the terms of the law for clicks, and the ids of those that are lost.

        Args:
            impression_ids: The impressions that are counted.
        """
        counts = dict.fromkeys(_TERMS, 0)
        lost = []
        for key, copies in self._clicks.items():
            if not self._counts(key, copies, impression_ids):
                continue
            # A label outweighs a dead letter: a repeat of a joined click, or one re-read after a restart, may have one.
            if key in self._joined:
                counts["joined_clicks" if self._joined[key] else "further_clicks"] += 1
            elif copies.reason is not None:
                counts[f"{_in_hindsight(key, copies.reason, impression_ids)}s"] += 1
            elif copies.is_open:
                counts["waiting_clicks"] += 1
            else:
                lost.append(key[1])
        return counts, lost

    def contradictions(self, impression_ids: Collection[str]) -> list[tuple[str, list[str]]]:
        """Return what no loss explains: how it is wrong, and the ids of the clicks."""
        joined = {impression_id for impression_id, _ in self._joined}
        unknown = [click_id for _, click_id in self._joined.keys() - self._clicks.keys() - self._unprovable]
        # What is open is left out: its letter may be inside the extents where the label written before it is not.
        further = [
            click_id
            for (impression_id, click_id), copies in self._clicks.items()
            if copies.reason == "further_click"
            and not copies.is_open
            and impression_id not in joined
            and (self._from_zero[impression_id, click_id] or impression_id in impression_ids)
        ]
        return [
            ("only in a repeated label: the first label is wrong", self._joined_by_repeat),
            ("in a label but not in events", unknown),
            ("further on an impression that no click joined", further),
        ]

    def _counts(self, key: ClickId, copies: _Copies, impression_ids: Collection[str]) -> bool:
        if key[0] in impression_ids or self._from_zero[key]:
            return True
        return not copies.is_before and (copies.is_open or copies.reason is not None)


def _in_hindsight(click: ClickId, reason: str, impression_ids: Collection[str]) -> str:
    """Return why no label takes a click; a join that was restarted could not tell late from orphaned."""
    if reason != "unmatched_click":
        return reason
    return "late_click" if click[0] in impression_ids else "orphaned_click"
