"""What serves: judged weights become a version, or are held; a champion comes back; an operator rolls back."""

from collections.abc import Mapping, Sequence

import msgspec
import structlog
from torch import Tensor

from scorer.registry.version_store import RegistryError, parse_version, version_name
from stream.events import Alias, GateResult
from trainer.failures import Failed, attempt
from trainer.line import ModelLine, restorable, weights_of
from trainer.metrics import GateMetrics
from trainer.plans.plan_rows import PlanRows
from trainer.promotion.commands import Command
from trainer.promotion.gate import held
from trainer.promotion.policy import is_to_be_judged
from trainer.promotion.publication import Publisher
from trainer.state.checkpoint import CheckpointError, CheckpointStore
from trainer.state.failpoints import Failpoints
from trainer.state.plan import Plan


class Serving:
    """Decides what serves, and keeps the line's state and the aliases in step.

    Args:
        line: The model line; its state is changed.
        publisher: Versions, aliases and announcements.
        checkpoints: Where a champion's optimizer state may be.
        metrics: Of the gate.
        keep_versions: Versions that stay in the registry.
        failpoints: Where tests crash.
    """

    def __init__(
        self,
        line: ModelLine,
        publisher: Publisher,
        checkpoints: CheckpointStore,
        metrics: GateMetrics,
        *,
        keep_versions: int,
        failpoints: Failpoints,
    ) -> None:
        self._line = line
        self._publisher = publisher
        self._checkpoints = checkpoints
        self._metrics = metrics
        self._keep_versions = keep_versions
        self._failpoints = failpoints
        self._log = structlog.get_logger(__name__)

    def judge(self, rows: PlanRows, plan: Plan) -> GateResult | None:
        """Judge what would serve on rows it has not learned; None when there is nothing to decide."""
        if not is_to_be_judged(self._line.state):
            return None
        result = attempt(lambda: self._judged(rows, plan))
        if not isinstance(result, Failed):
            return result
        # What cannot be judged does not serve.
        self._log.error("judging_failed", update=plan.number - 1, exc_info=result.error)
        return held("judging_failed", None)

    def _judged(self, rows: PlanRows, plan: Plan) -> GateResult | None:
        self._line.look(rows, plan.seed)
        return self._line.judge(rows, plan.newest_ms)

    def decide(self, result: GateResult, plan: Plan, checkpoint_name: str) -> GateResult:
        """Carry out a judgement and return it, or the hold that it became.

        Args:
            result: The judgement.
            plan: The plan whose rows judged.
            checkpoint_name: The checkpoint that holds the weights.
        """
        if result.decision == "promote":
            try:
                self._promote(result, plan, checkpoint_name)
            except RegistryError as error:
                version = self._line.candidate().version
                self._log.error("version_unpublishable", version=version, message=str(error))
                result = held("unpublishable", self._line.evidence)
        decided = self._line.settle(result)
        if decided == "promote":
            return result
        holds = self._line.state.holds_in_row
        self._log.warning("update_held", update=plan.number - 1, holds_in_row=holds, **msgspec.to_builtins(result))
        if decided == "restore":
            self._restore_champion()
        elif decided == "restart":
            self._restart_from_frozen()
        return result

    def has_published_candidate(self) -> bool:
        """Return whether what would serve is a version already: the plan that judged them was not finished."""
        return self._line.candidate().version in self._publisher.registry.versions()

    def announce_missing(self) -> None:
        """Announce what moved before the process ended; of a new line and after a rollback, move what did not."""
        state = self._line.state
        if state.promotions_stopped:
            self.move_back()
            return
        if state.number == 0:
            self._publisher.move({"champion": state.champion, "frozen": version_name(state.line, 0)}, "initialised")
        self._publisher.announce_missing("promoted")

    def roll_back(self, command: Command) -> str:
        """Stop promotions and let an older version serve, in the state alone: `move_back` tells the world.

        Raises:
            RegistryError: there is no such version, or it cannot be trusted.
        """
        state = self._line.state
        version = command.version or self._newest_sound(state.served_before)
        if version is None:
            message = (
                f"no version served before {state.champion}, or all were rolled back from, pruned or damaged; name "
                "one: `millstream models rollback VERSION`"
            )
            raise RegistryError(message)
        self._check_trusted(version)
        rows = self._publisher.knowledge_of(version).rows if self._is_ours(version) else 0
        self._line.state = state.rolled_back(version, rows)
        self._line.forget_evidence()
        self._line.forget_comparisons()
        where = "" if self._is_ours(version) else " where its model line can be loaded"
        return f"{version} serves{where}; nothing is promoted until `millstream models resume`"

    def move_back(self) -> None:
        """Let the aliases say what the state says after a rollback; what is known is not announced again."""
        state = self._line.state
        aliases: dict[Alias, str] = {"previous": state.previous} if state.previous else {}
        aliases["champion"] = state.champion
        self._publisher.move(aliases, "rolled_back")

    def resume_promotions(self, command: Command) -> str:
        """Let updates serve again, from the weights of another version if the command names one.

        Raises:
            RegistryError: there is no such version, or it cannot be trusted.
        """
        if command.restart_from is not None:
            if not self._is_ours(command.restart_from):
                message = (
                    f"version {command.restart_from} is of another model line than {self._line.state.line}, which "
                    "cannot go on from it; name one of this line"
                )
                raise RegistryError(message)
            self._check_trusted(command.restart_from)
            self.go_back_to(command.restart_from)
        self._line.state = self._line.state.may_promote_again()
        self._line.forget_evidence()
        self._line.forget_comparisons()
        return f"promotions go on; learning goes on from {command.restart_from or 'the present weights'}"

    def go_back_to(self, version: str) -> int:
        """Restore the weights of a version, with its optimizer state where a checkpoint still holds it.

        Returns:
            Learned rows that this undoes.

        Raises:
            RegistryError: the version cannot be loaded.
        """
        state = self._line.state
        bundle = self._publisher.registry.load(version)
        tensors: Mapping[str, Tensor] = weights_of(bundle)
        if version == state.champion and state.champion_checkpoint is not None:
            try:
                tensors = restorable(bundle, self._checkpoints.load(state.champion_checkpoint).tensors)
            except CheckpointError as error:
                self._log.warning("optimizer_state_lost", version=version, message=str(error))
        knowledge = self._publisher.knowledge_of(version)
        discarded = self._line.restore_weights(version, knowledge, tensors, bundle.statistics)
        self._metrics.discarded_rows.inc(discarded)
        return discarded

    def _promote(self, result: GateResult, plan: Plan, checkpoint_name: str) -> None:
        bundle = self._line.candidate()
        state = self._line.state
        self._publisher.publish(bundle, parent=state.lineage, knowledge=state.knowledge, gate=result, plan=plan)
        self._failpoints.pass_through("published")
        self._publisher.move({"previous": state.champion, "champion": bundle.version}, "promoted")
        self._line.state = state.promoted(bundle.version, checkpoint_name)
        self._metrics.promotions.inc()
        self._publisher.registry.prune(self._keep_versions, [state.lineage])
        self._log.info("promoted", version=bundle.version, **msgspec.to_builtins(result))

    def _restore_champion(self) -> None:
        state = self._line.state
        version = state.champion if self._is_ours(state.champion) else state.lineage
        try:
            discarded = self.go_back_to(version)
        except RegistryError as error:
            # Learning goes on from what there is; nothing of it serves while it is held.
            self._log.error("champion_lost", version=version, message=str(error))
            return
        self._log.warning("champion_restored", version=version, discarded_rows=discarded)

    def _restart_from_frozen(self) -> None:
        before, frozen = self._line.state.champion, self._line.frozen
        assert frozen is not None, "nothing is compared with a version that is not there"
        try:
            discarded = self.go_back_to(frozen)
        except RegistryError as error:
            self._log.error("frozen_lost", version=frozen, message=str(error))
            return
        self._line.state = self._line.state.promoted(frozen, None)
        self._publisher.move({"previous": before, "champion": frozen}, "rolled_back")
        self._log.warning("frozen_restored", version=frozen, discarded_rows=discarded)

    def _is_ours(self, version: str) -> bool:
        return parse_version(version)[0] == self._line.state.line

    def _newest_sound(self, versions: Sequence[str]) -> str | None:
        """Return the last of some versions that was neither pruned nor damaged."""
        return next((one for one in reversed(versions) if not self._publisher.registry.verify(one)), None)

    def _check_trusted(self, version: str) -> None:
        if problems := self._publisher.registry.verify(version):
            message = f"version {version} cannot be trusted: {'; '.join(problems)}"
            raise RegistryError(message)
