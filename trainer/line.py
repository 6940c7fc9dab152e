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
from scorer.measures.compared import Compared, compared
from scorer.model.bundle import ModelBundle
from scorer.model.features import EncodedRow
from scorer.model.numeric_statistics import NumericStatistics
from scorer.registry.version_store import version_name
from stream.events import GateResult, WeightedExample
from stream.first_copies import Copy, FirstCopies, FirstCopiesSnapshot
from trainer.failures import Failed, attempt
from trainer.learning.replay_buffer import ReplayBuffer
from trainer.learning.replay_weights import Replay, weigh_replayed
from trainer.learning.update import Learner, LearningRow, UpdateReport
from trainer.plans.example_record import ExampleRecord
from trainer.plans.plan_rows import PlanRows, is_selected, ledger_rows
from trainer.promotion.gate import Evidence, JudgedRows, first_evidence, held, judge
from trainer.promotion.ladder import Ladder, Shares
from trainer.promotion.policy import Verdict, verdict
from trainer.promotion.slow_harm import Doubles, SlowHarm
from trainer.settings import GateSettings, TrainerSettings
from trainer.state.checkpoint import Checkpoint
from trainer.state.ledger_segments import LedgerRow
from trainer.state.line_state import Knowledge, LineState
from trainer.state.plan import Plan

_LADDER = "ladder/"
"""Before the names of the ladder's tensors in a checkpoint."""
_COMPARED = "slow_harm"
"""Name of the comparisons with the frozen version there; checkpoints of older releases have none."""


@dataclass(frozen=True)
class LearnReport:
    """What learning a plan did.

    Attributes:
        update: Steps, loss and refusals.
        ledger: One row for every row of the plan, and one for every replayed row.
        weights: Importance weights of the rows that were learned.
        num_unusable: Rows whose weight or offset is not finite, or whose weight is below 0; nothing learned them.
        shares: How much each step of the ladder is believed since, by name.
    """

    update: UpdateReport
    ledger: list[LedgerRow]
    weights: list[float]
    num_unusable: int
    shares: Shares


