"""A model line in memory: everything that learns or remembers, taken from a checkpoint and given back to one."""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import structlog
import torch
from torch import Tensor

from scorer.engine.engine import forward_rows
from scorer.engine.golden import golden_z
from scorer.model.bundle import ModelBundle
from scorer.model.features import EncodedRow
from scorer.model.numeric_statistics import NumericStatistics
from scorer.registry.version_store import version_name
from stream.events import GateResult, WeightedExample
from stream.first_copies import Copy, FirstCopies, FirstCopiesSnapshot
from stream.hashing import hash01
from trainer.failures import Failed, attempt
from trainer.learning.replay_buffer import ReplayBuffer
from trainer.learning.replay_weights import Replay, weigh_replayed
from trainer.learning.update import Learner, LearningRow, UpdateReport
from trainer.plans.example_record import ExampleRecord
from trainer.promotion.gate import Evidence, JudgedRows, first_evidence, held, judge
from trainer.promotion.policy import Verdict, verdict
from trainer.settings import GateSettings, TrainerSettings
from trainer.state.checkpoint import Checkpoint
from trainer.state.ledger_segments import LedgerRow, Outcome
from trainer.state.line_state import Knowledge, LineState
from trainer.state.plan import Plan

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


@dataclass(frozen=True)
class LearnReport:
    """What learning a plan did.

    Attributes:
        update: Steps, loss and refusals.
        ledger: One row for every row of the plan, and one for every replayed row.
        weights: Importance weights of the rows that were learned.
        num_unusable: Rows whose weight or offset is not finite, or whose weight is below 0; nothing learned them.
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
        gate: When an update may serve; None lets every update serve whose weights are finite.
    """

    def __init__(
        self, bundle: ModelBundle, checkpoint: Checkpoint, settings: TrainerSettings, gate: GateSettings | None
    ) -> None:
        self._settings = settings
        self.gate = gate
        self._bundle = bundle
        self.learner = Learner(bundle.model, settings, bundle.precision)
        self.replay = ReplayBuffer(settings)
        self.restore(checkpoint)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take over everything that learns or remembers, as a checkpoint left it."""
        state = self.state = checkpoint.state
        # By position: in a checkpoint of the first releases the names may lie, the order never does.
        names = self._bundle.featurizer.spec.numeric
        statistics = NumericStatistics.from_json(state.statistics, names, by_position=True)
        self._bundle = replace(self._bundle, statistics=statistics)
        self.learner.restore(checkpoint.tensors)
        self.learner.num_steps = state.num_steps
        self.first_copies = _restored_first_copies(checkpoint.tensors, self._settings.first_copy_seconds)
        self.evidence = _restored_evidence(checkpoint)
        self.replay.restore(state.replay_state, checkpoint.replay)

    def candidate(self) -> ModelBundle:
        """Return the present weights as the version they would be published as."""
        return replace(self._bundle, version=version_name(self.state.line, self.state.number), digests={})

    def admit(self, records: Sequence[ExampleRecord]) -> PlanRows:
        """Tell first copies from repeats and late rows, choose what is learned, and make model inputs once."""
        found: dict[Copy, list[WeightedExample]] = {"new": [], "repeat": [], "late": []}
        for record in records:
            for example in record.rows:
                found[self.first_copies.observe(example.labeled)].append(example)
        first_copies, encoded, failed = self._encoded(found["new"])
        selected = [index for index, example in enumerate(first_copies) if is_selected(example)]
        return PlanRows(first_copies, encoded, selected, found["repeat"], found["late"], failed)

    def judge(self, rows: PlanRows, newest_ms: int) -> GateResult | None:
        """Judge the present weights on rows they have not learned; None while the evidence does not suffice."""
        if self.gate is None:
            is_finite = self.learner.is_finite()
            return GateResult(decision="promote", reason="gate_off") if is_finite else held("non_finite", None)
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
        result = judge(evidence, self.gate)
        if result and result.decision == "promote" and not all(map(math.isfinite, golden_z(self._bundle))):
            return held("golden_query", evidence)
        return result

    def settle(self, result: GateResult) -> Verdict:
        """Return what becomes of the weights; the evidence is used up, and unless they serve, a hold is counted."""
        decided = verdict(result, self.state, self.gate)
        self.forget_evidence()
        if decided != "promote":
            self.state = self.state.held()
        return decided

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
        self.state = self.state.learned(plan, len(taught))
        return LearnReport(
            update=report,
            ledger=_ledger(rows, replayed, taught, plan.number),
            weights=[learning[index].weight for index in range(len(usable)) if index not in report.refused],
            num_unusable=len(chosen) + len(replayed) - len(usable),
        )

    def pass_over(self, rows: PlanRows, plan: Plan) -> LearnReport:
        """Settle a plan that cannot be learned: its rows are in the ledger, and nothing else comes of them."""
        self.state = self.state.learned(plan, 0)
        nothing = UpdateReport(0, math.nan, frozenset(), 0, 0)
        return LearnReport(nothing, _ledger(rows, [], set(), plan.number), [], 0)

    def restore_weights(
        self, version: str, knowledge: Knowledge, tensors: Mapping[str, Tensor], statistics: NumericStatistics
    ) -> int:
        """Go back to the weights of an older version and return how many learned rows that undoes.

        Args:
            version: The version.
            knowledge: What its weights have learned.
            tensors: Its weights and, where a checkpoint still has them, its optimizer state.
            statistics: Of its numeric features; copied.
        """
        self.learner.restore(tensors)
        self._bundle = replace(self._bundle, statistics=deepcopy(statistics))
        before = self.state
        self.state = before.restored(version, knowledge)
        self.forget_evidence()
        return max(0, self.state.discarded_rows - before.discarded_rows)

    def checkpoint(self) -> Checkpoint:
        """Return everything as one unit; tensors are views, so write it before anything learns again."""
        replay_state, replay_rows = self.replay.snapshot()
        evidence = self.evidence
        self.state = self.state.remembering(
            num_steps=self.learner.num_steps,
            statistics=self._bundle.statistics.to_json(),
            replay_state=replay_state,
            evidence_ms=(evidence.since_ms, evidence.until_ms) if evidence else (None, 0),
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

    def _encoded(
        self, examples: list[WeightedExample]
    ) -> tuple[list[WeightedExample], list[EncodedRow], list[WeightedExample]]:
        """Return the rows that can be made model inputs, these inputs, and the rows that cannot."""
        encoded = attempt(lambda: self._bundle.featurizer.encode([example.labeled.impression for example in examples]))
        if not isinstance(encoded, Failed):
            return examples, encoded, []
        if len(examples) == 1:
            name = examples[0].labeled.impression.impression_id
            structlog.get_logger(__name__).error("row_failed", impression_id=name, exc_info=encoded.error)
            return [], [], examples
        middle = len(examples) // 2
        left, right = self._encoded(examples[:middle]), self._encoded(examples[middle:])
        return left[0] + right[0], left[1] + right[1], left[2] + right[2]


def weights_of(bundle: ModelBundle) -> dict[str, Tensor]:
    """Return the weights of a version as `restore_weights` takes them, without optimizer state."""
    return {f"weights/{name}": tensor.detach() for name, tensor in bundle.model.trainable_parameters().items()}


def is_selected(example: WeightedExample) -> bool:
    """Return whether a row is learned: decided by its id, so that the log alone reproduces the choice."""
    return hash01(example.labeled.impression.impression_id, SELECTION_SALT) < example.inclusion_probability


def first_checkpoint(bundle: ModelBundle, learner: Learner, state: LineState) -> Checkpoint:
    """Return the checkpoint that a line's first update starts from."""
    state = state.remembering(num_steps=learner.num_steps, statistics=bundle.statistics.to_json())
    return Checkpoint(state, learner.tensors())


def _is_usable(example: WeightedExample) -> bool:
    # A weight below 0 would teach the opposite of what was seen.
    return 0 <= example.importance_weight < math.inf and math.isfinite(example.logit_offset)


def _learning_row(example: WeightedExample, encoded: EncodedRow) -> LearningRow:
    return LearningRow(encoded, example.labeled.label, example.importance_weight, example.logit_offset)


def _ledger(rows: PlanRows, replayed: Sequence[WeightedExample], taught: set[int], update: int) -> list[LedgerRow]:
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
