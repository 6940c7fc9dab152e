"""The conservation law over distinct ids: every record is followed by id through every stage, none is subtracted.

Pure: it takes records in any order and knows neither Kafka nor files.
"""

from collections.abc import Iterable, KeysView
from dataclasses import dataclass

from deploy.audit_report import AuditReport, RevisedCounts, named
from deploy.revision_account import RevisionAccount, Stage
from stream.dead_letters import LOST_CLICK_REASONS
from stream.events import Click, EventError, Impression, LabeledImpression, decode_event, decode_labeled
from stream.example_batch import decode_examples
from stream.topic_log import LogRecord
from stream.topics import TopicKind

Place = tuple[TopicKind, int, int]
"""Topic, partition and offset of a record."""

ClickId = tuple[str, str]
"""Impression id and click id: what the label join tells clicks by."""


@dataclass(frozen=True)
class Settled:
    """Next offset, by partition, that each reader has settled: what lies before it must have an outcome.

    Attributes:
        join: The label join, in `events`.
        scorer: The scorer, in `labeled-impressions`.
        trainer: The trainer's checkpoint, in `weighted-examples`.
    """

    join: dict[int, int]
    scorer: dict[int, int]
    trainer: dict[int, int]

    def is_open(self, kind: TopicKind, partition: int, offset: int) -> bool:
        """Return whether the reader of a topic may still give this record an outcome."""
        readers = {"events": self.join, "labeled-impressions": self.scorer, "weighted-examples": self.trainer}
        return offset >= readers[kind].get(partition, 0)


