"""The beginning of a run: version 1, as the live warm start would make it from the first rows."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from scorer.model.bundle import ModelBundle
from scorer.model.numeric_statistics import NumericStatistics
from scorer.registry.new_line import start_line
from scorer.registry.version_store import version_name
from stream.codec import decoded
from stream.events import LabeledImpression
from trainer.backtest.runs.arms import Arm
from trainer.learning.update import Learner
from trainer.line import first_checkpoint
from trainer.state.checkpoint import Checkpoint
from trainer.state.contract import contract_of
from trainer.state.line_state import LineState
from trainer.warm_start import Progress, learn_log

LINE = "00000000"
"""The model line of every run: plans draw their seeds from it, so that a run can be repeated."""


class KnownBeginning:
    """What runs with one beginning need not compute again: the weights of version 1, and what it said of every row.

    Args:
        directory: Where it is kept; made when missing.
    """

    def __init__(self, directory: Path) -> None:
        self._learner_file = directory / "learner.safetensors"
        self._frozen_file = directory / "frozen.npy"
        directory.mkdir(parents=True, exist_ok=True)

    def restore(self, learner: Learner) -> NumericStatistics | None:
        """Give the learner the weights and the optimizer of version 1, and return its statistics; None if not known."""
        if not self._learner_file.is_file():
            return None
        tensors, num_steps, statistics = decoded(
            self._learner_file, _read_learner, "what a beginning learned", self._learner_file
        )
        learner.restore(tensors)
        learner.num_steps = num_steps
        return statistics

    def keep(self, learner: Learner, statistics: NumericStatistics) -> None:
        """Keep version 1."""
        metadata = {"num_steps": str(learner.num_steps), "statistics": json.dumps(statistics.to_json())}
        tensors = {name: tensor.contiguous() for name, tensor in learner.tensors().items()}
        # Another process may be writing the same: whole files replace each other.
        new = self._learner_file.with_suffix(f".{os.getpid()}")
        save_file(tensors, new, metadata)
        new.replace(self._learner_file)

    def frozen(self) -> npt.NDArray[np.float64] | None:
        """Return the frozen version's logits of all rows, in the order in which they are asked for; None if unknown."""
        if not self._frozen_file.is_file():
            return None
        return decoded(self._frozen_file, _read_frozen, "the scores of a frozen version", self._frozen_file)

    def keep_frozen(self, z: npt.NDArray[np.float64]) -> None:
        """Keep the frozen version's logits."""
        new = self._frozen_file.with_suffix(f".{os.getpid()}.npy")
        np.save(new, z)
        new.replace(self._frozen_file)


def _read_learner(path: Path) -> tuple[dict[str, Tensor], int, NumericStatistics]:
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        metadata = file.metadata()
    statistics = json.loads(metadata["statistics"])
    return tensors, int(metadata["num_steps"]), NumericStatistics.from_json(statistics, tuple(statistics))


def _read_frozen(path: Path) -> npt.NDArray[np.float64]:
    z: npt.NDArray[np.float64] = np.load(path, allow_pickle=False)
    return z


def begin(
    arm: Arm,
    rows: Sequence[LabeledImpression],
    directory: Path,
    known: KnownBeginning | None = None,
    *,
    progress: Progress = lambda _: None,
) -> tuple[ModelBundle, Checkpoint]:
    """Return version 1 of a line and the checkpoint that its first update starts from.

    Args:
        arm: Whose model and trainer.
        rows: What version 1 learns.
        directory: Where its tokenizer is written; must last as long as the model.
        known: Where version 1 is looked for and kept; None to learn it anew.
        progress: Called with the number of rows learned so far.

    Raises:
        ValueError: the rows hold no clicks, or nothing but clicks; or the model cannot be made.
    """
    bundle = start_line(arm.model, LINE, directory)
    learner = Learner(bundle.model, arm.trainer, bundle.precision)
    statistics = known.restore(learner) if known else None
    if statistics is None:
        learn_log(list(rows), bundle, learner, arm.trainer, progress)
        statistics = bundle.statistics
        if known:
            known.keep(learner, statistics)
    progress(len(rows))
    bundle = replace(bundle, version=version_name(LINE, 1), statistics=statistics)
    state = LineState(
        line=LINE,
        contract=contract_of(arm.model, bundle, 1),
        offsets={0: 0},
        champion=bundle.version,
        lineage=bundle.version,
        number=1,
    )
    return bundle, first_checkpoint(bundle, learner, state)
