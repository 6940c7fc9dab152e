"""What becomes of a line's weights when they are judged: one policy for the live trainer and the backtest."""

from typing import Literal

from stream.events import GateResult
from trainer.settings import GateSettings
from trainer.state.line_state import LineState

Verdict = Literal["promote", "hold", "restore", "restart"]
"""restore: the champion's weights learn on; restart: the frozen version's do, and serve."""


def is_to_be_judged(state: LineState) -> bool:
    """Return whether the weights may come to serve: they learned since the champion, and no rollback stands."""
    return state.rows_since_champion > 0 and not state.promotions_stopped


def verdict(result: GateResult, state: LineState, gate: GateSettings | None) -> Verdict:
    """Return what a judgement means for a line.

    Args:
        result: The judgement.
        state: The line's state before it.
        gate: Says how many holds in a row bring the champion's weights back; None for any number.
    """
    if result.decision == "promote":
        return "promote"
    if result.reason == "worse_than_frozen":
        return "restart"
    # Weights that are not finite cannot recover by learning on.
    worn_out = gate is not None and state.holds_in_row + 1 >= gate.max_holds
    return "restore" if worn_out or result.reason == "non_finite" else "hold"
