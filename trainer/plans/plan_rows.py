"""The rows of a plan: which are new, which of those are learned, and what the ledger says of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from scorer.model.features import EncodedRow
from stream.events import WeightedExample
from stream.hashing import hash01
from trainer.state.ledger_segments import LedgerRow, Outcome

SELECTION_SALT = "selection"


@dataclass(frozen=True)
class PlanRows:
    """The rows of a plan, told apart.

    Attributes:
        first_copies: Rows seen for the first time, in plan order.
        encoded: The same, as model inputs: made once, used to judge and to learn.
        selected: Indices of those that are learned.
        repeats: Rows that were seen before.
        late: Rows too old to tell.
        failed: Rows seen for the first time that cannot be made model inputs.
    """

    first_copies: list[WeightedExample]
    encoded: list[EncodedRow]
    selected: list[int]
    repeats: list[WeightedExample]
    late: list[WeightedExample]
    failed: list[WeightedExample]


def is_selected(example: WeightedExample) -> bool:
    """Return whether a row is learned: decided by its id, so that the log alone reproduces the choice."""
    return hash01(example.labeled.impression.impression_id, SELECTION_SALT) < example.inclusion_probability


def ledger_rows(rows: PlanRows, replayed: Sequence[WeightedExample], taught: set[int], update: int) -> list[LedgerRow]:
    """Return what the ledger says of each row of a plan, and of each replayed one.

    Args:
        rows: The plan's.
        replayed: Rows that were learned again.
        taught: Places, in the selected rows followed by the replayed ones, of those that the optimizer took.
        update: Number of the plan.
    """
    place = {index: order for order, index in enumerate(rows.selected)}
    entries: list[tuple[WeightedExample, Outcome, bool]] = [
        (example, _outcome(place.get(index), taught), place.get(index) in taught)
        for index, example in enumerate(rows.first_copies)
    ]
    untaught: dict[Outcome, list[WeightedExample]] = {"repeat": rows.repeats, "late": rows.late, "failed": rows.failed}
    entries += [(example, outcome, False) for outcome, examples in untaught.items() for example in examples]
    entries += [(example, "replayed", len(place) + order in taught) for order, example in enumerate(replayed)]
    return [
        LedgerRow(
            impression_id=example.labeled.impression.impression_id,
            revision=example.labeled.revision,
            outcome=outcome,
            update=update,
            weight=example.importance_weight if was_taught else 0.0,
            source_partition=example.labeled.source_partition,
            source_offset=example.labeled.source_offset,
        )
        for example, outcome, was_taught in entries
    ]


def _outcome(order: int | None, taught: set[int]) -> Outcome:
    if order is None:
        return "sampled_out"
    return "trained" if order in taught else "failed"
