"""The loop: obey, poll, plan, judge, publish, learn, checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
import structlog
from torch import Tensor

from scorer.device import return_freed_memory
from scorer.version_store import RegistryError, parse_version
from stream.events import GateResult
from trainer.checkpoint import CheckpointError, CheckpointStore
from trainer.commands import Command, CommandInbox, CommandResult
from trainer.failpoints import Failpoints
from trainer.ledger_chain import FAN_IN, merge_segments, sweep_segments
from trainer.ledger_segments import write_segment
from trainer.line import ModelLine, PlanRows, weights_of
from trainer.metrics import TrainerMetrics
from trainer.plan import Plan, PlanStore, Record, cut_plan
from trainer.planner import ExampleSource, Planner
from trainer.probe import ProbeSet
from trainer.publication import Publisher
from trainer.settings import GateSettings, TrainerSettings

_POLL_SECONDS = 0.2
"""How long a poll waits: short, so that commands and signals are seen soon."""


class CommittingSource(ExampleSource, Protocol):
    """A log that can show how far the checkpoint is."""

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Show how far the checkpoint is; nothing depends on it."""


@dataclass(frozen=True)
class Stores:
    """Where the private state of a model line is kept.

    Attributes:
        plans: Fixed inputs of updates.
        checkpoints: State between updates.
        ledger: Directory of ledger segments.
    """

    plans: PlanStore
    checkpoints: CheckpointStore
    ledger: Path


@dataclass(frozen=True)
class Edges:
    """What the loop talks to.

    Attributes:
        source: The log of weighted examples.
        publisher: Versions, aliases and announcements.
        inbox: Commands.
        metrics: What is shown.
        clock: Seconds, monotonic.
        failpoints: Where tests crash.
    """

    source: CommittingSource
    publisher: Publisher
    inbox: CommandInbox
    metrics: TrainerMetrics
    clock: Callable[[], float]
    failpoints: Failpoints


