"""Compares the topics with the producer's ledger: what was sent is there, and every label is what it should be."""

from pathlib import Path

from deploy.audit.conservation import Conservation
from deploy.audit.report import named
from stream.play.ledger import read_producer_ledger

_IMPRESSIONS = {"impression", "repeated_impression"}
_CLICKS = {"click", "late_click", "orphaned_click", "repeated_click"}


def compare_with_producer(path: Path, conservation: Conservation) -> tuple[int, list[str]]:
    """Return the number of records in the producer's ledger, and what is wrong, one line each.

    A label is compared where it is out and its window was not cut short. Other producers may have sent more. What was
    sent before the place where the audit's count begins is not compared: retention may have deleted it.

    Raises:
        ValueError: The ledger cannot be read.
    """
    table = read_producer_ledger(path)
    names = ("kind", "partition", "offset", "impression_id", "click_id", "label")
    missing: list[str] = []
    usable: list[str] = []
    wrong: list[str] = []
    for kind, partition, offset, impression_id, click_id, label in zip(
        *(table.column(name).to_pylist() for name in names), strict=True
    ):
        if offset < conservation.start.get(partition, 0):
            continue
        if kind in _IMPRESSIONS:
            if impression_id not in conservation.impression_ids:
                missing.append(impression_id)
            elif kind == "impression" and conservation.label(impression_id) not in {None, label}:
                wrong.append(impression_id)
        elif kind in _CLICKS:
            if (impression_id, click_id) not in conservation.click_ids:
                missing.append(click_id)
        elif ("events", partition, offset) not in conservation.unusable_places:
            usable.append(f"events/{partition}/{offset}")
    problems = [
        *named("event", "confirmed to the producer but not in events", missing),
        *named("record", "sent as unusable but read as an event, or not there", usable),
        *named("label", "that differ from the producer's ledger", wrong),
    ]
    return len(table), problems
