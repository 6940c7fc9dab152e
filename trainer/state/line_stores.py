"""What one model line keeps on disk: plans, checkpoints and ledger, each in step with the others."""

from collections.abc import Sequence
from pathlib import Path

from trainer.state.checkpoint import checkpoint_store, line_directory
from trainer.state.failpoints import Failpoints
from trainer.state.ledger import ledger_directory
from trainer.state.ledger_chain import FAN_IN, merge_segments, sweep_segments
from trainer.state.ledger_segments import LedgerRow, SegmentReference, write_segment
from trainer.state.plan import PlanStore


class LineStores:
    """The private state of a model line between two updates, and what a restart repeats of the one that ran.

    Attributes:
        plans: Fixed inputs of updates.
        checkpoints: State between updates.
        ledger: Directory of ledger segments.

    Args:
        trainer_dir: The trainer's state.
        line: The model line.
        keep: Complete checkpoints kept.
        failpoints: Where tests crash.
    """

    def __init__(self, trainer_dir: Path, line: str, *, keep: int = 3, failpoints: Failpoints | None = None) -> None:
        self._keep = keep
        self._failpoints = failpoints or Failpoints()
        self.plans = PlanStore(line_directory(trainer_dir, line) / "plans")
        self.checkpoints = checkpoint_store(trainer_dir, line, keep=keep, failpoints=failpoints)
        self.ledger = ledger_directory(trainer_dir, line)

    def record(self, update: int, rows: Sequence[LedgerRow], last: SegmentReference | None) -> SegmentReference:
        """Write what became of an update's rows, and return the segment that the checkpoint must then name.

        Args:
            update: Which update.
            rows: Every row of its plan, and the replayed ones.
            last: The segment that the checkpoint before names.
        """
        segment = write_segment(self.ledger, update, rows, last)
        self._failpoints.pass_through("ledger_written")
        segment = merge_segments(self.ledger, segment)
        self._failpoints.pass_through("ledger_merged")
        return segment

    def forget(self, update: int) -> None:
        """Drop what no restart needs once an update is in a checkpoint."""
        self.plans.prune(update - self._keep)
        if update % FAN_IN == 0:
            sweep_segments(self.ledger, self.checkpoints.ledgers(), self._failpoints)
