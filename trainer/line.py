"""A model line in memory: everything that learns or remembers, taken from a checkpoint and given back to one."""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, cast

import msgspec
import numpy as np
import torch
from torch import Tensor

from scorer.bundle import ModelBundle
from scorer.engine import forward_rows
from scorer.features import EncodedRow, NumericStatistics
from scorer.golden import golden_z
from scorer.version_store import version_name
from stream.events import GateResult, WeightedExample
from stream.first_copies import FirstCopies, FirstCopiesSnapshot
from stream.hashing import hash01
from trainer.checkpoint import Checkpoint, LineState
from trainer.gate import Evidence, JudgedRows, first_evidence, held, judge
from trainer.ledger_segments import LedgerRow, Outcome, SegmentReference
from trainer.plan import Plan, Record
from trainer.replay_buffer import ReplayBuffer
from trainer.replay_weights import Replay, weigh_replayed
from trainer.settings import GateSettings, TrainerSettings
from trainer.update import Learner, LearningRow, UpdateReport

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
    """

    first_copies: list[WeightedExample]
    encoded: list[EncodedRow]
    selected: list[int]
    repeats: list[WeightedExample]
    late: list[WeightedExample]


@dataclass(frozen=True)
class LearnReport:
    """What learning a plan did.

    Attributes:
        update: Steps, loss and refusals.
        ledger: One row for every row of the plan, and one for every replayed row.
        weights: Importance weights of the rows that were learned.
        num_unusable: Rows whose weight or offset is not finite; nothing learned them.
    """

    update: UpdateReport
    ledger: list[LedgerRow]
    weights: list[float]
    num_unusable: int


class ModelLine:
    """The learner, its gate and its memory, without Kafka, files or clocks.

    Args:
        bundle: A version of this line, loaded from the registry; its model becomes the learner's.
        checkpoint: Where the line stood.
        settings: Of the trainer.
        gate: Of the gate.
    """

    def __init__(
        self, bundle: ModelBundle, checkpoint: Checkpoint, settings: TrainerSettings, gate: GateSettings
    ) -> None:
        state = checkpoint.state
        self.state = state
        self._settings = settings
        self._gate = gate
        # By position: in a checkpoint of the first releases the names may lie, the order never does.
        names = bundle.featurizer.spec.numeric
        statistics = NumericStatistics.from_json(state.statistics, names, by_position=True)
        self._bundle = replace(bundle, statistics=statistics)
        self.learner = Learner(bundle.model, settings, bundle.precision, num_steps=state.num_steps)
        self.learner.restore(checkpoint.tensors)
        self.first_copies = _restored_first_copies(checkpoint.tensors, settings.first_copy_seconds)
        self.evidence = _restored_evidence(checkpoint)
        self.replay = ReplayBuffer(settings)
        self.replay.restore(state.replay_state, checkpoint.replay)

    def candidate(self) -> ModelBundle:
        """Return the present weights as the version they would be published as."""
        return replace(self._bundle, version=version_name(self.state.line, self.state.number), digests={})

    def admit(self, records: Sequence[Record]) -> PlanRows:
        """Tell first copies from repeats and late rows, choose what is learned, and make model inputs once."""
        rows = PlanRows([], [], [], [], [])
        of_copy = {"new": rows.first_copies, "repeat": rows.repeats, "late": rows.late}
        for record in records:
            for example in record.rows:
                of_copy[self.first_copies.observe(example.labeled)].append(example)
        impressions = [example.labeled.impression for example in rows.first_copies]
        rows.encoded.extend(self._bundle.featurizer.encode(impressions))
        rows.selected.extend(index for index, example in enumerate(rows.first_copies) if is_selected(example))
        return rows

    def judge(self, rows: PlanRows, newest_ms: int) -> GateResult | None:
        """Judge the present weights on rows they have not learned; None while the evidence does not suffice."""
        z_candidate, _ = forward_rows(self._bundle, rows.encoded, max_batch_tokens=self._settings.judge_batch_tokens)
        z_live = np.array([example.live.z for example in rows.first_copies], dtype=np.float64)
        label = np.array([example.labeled.label for example in rows.first_copies], dtype=np.float64)
        usable = np.isfinite(z_live)
        judged = JudgedRows(z_candidate[usable], z_live[usable], label[usable])
        if judged.num_rows == 0:
            return None
        evidence = self.evidence
        evidence = evidence.followed_by(judged, newest_ms) if evidence else first_evidence(judged, newest_ms)
        self.evidence = evidence
        if not self.learner.is_finite():
            return held("non_finite", evidence)
        result = judge(evidence, self._gate)
        if result and result.decision == "promote" and not all(map(math.isfinite, golden_z(self._bundle))):
            return held("golden_query", evidence)
        return result

    def forget_evidence(self) -> None:
        """Begin a new pool: a decision was made, or what it was gathered against no longer serves."""
        self.evidence = None

    def learn(self, rows: PlanRows, plan: Plan) -> LearnReport:
        """Learn the selected rows and some replayed ones, in the order that the plan's seed gives."""
        self._bundle.statistics.update(rows.encoded)
        random = np.random.default_rng(plan.seed)
        chosen = [rows.first_copies[index] for index in rows.selected]
        replayed = self.replay.draw(len(chosen), random)
        old_encoded = self._bundle.featurizer.encode([example.labeled.impression for example in replayed])
        replay = Replay(self._bundle, replayed, old_encoded, rows.first_copies, rows.encoded)
        replayed = weigh_replayed(replay, self._settings)
        encoded = [*(rows.encoded[index] for index in rows.selected), *old_encoded]
        usable = [index for index, example in enumerate(chosen + replayed) if _is_usable(example)]
        learning = [_learning_row((chosen + replayed)[index], encoded[index]) for index in usable]
        report = self.learner.learn(learning, self._bundle.statistics, plan.seed)
        taught = {usable[index] for index in range(len(usable)) if index not in report.refused}
        self.replay.offer([example for index, example in enumerate(chosen) if index in taught], random)
        self._advance(plan, num_learned=len(taught))
        return LearnReport(
            update=report,
            ledger=_ledger(rows, replayed, taught, plan.number),
            weights=[learning[index].weight for index in range(len(usable)) if index not in report.refused],
            num_unusable=len(chosen) + len(replayed) - len(usable),
        )

    def restore_weights(self, version: str, tensors: Mapping[str, Tensor], bundle: ModelBundle) -> int:
        """Go back to the weights of an older version and return how many learned rows that discards.

        Args:
            version: The version.
            tensors: Its weights and, where a checkpoint still has them, its optimizer state.
            bundle: The version as published, for its statistics.
        """
        self.learner.restore(tensors)
        self._bundle = replace(self._bundle, statistics=deepcopy(bundle.statistics))
        discarded = self.state.rows_since_champion
        self.note(
            lineage=version,
            holds_in_row=0,
            rows_since_champion=0,
            discarded_rows=self.state.discarded_rows + discarded,
        )
        self.forget_evidence()
        return discarded

    def note(self, **changes: Any) -> None:
        """Change fields of the state."""
        self.state = msgspec.structs.replace(self.state, **changes)

    def refer_to(self, segment: SegmentReference) -> None:
        """Make a ledger segment the last one of the chain."""
        self.note(ledger=segment)

    def checkpoint(self) -> Checkpoint:
        """Return everything as one unit; tensors are views, so write it before anything learns again."""
        replay_state, replay_rows = self.replay.snapshot()
        evidence = self.evidence
        self.note(
            num_steps=self.learner.num_steps,
            statistics=self._bundle.statistics.to_json(),
            replay_state=replay_state,
            evidence_since_ms=evidence.since_ms if evidence else None,
            evidence_until_ms=evidence.until_ms if evidence else 0,
            num_newest_judged=evidence.newest.num_rows if evidence else 0,
        )
        arrays = {f"first_copies/{name}": array for name, array in self.first_copies.snapshot().items()}
        if evidence:
            pooled = evidence.pooled
            arrays |= {
                "evidence/z_candidate": pooled.z_candidate,
                "evidence/z_live": pooled.z_live,
                "evidence/label": pooled.label,
            }
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return Checkpoint(self.state, tensors | self.learner.tensors(), replay_rows)

    def _advance(self, plan: Plan, *, num_learned: int) -> None:
        self.note(
            update=plan.number,
            number=plan.number + 1,
            offsets=dict(plan.next),
            covered=dict(plan.next),
            rows_since_champion=self.state.rows_since_champion + num_learned,
        )


