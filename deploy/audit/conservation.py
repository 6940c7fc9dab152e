"""The conservation law over distinct ids: every record is followed by id through every stage, none is subtracted.

Pure: it takes records in any order and knows neither Kafka nor files.
"""

from collections.abc import Iterable, KeysView, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from deploy.audit.click_account import ClickAccount, ClickId
from deploy.audit.gone_account import GoneAccount
from deploy.audit.report import AuditReport, RevisedCounts, named
from deploy.audit.revision_account import Reached, RevisionAccount
from stream.cluster.log import LogRecord
from stream.dead_letters import GONE, LOST_CLICK_REASONS
from stream.events import EventError, Impression, decode_event, decode_labeled
from stream.example_batch import decode_examples
from stream.topics import TopicKind

Place = tuple[TopicKind, int, int]
"""Topic, partition and offset of a record."""


@dataclass(frozen=True)
class Settled:
    """Next offset, by partition, that each reader has settled: what lies before it must have an outcome.

    Attributes:
        join: The label join, in `events`.
        scorer: The scorer, in `labeled-impressions`.
        trainer: The trainer's checkpoint, in `weighted-examples`.
        line_start: Where the trainer's model line began there; what is before it, the line was told not to learn.
    """

    join: dict[int, int]
    scorer: dict[int, int]
    trainer: dict[int, int]
    line_start: Mapping[int, int] = field(default_factory=dict)

    def is_open(self, kind: TopicKind, partition: int, offset: int) -> bool:
        """Return whether the reader of a topic may still give this record an outcome."""
        readers = {"events": self.join, "labeled-impressions": self.scorer, "weighted-examples": self.trainer}
        return offset >= readers[kind].get(partition, 0)


class Decision(NamedTuple):
    """A row of the trainer's ledger; fields as there."""

    line: str
    impression_id: str
    revision: int
    outcome: str
    source_partition: int = 0
    source_offset: int = 0


