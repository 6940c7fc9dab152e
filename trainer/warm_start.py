"""New model lines: version 0 from a pretrained encoder, version 1 from a recorded log."""

import itertools
import math
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
import torch

from scorer.model.bundle import ModelBundle
from scorer.model.device import prepare_device
from scorer.model.numeric_statistics import NumericStatistics
from scorer.model.settings import ModelSettings, Precision
from scorer.registry.new_line import new_line_name, start_line
from scorer.registry.registry import ModelRegistry
from scorer.registry.version_store import RegistryError, parse_version, version_name
from stream.events import Click, GateResult, Impression, LabeledImpression
from stream.join.label_join import join_log
from stream.settings import JoinSettings
from trainer.learning.update import Learner, LearningRow
from trainer.line import first_checkpoint
from trainer.promotion.publication import Publisher
from trainer.settings import TrainerSettings
from trainer.state.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_latest,
    set_current_line,
)
from trainer.state.contract import contract_of
from trainer.state.line_state import Knowledge, LineState
from trainer.state.line_stores import LineStores

_CHUNK_BATCHES = 16
"""Batches that are learned between two reports of progress; rows are shuffled within them only."""

_EXEMPT = GateResult(decision="exempt", reason="first_of_its_line")

Progress = Callable[[int], None]
"""Called with the number of rows learned so far."""


@dataclass(frozen=True)
class Start:
    """Where in the live stream a new line begins.

    Attributes:
        offsets: Next offset of `weighted-examples` by partition.
        command_offset: Next offset of `trainer-commands`.
    """

    offsets: dict[int, int]
    command_offset: int = 0


def init_model_line(
    model: ModelSettings, trainer: TrainerSettings, trainer_dir: Path, publisher: Publisher, start: Start
) -> str:
    """Make a new model line and return the name of its version 0: a pretrained encoder and a zero head.

    It becomes champion and frozen, exempt from the gate. An older line stays on disk, its ledger with it.

    Raises:
        ValueError: the settings ask for what the pretrained model does not have.
    """
    with tempfile.TemporaryDirectory() as directory:
        bundle = start_line(model, new_line_name(), Path(directory))
        publisher.publish(bundle, parent=None, knowledge=Knowledge(), gate=_EXEMPT)
        line, _ = parse_version(bundle.version)
        state = LineState(
            line=line,
            contract=contract_of(model, bundle, len(start.offsets)),
            offsets=start.offsets,
            first_offsets=start.offsets,
            champion=bundle.version,
            lineage=bundle.version,
            command_offset=start.command_offset,
            device=bundle.model.head.weight.device.type,
        )
        learner = Learner(bundle.model, trainer, bundle.precision)
        _begin_line(trainer_dir, first_checkpoint(bundle, learner, state))
        # The aliases last: a trainer of the line before would move them back, the trainer of this one moves them again.
        publisher.move({"champion": bundle.version, "frozen": bundle.version}, "initialised")
    return bundle.version


def warm_start(
    rows: Iterable[LabeledImpression],
    trainer: TrainerSettings,
    trainer_dir: Path,
    publisher: Publisher,
    start: Start,
    *,
    model: ModelSettings | None = None,
    progress: Progress = lambda _: None,
) -> str:
    """Teach the current line the rows of a log, in order, and return the name of its version 1.

    Version 1 becomes champion and frozen; the live stream goes on from `start`.

    What was learned is on disk before anything is published: a call that a crash interrupted after that is finished by
    the next one, which learns nothing, so that it cannot publish other bits under the same name.

    Args:
        rows: Labeled impressions in the order in which they happened.
        trainer: Batch size and learning rates.
        trainer_dir: Private state of the trainer.
        publisher: Versions, aliases and announcements.
        start: Where in the live stream the line begins.
        model: Device and threads, as every process uses them; from the environment by default.
        progress: Called with the number of rows learned so far.

    Raises:
        CheckpointError: there is no line, or it has learned already.
        ValueError: the log holds no clicks, or nothing but clicks.
    """
    device = prepare_device(model or ModelSettings())
    checkpoint = _beginning(trainer_dir, publisher.registry)
    state = checkpoint.state
    parent, version = version_name(state.line, 0), version_name(state.line, 1)
    bundle = publisher.registry.load(parent, device=device)
    learner = Learner(bundle.model, trainer, _precision(bundle, state, device), num_steps=state.num_steps)
    if state.number == 0:
        learn_log(list(rows), bundle, learner, trainer, progress)
        state = state.warm_started(version, start.offsets, start.command_offset)
        _begin_line(trainer_dir, first_checkpoint(bundle, learner, state))
    else:
        learner.restore(checkpoint.tensors)
        statistics = NumericStatistics.from_json(state.statistics, bundle.featurizer.spec.numeric)
        bundle = replace(bundle, statistics=statistics)
        structlog.get_logger(__name__).info("warm_start_finished", version=version)
    bundle = replace(bundle, version=version, digests={})
    publisher.publish(bundle, parent=parent, knowledge=Knowledge(), gate=_EXEMPT)
    # The champion last: until it is moved, the next call finishes what a crash left undone.
    publisher.move({"frozen": version, "champion": version}, "warm_started")
    return version


