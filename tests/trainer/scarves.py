"""A stream in which scarves are clicked, and what a trainer that learned some of it did."""

import msgspec

from stream.events import RoleScore
from tests.trainer.rig import START_MS, example
from trainer.plans.example_record import ExampleRecord

LINE = "00000000"

ALWAYS = {"inclusion_probability": 1.0}
NEWEST = {"ladder_rows": 0}
"""What serves is the newest weights, not what the ladder makes of them."""


def one_partition(plans):
    """Return a log of one record a plan, all in partition 0."""
    return [ExampleRecord(0, offset, START_MS + offset * 1000, tuple(rows)) for offset, rows in enumerate(plans)]


def scarves(start, *, num_rows=64, flip=False, skilled=True):
    """Return rows in which scarves are clicked, or with `flip` the rest; a skilled live version knows scarves."""
    rows = []
    for index in range(start, start + num_rows):
        plain = example(index, **ALWAYS)
        is_scarf = "scarf" in plain.labeled.impression.item_text
        label = int(is_scarf != flip)
        # Without a slip now and then the live version would be perfect and its AUC without variance.
        knows = is_scarf if index % 9 else not is_scarf
        live = RoleScore(version="live", z=2.0 if knows and skilled else -2.0 + 0.001 * (index * index * 31 % 101))
        labeled = msgspec.structs.replace(plain.labeled, label=label)
        rows.append(example(index, labeled=labeled, live=live, **ALWAYS))
    return rows


def against_frozen(start, *, worse):
    """Return rows that the frozen version scores too; the live one is better than it, or worse."""
    rows = []
    for index, row in enumerate(scarves(start)):
        blunt = RoleScore(version=f"{LINE}-000000", z=0.01 * (index * 7 % 11))
        knowing = msgspec.structs.replace(row.live, version=blunt.version)
        live, frozen = (blunt, knowing) if worse else (knowing, blunt)
        rows.append(msgspec.structs.replace(row, live=live, frozen=frozen))
    return rows


def promoted(rig):
    return [release.version for release in rig.topic.read() if release.alias == "champion"]


def steps(rig, count):
    for _ in range(count):
        rig.clock.advance(10.0)
        rig.trainer.step()


def decisions(rig):
    return {
        name: rig.metrics.gate.decisions.labels(name)._value.get() for name in ("promote", "hold", "wait", "stopped")
    }
