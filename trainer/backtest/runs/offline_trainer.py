"""The trainer of a backtest: judges, promotes, holds and learns as the live loop does, with the registry in memory."""

from copy import deepcopy
from dataclasses import dataclass, replace

from scorer.engine.engine import Engine
from scorer.importance.stability import Stability
from stream.events import GateResult
from trainer.learning.probe import ProbeSet
from trainer.line import ModelLine, restorable, weights_of
from trainer.plans.example_record import ExampleRecord
from trainer.plans.plan_rows import PlanRows
from trainer.plans.planner import cut_plan
from trainer.promotion.policy import is_to_be_judged
from trainer.settings import TrainerSettings
from trainer.state.plan import Plan


@dataclass(frozen=True)
class Decision:
    """What became of the weights before a plan was learned.

    Attributes:
        result: Of the gate; None when there was none.
        judged: Whether they scored the plan's rows.
        num_looked: Rows of the forward passes that told the ladder's steps apart.
        discarded_rows: Learned rows that restoring the champion undid.
    """

    result: GateResult | None
    judged: bool = False
    num_looked: int = 0
    discarded_rows: int = 0


class OfflineTrainer:
    """Keeps one model line learning; the champion's weights are those of the live engine.

    Args:
        line: The line after its warm start.
        live: Engine of the live version, with a model of its own that equals the line's.
        settings: Of the trainer.
    """

    def __init__(self, line: ModelLine, live: Engine, settings: TrainerSettings) -> None:
        self.line = line
        self._live = live
        self._settings = settings
        self._probe = ProbeSet(settings)
        self._champion = weights_of(live.bundle)
        self._champion_knowledge = line.state.knowledge
        self._frozen = replace(live.bundle, statistics=deepcopy(live.bundle.statistics))
        self._frozen_weights = {name: tensor.clone() for name, tensor in self._champion.items()}
        self._frozen_knowledge = line.state.knowledge

    def admit(self, record: ExampleRecord) -> tuple[Plan, PlanRows]:
        """Return the plan that takes one record, and its rows told apart."""
        state = self.line.state
        plan = cut_plan(state.update + 1, state.offsets, [record], line=state.line, seed=self._settings.seed)
        return plan, self.line.admit([record])

    def decide(self, rows: PlanRows, plan: Plan) -> Decision:
        """Judge the present weights on rows they have not learned, and let them serve, hold them or go back."""
        line = self.line
        if not is_to_be_judged(line.state):
            return Decision(None)
        judged, num_looked = line.gate is not None, line.look(rows, plan.seed)
        result = line.judge(rows, plan.newest_ms)
        if result is None:
            return Decision(None, judged, num_looked)
        decided = line.settle(result)
        if decided == "promote":
            self._promote()
        if decided == "restart":
            return Decision(result, judged, num_looked, self._restart())
        if decided != "restore":
            return Decision(result, judged, num_looked)
        champion = self._live.bundle
        knowledge, weights = self._champion_knowledge, self._champion
        discarded = line.restore_weights(champion.version, knowledge, weights, champion.statistics)
        return Decision(result, judged, num_looked, discarded)

    def look(self, rows: PlanRows, plan: Plan) -> Stability | None:
        """Return how stable the importance of the probe's rows is after a plan; None when it is not their turn."""
        self._probe.offer(rows.first_copies)
        if plan.number % self._settings.probe_every:
            return None
        return self._probe.rescore(self.line.candidate())

    def _restart(self) -> int:
        """Let the frozen version serve and learn on; return how many learned rows that undoes."""
        line, frozen = self.line, self._frozen
        discarded = line.restore_weights(
            frozen.version, self._frozen_knowledge, self._frozen_weights, frozen.statistics
        )
        line.state = line.state.promoted(frozen.version, None)
        served = replace(frozen, model=self._live.bundle.model, statistics=deepcopy(frozen.statistics))
        weights = {name.removeprefix("weights/"): tensor for name, tensor in self._frozen_weights.items()}
        self._live.replace(served, weights)
        self._champion, self._champion_knowledge = self._frozen_weights, self._frozen_knowledge
        return discarded

    def _promote(self) -> None:
        line = self.line
        candidate = line.candidate()
        served = replace(
            candidate,
            model=self._live.bundle.model,
            # The line's own go on learning.
            statistics=deepcopy(candidate.statistics),
        )
        self._live.replace(served, candidate.model.trainable_parameters())
        self._champion = {name: tensor.clone() for name, tensor in restorable(served, line.learner.tensors()).items()}
        line.state = line.state.promoted(served.version, None)
        self._champion_knowledge = line.state.knowledge