class Trainer:
    """Keeps one model line learning.

    Args:
        line: The line as its newest checkpoint left it.
        checkpoint_name: That checkpoint.
        stores: Plans, checkpoints and ledger.
        edges: What it talks to.
        settings: Of the trainer.
        gate: Of the gate.
    """

    def __init__(
        self,
        line: ModelLine,
        checkpoint_name: str,
        stores: Stores,
        edges: Edges,
        settings: TrainerSettings,
        gate: GateSettings,
    ) -> None:
        self.line = line
        self._checkpoint_name = checkpoint_name
        self._stores = stores
        self._source = edges.source
        self._publisher = edges.publisher
        self._inbox = edges.inbox
        self._metrics = edges.metrics
        self._failpoints = edges.failpoints
        self._planner = Planner(edges.source, line.state.offsets, settings, edges.clock)
        self._probe = ProbeSet(settings)
        self._settings = settings
        self._gate = gate
        self._log = structlog.get_logger(__name__)

    def run(self, stop: Callable[[], bool]) -> None:
        """Announce what a crash left unannounced, finish the update it interrupted, and go on until asked to stop.

        An update that has begun is finished, checkpoint included.
        """
        state = self.line.state
        self._publisher.announce_missing("rolled_back" if state.promotions_stopped else "promoted")
        self._show_state()
        plan = self._stores.plans.read(state.update + 1)
        if plan is not None:
            self._log.info("update_repeated", update=plan.number, rows=plan.num_rows)
            records = self._planner.read(plan, stop)
            if records is not None:
                self._update(plan, records)
        while not stop():
            self.step()

    def step(self) -> None:
        """Obey commands; then, unless paused, read for a moment and run an update if one is due."""
        self._obey_commands()
        if self.line.state.paused:
            self._planner.idle(_POLL_SECONDS)
            return
        records = self._planner.collect(_POLL_SECONDS)
        if records is None:
            return
        state = self.line.state
        plan = cut_plan(state.update + 1, state.offsets, records, line=state.line, seed=self._settings.seed)
        self._stores.plans.write(plan)  # 1
        self._failpoints.pass_through("plan_written")
        self._update(plan, records)

    def _update(self, plan: Plan, records: list[Record]) -> None:
        """Run the update of a plan. Each step may crash; the restart repeats all of them with the same result.

        1. The plan is on disk before this begins: which records, which seed.
        2. Tell first copies from repeats and late rows, select by hash, make model inputs.
        3. Judge the present weights on the new rows, which they have not learned.
        4. On promote: publish these weights as a version, move the aliases, announce, and wait for delivery.
        5. Learn: numeric statistics, selected rows and replayed ones, in the order of the plan's seed.
        6. Write the ledger segment and the checkpoint that refers to it: from here on the plan is done.
        7. Commit offsets for dashboards, drop what no restart needs any more; now and then rescore the probe.
        """
        with self._metrics.stage("featurize"):
            rows = self.line.admit(records)  # 2
        self._failpoints.pass_through("admitted")
        with self._metrics.stage("judge"):
            result = self._judge(rows, plan)  # 3
        if result is not None:
            with self._metrics.stage("publish"):
                self._decide(result, plan)  # 4
        self._failpoints.pass_through("decided")
        with self._metrics.stage("learn"):
            report = self.line.learn(rows, plan)  # 5
        self._failpoints.pass_through("learned")
        with self._metrics.stage("checkpoint"):
            segment = write_segment(self._stores.ledger, plan.number, report.ledger, self.line.state.ledger)
            self._failpoints.pass_through("ledger_written")
            segment = merge_segments(self._stores.ledger, segment)
            self._failpoints.pass_through("ledger_merged")
            self.line.refer_to(segment)
            self._write_checkpoint()  # 6
        self._failpoints.pass_through("checkpoint_written")
        self._source.commit(plan.next)  # 7
        self._stores.plans.prune(plan.number - self._settings.keep_checkpoints)
        if plan.number % FAN_IN == 0:
            sweep_segments(self._stores.ledger, self._stores.checkpoints.ledgers(), self._failpoints)
        self._rescore_probe(rows, plan)
        return_freed_memory()
        self._metrics.count_learning(report)
        self._metrics.show_lag(self._source.ends(), plan.next)
        self._show_state()
        self._log.info(
            "update",
            update=plan.number,
            rows=plan.num_rows,
            learned=len(report.weights),
            steps=report.update.num_steps,
            loss=round(report.update.mean_loss, 4),
            gate=result.reason if result else None,
        )

    def _rescore_probe(self, rows: PlanRows, plan: Plan) -> None:
        self._probe.offer(rows.first_copies)
        if plan.number % self._settings.probe_every == 0:
            with self._metrics.stage("probe"):
                self._metrics.probe.show(self._probe.rescore(self.line.candidate()))

    def _judge(self, rows: PlanRows, plan: Plan) -> GateResult | None:
        state = self.line.state
        # Nothing learned since the champion: there is nothing to judge.
        if state.promotions_stopped or state.rows_since_champion == 0:
            result = None
        else:
            result = self.line.judge(rows, plan.newest_ms)
        self._metrics.gate.count_decision(result, stopped=state.promotions_stopped)
        return result

    def _decide(self, result: GateResult, plan: Plan) -> None:
        self.line.forget_evidence()
        if result.decision == "promote":
            self._promote(result, plan)
            return
        holds = self.line.state.holds_in_row + 1
        self.line.note(holds_in_row=holds)
        self._log.warning("update_held", update=plan.number - 1, holds_in_row=holds, **msgspec.to_builtins(result))
        # Weights that are not finite cannot recover by learning on.
        if holds >= self._gate.max_holds or result.reason == "non_finite":
            champion = self.line.state.champion
            discarded = self._go_back_to(champion)
            self._log.warning("champion_restored", version=champion, discarded_rows=discarded)

    def _promote(self, result: GateResult, plan: Plan) -> None:
        bundle = self.line.candidate()
        state = self.line.state
        self._publisher.publish(bundle, parent=state.lineage, covered=state.covered, gate=result, plan=plan)
        self._failpoints.pass_through("published")
        self.line.note(
            champion=bundle.version,
            previous=state.champion,
            lineage=bundle.version,
            champion_checkpoint=self._checkpoint_name,
            holds_in_row=0,
            rows_since_champion=0,
        )
        self._publisher.move({"previous": state.champion, "champion": bundle.version}, "promoted")
        self._metrics.gate.promotions.inc()
        self._publisher.registry.prune(self._settings.keep_versions, [state.lineage])
        self._log.info("promoted", version=bundle.version, **msgspec.to_builtins(result))

    def _go_back_to(self, version: str) -> int:
        """Restore the weights of a version, with its optimizer state where a checkpoint still holds it."""
        state = self.line.state
        bundle = self._publisher.registry.load(version)
        tensors: Mapping[str, Tensor] = weights_of(bundle)
        if version == state.champion and state.champion_checkpoint is not None:
            try:
                tensors = self._stores.checkpoints.load(state.champion_checkpoint).tensors
            except CheckpointError as error:
                self._log.warning("optimizer_state_lost", version=version, message=str(error))
        discarded = self.line.restore_weights(version, tensors, bundle)
        self._metrics.gate.discarded_rows.inc(discarded)
        return discarded

    def _write_checkpoint(self) -> None:
        self._checkpoint_name, size = self._stores.checkpoints.write(self.line.checkpoint())
        self._metrics.checkpoint_bytes.set(size)
        self._metrics.checkpoint_time.set_to_current_time()

    def _obey_commands(self) -> None:
        """Carry out what operators asked. State first, answer last: a crash in between repeats both."""
        for offset, command in self._inbox.poll():
            self.line.note(command_offset=offset)
            if command is None:
                continue
            result = self._obey(command)
            self._write_checkpoint()
            self._inbox.answer(result)
            self._metrics.commands.labels(command.action).inc()
            self._show_state()
            self._log.info("command", action=command.action, done=result.done, message=result.message)

    def _obey(self, command: Command) -> CommandResult:
        try:
            message = {
                "pause": self._pause,
                "resume": self._resume,
                "rollback": self._roll_back,
                "resume_promotions": self._resume_promotions,
            }[command.action](command)
        except (RegistryError, CheckpointError) as error:
            return CommandResult(command_id=command.command_id, done=False, message=str(error))
        return CommandResult(command_id=command.command_id, done=True, message=message)

    def _pause(self, _command: Command) -> str:
        self.line.note(paused=True)
        return f"paused after update {self.line.state.update}; the scorers serve on"

    def _resume(self, _command: Command) -> str:
        self.line.note(paused=False)
        return f"resumed after update {self.line.state.update}"

    def _roll_back(self, command: Command) -> str:
        state = self.line.state
        version = command.version or state.previous
        if version is None:
            message = f"there is no version before {state.champion}; name one with --version"
            raise RegistryError(message)
        self._check_trusted(version)
        if version != state.champion:
            self.line.note(champion=version, previous=state.champion, champion_checkpoint=None)
            self._publisher.move({"previous": state.champion, "champion": version}, "rolled_back")
        self.line.note(promotions_stopped=True, holds_in_row=0)
        self.line.forget_evidence()
        return f"{version} serves; nothing is promoted until `millstream models resume`"

    def _resume_promotions(self, command: Command) -> str:
        if command.restart_from is not None:
            self._check_trusted(command.restart_from)
            self._go_back_to(command.restart_from)
        self.line.note(promotions_stopped=False)
        self.line.forget_evidence()
        return f"promotions go on; learning goes on from {command.restart_from or 'the present weights'}"

    def _check_trusted(self, version: str) -> None:
        line, _ = parse_version(version)
        if line != self.line.state.line:
            message = f"version {version} is of another model line than {self.line.state.line}; name one of this line"
            raise RegistryError(message)
        if problems := self._publisher.registry.verify(version):
            message = f"version {version} cannot be trusted: {'; '.join(problems)}"
            raise RegistryError(message)

    def _show_state(self) -> None:
        state = self.line.state
        self._metrics.gate.holds_in_row.set(state.holds_in_row)
        self._metrics.paused.set(state.paused)
        self._metrics.gate.promotions_stopped.set(state.promotions_stopped)
        self._metrics.gate.promoted_number.set(parse_version(state.champion)[1])