class Conservation:
    """Takes every record of the topics and every decision of the trainer; `report` says where each id ended.

    Args:
        settled: How far each reader was, noted before the topics' ends were.
        topics: Kind of each topic by its full name, as dead letters name their origin.

    Attributes:
        start: Where the count begins, by partition of `events`; 0 where it is not named. Set it when the dead letters
            are taken and before anything else is: retention may have deleted outcomes of what is before it.
        letters_since_ms: Record time from which every dead letter is there.
    """

    def __init__(self, settled: Settled, topics: dict[str, TopicKind]) -> None:
        self.start: Mapping[int, int] = {}
        self.letters_since_ms = 0
        self._settled = settled
        self._topics = topics
        self._reasons: dict[Place, str] = {}
        self._records = 0
        self._impressions = Reached()
        self._before: set[str] = set()
        self._clicks = ClickAccount()
        self._gone = GoneAccount()
        self._unusable: dict[Place, str | None] = {}
        self._first = RevisionAccount()
        self._revised = RevisionAccount("revised")
        self._label_by_id: dict[str, int] = {}
        self._cut: set[str] = set()

    def take_dead_letter(self, record: LogRecord) -> None:
        """Take a record of `dead-letters`. All of them come before anything else."""
        headers = {name: value.decode(errors="replace") for name, value in record.headers.items()}
        if headers.get("millstream.reason") == GONE:
            self._gone.take(headers)
            return
        kind = self._topics.get(headers.get("millstream.topic", ""))
        if kind is None:  # it comes from a foreign topic, by the adapter
            return
        try:
            place = (kind, int(headers["millstream.partition"]), int(headers["millstream.offset"]))
            self._reasons.setdefault(place, headers["millstream.reason"])
        except (KeyError, ValueError):  # somebody else's letter: it stands for no record of ours
            return

    def take_event(self, record: LogRecord) -> None:
        """Take a record of `events`."""
        place: Place = ("events", record.partition, record.offset)
        reason = self._reasons.get(place)
        is_open = self._settled.is_open(*place)
        start = self.start.get(record.partition, 0)
        try:
            event = decode_event(record.value)
        except EventError:
            event = None
        if event is None or (reason is not None and reason not in LOST_CLICK_REASONS):
            if record.offset >= start:
                self._records += 1
                self._unusable[place] = reason
        elif not isinstance(event, Impression):
            self._clicks.take(event, record.offset, start, reason, is_open=is_open)
        elif record.offset < start or event.impression_id in self._before:
            self._before.add(event.impression_id)
        else:
            self._records += 1
            self._impressions.add(event.impression_id, is_open=is_open)

    def take_label(self, record: LogRecord) -> None:
        """Take a record of `labeled-impressions`."""
        place: Place = ("labeled-impressions", record.partition, record.offset)
        try:
            labeled = decode_labeled(record.value)
        except EventError:
            self._take_unusable(place, record)
            return
        key = labeled.impression.impression_id
        if self._is_before(key, labeled.source_partition, labeled.source_offset):
            return
        account = self._account(labeled.revision)
        first = account.take_label(key, is_open=self._settled.is_open(*place), is_refused=place in self._reasons)
        if first and not labeled.revision:
            self._label_by_id[key] = labeled.label
            if labeled.window_cut:
                self._cut.add(key)
        from_zero = not self.start.get(labeled.source_partition, 0)
        self._clicks.take_label(labeled, first=first, from_zero=from_zero)

    def take_examples(self, record: LogRecord) -> None:
        """Take a record of `weighted-examples`."""
        place: Place = ("weighted-examples", record.partition, record.offset)
        try:
            examples = decode_examples(record.value)
        except EventError:
            self._take_unusable(place, record)
            return
        is_open = self._settled.is_open(*place)
        is_before_line = record.offset < self._settled.line_start.get(record.partition, 0)
        for labeled in (example.labeled for example in examples):
            key = labeled.impression.impression_id
            if not self._is_before(key, labeled.source_partition, labeled.source_offset):
                account = self._account(labeled.revision)
                account.take_score(key, is_open=is_open, is_before_line=is_before_line)

    def take_decision(self, decision: Decision) -> None:
        """Take a row of the trainer's ledger: trained, sampled_out, failed, repeat, late or replayed."""
        key = decision.impression_id
        if not self._is_before(key, decision.source_partition, decision.source_offset):
            self._account(decision.revision).take_decision(decision.line, key, decision.outcome)

    @property
    def impression_ids(self) -> KeysView[str]:
        """Ids of all impressions in `events` that are counted."""
        return self._impressions.open_by_id.keys()

    @property
    def click_ids(self) -> KeysView[ClickId]:
        """Ids of all clicks in `events`."""
        return self._clicks.ids

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
        clicks, lost_clicks = self._clicks.outcomes(self.impression_ids)
        num_clicks, num_click_records = self._clicks.num_records(self.impression_ids)
        lost = [
            *named("impression", "neither labeled nor pending: lost by the label join", lost_impressions),
            *named("click", "without an outcome: lost by the label join", lost_clicks),
            *named("unusable record", "without a dead letter", unusable["lost"]),
            *self._first.lost(),
            *self._revised.lost(),
        ]
        return AuditReport(
            records=self._records + num_click_records,
            impressions=len(self._impressions.open_by_id),
            clicks=num_clicks,
            dead_lettered=len(unusable["events"]),
            unusable_waiting=len(unusable["waiting"]),
            duplicates=self._impressions.repeats + num_click_records - num_clicks,
            pending=len(pending),
            **self._first.counts(),
            **clicks,
            dead_lettered_later=len(unusable["later"]),
            revised=self._revised_counts(),
            gone=self._gone.num_records(),
            counted_from={number: offset for number, offset in sorted(self.start.items()) if offset},
            problems=(*problems, *self._gone.problems(), *lost, *self._contradictions()),
        ).checked()

    def _is_before(self, impression_id: str, source_partition: int, source_offset: int) -> bool:
        """Return whether an outcome is of an impression before the count, so that its own outcomes may be deleted."""
        return impression_id not in self.impression_ids and source_offset < self.start.get(source_partition, 0)

    def _take_unusable(self, place: Place, record: LogRecord) -> None:
        reason = self._reasons.get(place)
        if reason is not None or record.timestamp_ms >= self.letters_since_ms:
            self._unusable[place] = reason

    def _account(self, revision: int) -> RevisionAccount:
        return self._revised if revision else self._first

    def _revised_counts(self) -> RevisedCounts | None:
        counts = self._revised.counts()
        return RevisedCounts(joined_clicks=self._clicks.num_revising(), **counts) if any(counts.values()) else None

    def _contradictions(self) -> list[str]:
        """Return what no loss explains: outcomes of nothing, or two outcomes of one thing."""
        clicks = self._clicks.contradictions(self.impression_ids)
        return [
            *(problem for how, click_ids in clicks for problem in named("click", how, click_ids)),
            *named("label", "without an impression in events", self._label_by_id.keys() - self.impression_ids),
            *named("revised label", "without a first label", self._revised.labeled_ids - self._first.labeled_ids),
            *self._first.contradictions(),
            *self._revised.contradictions(),
        ]

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
