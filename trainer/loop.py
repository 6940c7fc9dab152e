"""The loop: obey, poll, plan, judge, publish, learn, checkpoint."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from scorer.model.device import return_freed_memory
from scorer.registry.version_store import RegistryError, parse_version
from stream.events import GateResult
from trainer.failures import OUT_OF_MEMORY, Failed, attempt
from trainer.learning.probe import ProbeSet
from trainer.line import LearnReport, ModelLine
from trainer.metrics import TrainerMetrics
from trainer.plans.example_record import ExampleRecord
from trainer.plans.plan_rows import PlanRows
from trainer.plans.planner import ExampleSource, Planner, cut_plan
from trainer.promotion.commands import Command, CommandInbox, CommandResult
from trainer.promotion.gate import first_judgement
from trainer.promotion.publication import Publisher
from trainer.serving import Serving
from trainer.settings import TrainerSettings
from trainer.state.checkpoint import CheckpointError
from trainer.state.failpoints import Failpoints
from trainer.state.line_stores import LineStores
from trainer.state.plan import Plan

_POLL_SECONDS = 0.2
"""How long a poll waits: short, so that commands and signals are seen soon."""

_LAG_SECONDS = 5.0
"""How often the broker is asked how long its log is, whether or not anything is learned."""


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

    source: ExampleSource
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
    """

    def __init__(
        self,
        line: ModelLine,
        checkpoint_name: str,
        stores: LineStores,
        edges: Edges,
        settings: TrainerSettings,
    ) -> None:
        self.line = line
        self._checkpoint_name = checkpoint_name
        self._stores = stores
        self._source = edges.source
        self._serving = Serving(
            line,
            edges.publisher,
            stores.checkpoints,
            edges.metrics.gate,
            keep_versions=settings.keep_versions,
            failpoints=edges.failpoints,
        )
        self._inbox = edges.inbox
        self._metrics = edges.metrics
        self._failpoints = edges.failpoints
        self._clock = edges.clock
        self._lag_due = -math.inf
        self._planner = Planner(edges.source, line.state.offsets, settings, edges.clock)
        self._probe = ProbeSet(settings)
        self._settings = settings
        self._log = structlog.get_logger(__name__)

    def run(self, stop: Callable[[], bool]) -> None:
        """Announce what a crash left unannounced, finish the updates it interrupted, and go on until asked to stop.

        An update that has begun is finished, checkpoint included.
        """
        state = self.line.state
        self._log.info(
            "trainer_started",
            line=state.line,
            update=state.update,
            champion=state.champion,
            offsets=state.offsets,
            first_judgement=first_judgement(self.line.gate) if self.line.gate else "never",
        )
        self._metrics.gone_records.set(sum(gone.num_records for gone in state.gone))
        self._serving.announce_missing()
        self._show_state()
        while (plan := self._interrupted_plan()) is not None:
            self._log.info("update_repeated", update=plan.number, rows=plan.num_rows)
            records = self._planner.read(plan, stop)
            if records is None:
                return
            self._update(plan, records, is_repeated=True)
        while not stop():
            self.step()

    def step(self) -> None:
        """Obey commands; then, unless paused, read for a moment and run an update if one is due."""
        self._obey_commands()
        self._show_lag()
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

    def _interrupted_plan(self) -> Plan | None:
        """Return the plan that a crash left; None for a damaged one of which nothing came, as if it had not been cut.

        Raises:
            ValueError: it is damaged, and a version or a later plan came of it, which another plan would contradict.
        """
        number = self.line.state.update + 1
        try:
            return self._stores.plans.read(number)
        except ValueError as error:
            if self._serving.has_published_candidate() or not self._stores.plans.drop(number):
                raise
            self._log.error("plan_damaged", update=number, message=str(error))
            return None

    def _update(self, plan: Plan, records: list[ExampleRecord], *, is_repeated: bool = False) -> None:
        """Run the update of a plan. Each step may crash; the restart repeats all of them with the same result.

        1. The plan is on disk before this begins: which records, which seed.
        2. Tell first copies from repeats and late rows, select by hash, make model inputs.
        3. Let the new rows choose among the ladder's steps, and judge on them what would serve: no weight learned them.
        4. On promote: publish it as a version, move the aliases, announce, and wait for delivery.
        5. Learn: numeric statistics, selected rows and replayed ones, in the order of the plan's seed. If that fails,
           go back to the checkpoint and settle the plan without learning it; a restart would fail at it again.
        6. Write the ledger segment and the checkpoint that refers to it: from here on the plan is done.
        7. Commit offsets for dashboards, drop what no restart needs any more; now and then rescore the probe.
        """
        with self._metrics.stage("featurize"):
            rows = self.line.admit(records)  # 2
        self._failpoints.pass_through("admitted")
        with self._metrics.stage("judge"):
            result = self._serving.judge(rows, plan)  # 3
        if result is not None:
            with self._metrics.stage("publish"):
                result = self._serving.decide(result, plan, self._checkpoint_name)  # 4
        self._failpoints.pass_through("decided")
        with self._metrics.stage("learn"):
            report = self._learn(rows, plan, is_repeated=is_repeated)  # 5
        if report is None:
            self.line.restore(self._stores.checkpoints.load(self._checkpoint_name))
            self._update(plan, records)
            return
        self._failpoints.pass_through("learned")
        with self._metrics.stage("checkpoint"):
            segment = self._stores.record(plan.number, report.ledger, self.line.state.ledger)
            self.line.state = self.line.state.recorded(segment)
            self._write_checkpoint()  # 6
        self._failpoints.pass_through("checkpoint_written")
        self._source.commit(plan.next)  # 7
        self._stores.forget(plan.number)
        self._rescore_probe(rows, plan)
        return_freed_memory()
        self._show_update(plan, result, report)

    def _show_update(self, plan: Plan, result: GateResult | None, report: LearnReport) -> None:
        self._metrics.gate.count_decision(result, stopped=self.line.state.promotions_stopped)
        self._metrics.count_learning(report)
        self._lag_due = -math.inf
        self._show_lag()
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
        if plan.number % self._settings.probe_every:
            return
        with self._metrics.stage("probe"):
            found = attempt(lambda: self._probe.rescore(self.line.candidate()))
        if isinstance(found, Failed):
            self._log.error("probe_failed", update=plan.number, exc_info=found.error)
        self._metrics.probe.show(None if isinstance(found, Failed) else found)

    def _learn(self, rows: PlanRows, plan: Plan, *, is_repeated: bool) -> LearnReport | None:
        """Return what learning the plan did; None when it failed, which is on disk then.

        Where memory runs out, a new process may have more: only the restart that repeats the plan calls it a failure.
        """
        if self._stores.plans.is_refused(plan.number):
            self._metrics.refused_updates.inc()
            return self.line.pass_over(rows, plan)
        report = attempt(lambda: self.line.learn(rows, plan))
        if not isinstance(report, Failed):
            return report
        if isinstance(report.error, OUT_OF_MEMORY) and not is_repeated:
            raise report.error
        self._log.error("update_failed", update=plan.number, rows=plan.num_rows, exc_info=report.error)
        self._stores.plans.refuse(plan.number)
        return None

    def _write_checkpoint(self) -> None:
        self._checkpoint_name, size = self._stores.checkpoints.write(self.line.checkpoint())
        self._metrics.checkpoint_bytes.set(size)
        self._metrics.checkpoint_time.set_to_current_time()

    def _obey_commands(self) -> None:
        """Carry out what operators asked: state first, then the world, answer last."""
        for offset, command in self._inbox.poll():
            self.line.state = self.line.state.commands_read(offset)
            if command is None:
                continue
            result = self._obey(command)
            self._write_checkpoint()
            if command.action == "rollback" and result.done:
                self._failpoints.pass_through("rolled_back")
                self._serving.move_back()
            self._inbox.answer(result)
            self._metrics.commands.labels(command.action).inc()
            self._show_state()
            self._log.info("command", action=command.action, done=result.done, message=result.message)

    def _obey(self, command: Command) -> CommandResult:
        try:
            message = {
                "pause": self._pause_or_resume,
                "resume": self._pause_or_resume,
                "rollback": self._serving.roll_back,
                "resume_promotions": self._serving.resume_promotions,
            }[command.action](command)
        except (RegistryError, CheckpointError) as error:
            return CommandResult(command_id=command.command_id, done=False, message=str(error))
        return CommandResult(command_id=command.command_id, done=True, message=message)

    def _pause_or_resume(self, command: Command) -> str:
        state = self.line.state = self.line.state.with_pause(paused=command.action == "pause")
        done = f"{command.action}d after update {state.update}"
        return f"{done}; the scorers serve on" if state.paused else done

    def _show_state(self) -> None:
        state = self.line.state
        self._metrics.gate.holds_in_row.set(state.holds_in_row)
        for step, share in self.line.shares.items():
            self._metrics.gate.ladder_share.labels(step).set(share)
        self._metrics.paused.set(state.paused)
        self._metrics.gate.promotions_stopped.set(state.promotions_stopped)
        self._metrics.gate.promoted_number.set(parse_version(state.champion)[1])

    def _show_lag(self) -> None:
        if self._clock() >= self._lag_due:
            self._metrics.show_lag(self._source.ends(), self.line.state.offsets)
            self._lag_due = self._clock() + _LAG_SECONDS