def weights_of(bundle: ModelBundle) -> dict[str, Tensor]:
    """Return the weights of a version as `restore_weights` takes them, without optimizer state."""
    return {f"weights/{name}": tensor.detach() for name, tensor in bundle.model.trainable_parameters().items()}


def is_selected(example: WeightedExample) -> bool:
    """Return whether a row is learned: decided by its id, so that the log alone reproduces the choice."""
    return hash01(example.labeled.impression.impression_id, SELECTION_SALT) < example.inclusion_probability


def first_checkpoint(bundle: ModelBundle, learner: Learner, state: LineState) -> Checkpoint:
    """Return the checkpoint that a line's first update starts from."""
    state = msgspec.structs.replace(state, num_steps=learner.num_steps, statistics=bundle.statistics.to_json())
    return Checkpoint(state, learner.tensors())


def _is_usable(example: WeightedExample) -> bool:
    return math.isfinite(example.importance_weight) and math.isfinite(example.logit_offset)


def _learning_row(example: WeightedExample, encoded: EncodedRow) -> LearningRow:
    return LearningRow(encoded, example.labeled.label, example.importance_weight, example.logit_offset)


def _ledger(rows: PlanRows, replayed: Sequence[WeightedExample], taught: set[int], update: int) -> list[LedgerRow]:
    place = {index: order for order, index in enumerate(rows.selected)}
    entries: list[tuple[WeightedExample, Outcome, bool]] = [
        (example, "trained" if index in place else "sampled_out", place.get(index) in taught)
        for index, example in enumerate(rows.first_copies)
    ]
    entries += [(example, "repeat", False) for example in rows.repeats]
    entries += [(example, "late", False) for example in rows.late]
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


def _restored_first_copies(tensors: Mapping[str, Tensor], horizon_seconds: float) -> FirstCopies:
    prefix = "first_copies/"
    found = {name.removeprefix(prefix): tensor.numpy() for name, tensor in tensors.items() if name.startswith(prefix)}
    if not found:
        return FirstCopies(horizon_seconds)
    return FirstCopies.restore(cast(FirstCopiesSnapshot, found), horizon_seconds)


def _restored_evidence(checkpoint: Checkpoint) -> Evidence | None:
    state = checkpoint.state
    if state.evidence_since_ms is None:
        return None
    arrays = [checkpoint.tensors[f"evidence/{name}"].numpy() for name in ("z_candidate", "z_live", "label")]
    start = len(arrays[0]) - state.num_newest_judged
    return Evidence(
        pooled=JudgedRows(*arrays),
        newest=JudgedRows(*(array[start:] for array in arrays)),
        since_ms=state.evidence_since_ms,
        until_ms=state.evidence_until_ms,
    )