class Conservation:
    """Takes every record of the topics and every decision of the trainer; `report` says where each id ended.

    Args:
        settled: How far each reader was, noted before the topics' ends were.
        topics: Kind of each topic by its full name, as dead letters name their origin.
    """

    def __init__(self, settled: Settled, topics: dict[str, TopicKind]) -> None:
        self._settled = settled
        self._topics = topics
        self._reasons: dict[Place, str] = {}
        self._records = 0
        self._impressions = Stage()
        self._clicks: dict[ClickId, tuple[bool, str | None]] = {}
        self._repeated_clicks = 0
        self._unusable: dict[Place, str | None] = {}
        self._first = RevisionAccount()
        self._revised = RevisionAccount("revised")
        self._label_by_id: dict[str, int] = {}
        self._cut: set[str] = set()
        self._joined: dict[ClickId, bool] = {}
        self._joined_by_repeat: list[str] = []
        self._revising_clicks: set[ClickId] = set()

    def take_dead_letter(self, record: LogRecord) -> None:
        """Take a record of `dead-letters`. All of them come before anything else."""
        headers = {name: value.decode(errors="replace") for name, value in record.headers.items()}
        kind = self._topics.get(headers.get("millstream.topic", ""))
        if kind is not None:  # else it comes from a foreign topic, by the adapter
            place = (kind, int(headers["millstream.partition"]), int(headers["millstream.offset"]))
            self._reasons.setdefault(place, headers["millstream.reason"])

    def take_event(self, record: LogRecord) -> None:
        """Take a record of `events`."""
        self._records += 1
        place: Place = ("events", record.partition, record.offset)
        reason = self._reasons.get(place)
        is_open = self._settled.is_open(*place)
        try:
            event = decode_event(record.value)
        except EventError:
            self._unusable[place] = reason
            return
        if reason is not None and reason not in LOST_CLICK_REASONS:
            self._unusable[place] = reason
        elif isinstance(event, Impression):
            self._impressions.add(event.impression_id, is_open=is_open)
        else:
            self._take_click(event, reason, is_open=is_open)

    def take_label(self, record: LogRecord) -> None:
        """Take a record of `labeled-impressions`."""
        place: Place = ("labeled-impressions", record.partition, record.offset)
        try:
            labeled = decode_labeled(record.value)
        except EventError:
            self._unusable[place] = self._reasons.get(place)
            return
        key = labeled.impression.impression_id
        account = self._account(labeled.revision)
        first = account.take_label(key, is_open=self._settled.is_open(*place), is_refused=place in self._reasons)
        if first and not labeled.revision:
            self._label_by_id[key] = labeled.label
            if labeled.window_cut:
                self._cut.add(key)
        self._take_joined(labeled, first=first)

    def take_examples(self, record: LogRecord) -> None:
        """Take a record of `weighted-examples`."""
        place: Place = ("weighted-examples", record.partition, record.offset)
        try:
            examples = decode_examples(record.value)
        except EventError:
            self._unusable[place] = self._reasons.get(place)
            return
        is_open = self._settled.is_open(*place)
        for example in examples:
            labeled = example.labeled
            self._account(labeled.revision).take_score(labeled.impression.impression_id, is_open=is_open)

    def take_decision(self, line: str, impression_id: str, revision: int, outcome: str) -> None:
        """Take a row of the trainer's ledger: trained, sampled_out, repeat, late or replayed."""
        self._account(revision).take_decision(line, impression_id, outcome)

    @property
    def impression_ids(self) -> KeysView[str]:
        """Ids of all impressions in `events`."""
        return self._impressions.open_by_id.keys()

    @property
    def click_ids(self) -> KeysView[ClickId]:
        """Ids of all clicks in `events`."""
        return self._clicks.keys()

    @property
    def unusable_places(self) -> KeysView[Place]:
        """Where records that cannot be used stand."""
        return self._unusable.keys()

    def label(self, impression_id: str) -> int | None:
        """Return the last label of an impression; None without one, and for a window that was cut short.

        None too for a 0 while the label join has not settled the impression: a click may still revise it.
        """
        if impression_id in self._revised.labeled_ids:
            return 1
        label = self._label_by_id.get(impression_id)
        may_change = label == 0 and self._impressions.open_by_id.get(impression_id, False)
        return None if impression_id in self._cut or may_change else label

    def report(self, problems: Iterable[str] = ()) -> AuditReport:
        """Return where every id ended.

        Args:
            problems: What the caller found besides.
        """
        pending, lost_impressions = self._impressions.without(self._label_by_id)
        unusable = self._unusable_by_outcome()
        clicks, lost_clicks = self._click_counts()
        lost = [
            *named("impression", "neither labeled nor pending: lost by the label join", lost_impressions),
            *named("click", "without an outcome: lost by the label join", lost_clicks),
            *named("unusable record", "without a dead letter", unusable["lost"]),
            *self._first.lost(),
            *self._revised.lost(),
        ]
        return AuditReport(
            records=self._records,
            impressions=len(self._impressions.open_by_id),
            clicks=len(self._clicks),
            dead_lettered=len(unusable["events"]),
            unusable_waiting=len(unusable["waiting"]),
            duplicates=self._impressions.repeats + self._repeated_clicks,
            pending=len(pending),
            **self._first.counts(),
            **clicks,
            dead_lettered_later=len(unusable["later"]),
            revised=self._revised_counts(),
            problems=(*problems, *lost, *self._contradictions()),
        ).checked()

    def _account(self, revision: int) -> RevisionAccount:
        return self._revised if revision else self._first

    def _revised_counts(self) -> RevisedCounts | None:
        counts = self._revised.counts()
        joined = len(self._revising_clicks & self._clicks.keys())
        return RevisedCounts(joined_clicks=joined, **counts) if any(counts.values()) else None

    def _contradictions(self) -> list[str]:
        """Return what no loss explains: outcomes of nothing, or two outcomes of one thing."""
        unknown_clicks = [click_id for _, click_id in self._joined.keys() - self._clicks.keys()]
        return [
            *named("click", "only in a repeated label: the first label is wrong", self._joined_by_repeat),
            *named("click", "in a label but not in events", unknown_clicks),
            *named("click", "further on an impression that no click joined", self._further_of_none()),
            *named("label", "without an impression in events", self._label_by_id.keys() - self.impression_ids),
            *named("revised label", "without a first label", self._revised.labeled_ids - self._first.labeled_ids),
            *self._first.contradictions(),
            *self._revised.contradictions(),
        ]

    def _further_of_none(self) -> list[str]:
        joined = {impression_id for impression_id, _ in self._joined}
        # What is open is left out: its letter may be inside the extents where the label written before it is not.
        return [
            click_id
            for (impression_id, click_id), (is_open, reason) in self._clicks.items()
            if reason == "further_click" and not is_open and impression_id not in joined
        ]

    def _take_click(self, click: Click, reason: str | None, *, is_open: bool) -> None:
        key = (click.impression_id, click.click_id)
        was_open, earlier = self._clicks.get(key, (False, None))
        self._repeated_clicks += key in self._clicks
        self._clicks[key] = (is_open or was_open, earlier or reason)

    def _take_joined(self, labeled: LabeledImpression, *, first: bool) -> None:
        for rank, click_id in enumerate(labeled.click_ids):
            key = (labeled.impression.impression_id, click_id)
            if key not in self._joined:
                self._joined[key] = first and rank == 0
                # A positive that was made again may name another click, when the one that came before its impression
                # was settled by then: it is a further click, and the first copy is as right as before.
                if not first and not labeled.revision:
                    self._joined_by_repeat.append(click_id)
                elif first and labeled.revision and rank == 0:
                    self._revising_clicks.add(key)

    def _unusable_by_outcome(self) -> dict[str, list[str]]:
        """Return unusable records by what became of them, those without a dead letter by whether they are due."""
        places: dict[str, list[str]] = {name: [] for name in ("events", "later", "waiting", "later_waiting", "lost")}
        for place, reason in self._unusable.items():
            if reason is not None:
                outcome = "events" if place[0] == "events" else "later"
            elif self._settled.is_open(*place):
                outcome = "waiting" if place[0] == "events" else "later_waiting"
            else:
                outcome = "lost"
            places[outcome].append("{}/{}/{}".format(*place))
        return places

    def _click_counts(self) -> tuple[dict[str, int], list[str]]:
        counts = dict.fromkeys(
            (
                "joined_clicks",
                "further_clicks",
                "late_clicks",
                "orphaned_clicks",
                "excess_clicks",
                "waiting_clicks",
            ),
            0,
        )
        lost = []
        for key, (is_open, reason) in self._clicks.items():
            # A label outweighs a dead letter: a repeat of a joined click, or one re-read after a restart, may have one.
            if key in self._joined:
                counts["joined_clicks" if self._joined[key] else "further_clicks"] += 1
            elif reason is not None:
                counts[f"{self._reason_in_hindsight(key, reason)}s"] += 1
            elif is_open:
                counts["waiting_clicks"] += 1
            else:
                lost.append(key[1])
        return counts, lost

    def _reason_in_hindsight(self, click: ClickId, reason: str) -> str:
        """Return why no label takes a click; a join that was restarted could not tell late from orphaned."""
        if reason != "unmatched_click":
            return reason
        return "late_click" if click[0] in self._impressions.open_by_id else "orphaned_click"