def check_finished(state: LineState, registry: ModelRegistry) -> None:
    """Refuse to go on with a line whose warm start a crash interrupted: its version may not be there to go back to.

    Raises:
        RegistryError: the version that the line learned a log into does not serve yet.
    """
    if _is_unfinished(state, registry):
        message = (
            f"the warm start of line {state.line} was interrupted: version {state.champion} does not serve yet; finish "
            "it with `millstream models warm-start` and the same log, which is not learned again"
        )
        raise RegistryError(message)


def labels_of(
    events: Iterable[Impression | Click], join: JoinSettings, limit: int | None = None
) -> list[LabeledImpression]:
    """Return the first labeled impressions of a recorded log by their final labels: a log has no early negatives."""
    return list(itertools.islice(join_log(events, join.model_copy(update={"early_negative": False})), limit))


def learn_log(
    rows: list[LabeledImpression], bundle: ModelBundle, learner: Learner, settings: TrainerSettings, progress: Progress
) -> None:
    """Teach a new model the rows of a log, in order, each once with weight 1.

    The bias of the head starts at the log odds of the click rate, so that no step is spent on learning it.

    Raises:
        ValueError: the log holds no clicks, or nothing but clicks.
    """
    num_clicks = sum(row.label for row in rows)
    if not 0 < num_clicks < len(rows):
        message = f"the log has {num_clicks} clicks in {len(rows)} impressions; a warm start needs both outcomes"
        raise ValueError(message)
    with torch.no_grad():
        bundle.model.head.bias.fill_(math.log(num_clicks / (len(rows) - num_clicks)))
    chunk_rows = _CHUNK_BATCHES * settings.batch_rows
    for start in range(0, len(rows), chunk_rows):
        chunk = rows[start : start + chunk_rows]
        encoded = bundle.featurizer.encode([row.impression for row in chunk])
        bundle.statistics.update(encoded)
        learning = [LearningRow(one, row.label, 1.0, 0.0) for one, row in zip(encoded, chunk, strict=True)]
        learner.learn(learning, bundle.statistics, settings.seed + start)
        progress(start + len(chunk))


def _beginning(trainer_dir: Path, registry: ModelRegistry) -> Checkpoint:
    """Return the checkpoint of the current line: it has learned nothing yet, or a log that no version has come of.

    Raises:
        CheckpointError: there is no line, or it has learned already.
    """
    checkpoint = load_latest(trainer_dir)
    state = checkpoint.state
    if state.number > 0 and not _is_unfinished(state, registry):
        message = (
            f"model line {state.line} has learned already (version {state.number}); a warm start comes first in a "
            "line: make a new one with `millstream models init`"
        )
        raise CheckpointError(message)
    return checkpoint


def _is_unfinished(state: LineState, registry: ModelRegistry) -> bool:
    """Return whether a log was learned, but the version that came of it has never served."""
    is_begun = state.number == 1 and state.update == 0 and state.champion == version_name(state.line, 1)
    return is_begun and not state.promotions_stopped and registry.alias("champion") != state.champion


def _precision(bundle: ModelBundle, state: LineState, device: torch.device) -> Precision:
    """Return the arithmetic to learn a log in: the line's, unless it was measured on another kind of device.

    bf16 that is fast on a GPU can be 60 times slower than fp32 on a processor.
    """
    if bundle.precision == "fp32" or state.device in {None, device.type}:
        return bundle.precision
    structlog.get_logger(__name__).warning(
        "warm_start_in_fp32", measured_on=state.device, device=device.type, precision=bundle.precision
    )
    return "fp32"


def _begin_line(trainer_dir: Path, checkpoint: Checkpoint) -> None:
    line = checkpoint.state.line
    stores = LineStores(trainer_dir, line)
    stores.plans.clear()
    # The line is named last: who reads the name finds a checkpoint.
    stores.checkpoints.write(checkpoint)
    set_current_line(trainer_dir, line)