class ModelLine:
    """The learner, its gate and its memory, without Kafka, files or clocks.

    Args:
        bundle: A version of this line, loaded from the registry; its model becomes the learner's.
        checkpoint: Where the line stood.
        settings: Of the trainer.
        gate: When an update may serve; None lets every update serve whose weights are finite.
        anchor: The frozen version; None leaves this step of the ladder out.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        checkpoint: Checkpoint,
        settings: TrainerSettings,
        gate: GateSettings | None,
        anchor: ModelBundle | None = None,
    ) -> None:
        self._settings = settings
        self.gate = gate
        self._bundle = bundle
        self.learner = Learner(bundle.model, settings, bundle.precision)
        self._ladder = Ladder(bundle, anchor, settings)
        self.frozen = anchor.version if anchor else None
        self._slow_harm = SlowHarm()
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
        averages = {name.removeprefix(_LADDER): tensor for name, tensor in checkpoint.tensors.items()}
        self._ladder.restore(averages, state.shares)
        self.first_copies = _restored_first_copies(checkpoint.tensors, self._settings.first_copy_seconds)
        self.evidence = _restored_evidence(checkpoint)
        self._slow_harm.restore(_compared_in(checkpoint))
        self.replay.restore(state.replay_state, checkpoint.replay)

    @property
    def shares(self) -> Shares:
        """How much each step of the ladder is believed."""
        return self._ladder.shares

    def candidate(self) -> ModelBundle:
        """Return what would serve now as the version it would be published as."""
        bundle = self._ladder.candidate(self._bundle)
        return replace(bundle, version=version_name(self.state.line, self.state.number), digests={})

    def admit(self, records: Sequence[ExampleRecord]) -> PlanRows:
        """Tell first copies from repeats and late rows, choose what is learned, and make model inputs once."""
        found: dict[Copy, list[WeightedExample]] = {"new": [], "repeat": [], "late": []}
        for record in records:
            for example in record.rows:
                found[self.first_copies.observe(example.labeled)].append(example)
        first_copies, encoded, failed = self._encoded(found["new"])
        selected = [index for index, example in enumerate(first_copies) if is_selected(example)]
        return PlanRows(first_copies, encoded, selected, found["repeat"], found["late"], failed)

    def look(self, rows: PlanRows, seed: int) -> int:
        """Let rows that nothing has learned choose the ladder's step; return the rows of the forward passes it took."""
        label = [example.labeled.label for example in rows.first_copies]
        z_live = [example.live.z for example in rows.first_copies]
        return self._ladder.look(self._bundle, rows.encoded, label, z_live, seed) if label else 0

    def judge(self, rows: PlanRows, newest_ms: int) -> GateResult | None:
        """Judge what would serve on rows it has not learned; None while the evidence does not suffice."""
        candidate = self.candidate()
        if self.gate is None:
            is_finite = self._ladder.is_finite()
            return GateResult(decision="promote", reason="gate_off") if is_finite else held("non_finite", None)
        if harm := self._slow_harm.found():
            structlog.get_logger(__name__).warning("worse_than_frozen", by=harm, frozen=self.frozen)
            return held("worse_than_frozen", self.evidence)
        z_candidate, _ = forward_rows(candidate, rows.encoded, max_batch_tokens=self._settings.judge_batch_tokens)
        z_live = np.array([example.live.z for example in rows.first_copies], dtype=np.float64)
        label = np.array([example.labeled.label for example in rows.first_copies], dtype=np.float64)
        usable = np.isfinite(z_live)
        judged = JudgedRows(z_candidate[usable], z_live[usable], label[usable])
        if judged.num_rows == 0:
            return None
        evidence = self.evidence
        evidence = evidence.followed_by(judged, newest_ms) if evidence else first_evidence(judged, newest_ms)
        self.evidence = evidence
        if not self._ladder.is_finite():
            return held("non_finite", evidence)
        result = judge(evidence, self.gate)
        if result and result.decision == "promote" and not all(map(math.isfinite, golden_z(candidate))):
            return held("golden_query", evidence)
        return result

    def settle(self, result: GateResult) -> Verdict:
        """Return what becomes of the weights; the evidence is used up, and unless they serve, a hold is counted."""
        decided = verdict(result, self.state, self.gate)
        self.forget_evidence()
        if decided == "restart":
            self.forget_comparisons()
        if decided != "promote":
            self.state = self.state.held()
        return decided

    def forget_evidence(self) -> None:
        """Begin a new pool: a decision was made, or what it was gathered against no longer serves."""
        self.evidence = None

    def forget_comparisons(self) -> None:
        """Begin the comparison with the frozen version anew: what was compared with it no longer serves."""
        self._slow_harm.forget()

    def learn(self, rows: PlanRows, plan: Plan) -> LearnReport:
        """Learn the selected rows and some replayed ones, in the order that the plan's seed gives."""
        self._slow_harm.note(self._compared(rows.first_copies))
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
        self._ladder.follow(min(1.0, len(rows.first_copies) / self._settings.update_rows))
        self.state = self.state.learned(plan, len(taught))
        return LearnReport(
            update=report,
            ledger=ledger_rows(rows, replayed, taught, plan.number),
            weights=[learning[index].weight for index in range(len(usable)) if index not in report.refused],
            num_unusable=len(chosen) + len(replayed) - len(usable),
            shares=self.shares,
        )

    def pass_over(self, rows: PlanRows, plan: Plan) -> LearnReport:
        """Settle a plan that cannot be learned: its rows are in the ledger, and nothing else comes of them."""
        self.state = self.state.learned(plan, 0)
        nothing = UpdateReport(0, math.nan, frozenset(), 0, 0)
        return LearnReport(nothing, ledger_rows(rows, [], set(), plan.number), [], 0, self.shares)

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
        self._ladder.restart()
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
            shares=self.shares,
        )
        arrays = {f"first_copies/{name}": array for name, array in self.first_copies.snapshot().items()}
        arrays[_COMPARED] = self._slow_harm.snapshot()
        if evidence:
            pooled = evidence.pooled
            arrays |= {
                "evidence/z_candidate": pooled.z_candidate,
                "evidence/z_live": pooled.z_live,
                "evidence/label": pooled.label,
            }
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        tensors |= {_LADDER + name: tensor for name, tensor in self._ladder.tensors().items()}
        return Checkpoint(self.state, tensors | self.learner.tensors(), replay_rows)

    def _compared(self, examples: Sequence[WeightedExample]) -> Compared:
        """Compare what served with the frozen version on the rows that both scored."""
        both = [
            (example.live.z, example.frozen.z, example.labeled.label)
            for example in examples
            if example.frozen is not None and example.frozen.version == self.frozen
        ]
        return compared(*np.array(both, dtype=np.float64).reshape(-1, 3).T)

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


def restorable(bundle: ModelBundle, learner: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a version as `restore_weights` takes it: its own weights, and the optimizer of the learner behind it.

    Args:
        bundle: The version.
        learner: Tensors of the learner at that time, whose newest weights are not what serves.
    """
    return {name: tensor for name, tensor in learner.items() if name.startswith("optimizer/")} | weights_of(bundle)


def first_checkpoint(bundle: ModelBundle, learner: Learner, state: LineState) -> Checkpoint:
    """Return the checkpoint that a line's first update starts from."""
    state = state.remembering(num_steps=learner.num_steps, statistics=bundle.statistics.to_json())
    return Checkpoint(state, learner.tensors())


def _is_usable(example: WeightedExample) -> bool:
    # A weight below 0 would teach the opposite of what was seen.
    return 0 <= example.importance_weight < math.inf and math.isfinite(example.logit_offset)


def _learning_row(example: WeightedExample, encoded: EncodedRow) -> LearningRow:
    return LearningRow(encoded, example.labeled.label, example.importance_weight, example.logit_offset)


def _compared_in(checkpoint: Checkpoint) -> Doubles:
    found = checkpoint.tensors.get(_COMPARED)
    return np.zeros((0, 4)) if found is None else found.numpy()


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
