"""The scorer's Faust edge: labeled impressions in, weighted examples out, acknowledged when Kafka has them."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import faust
import structlog
from faust.types import TP, Message, StreamT

from scorer.importance.running import REMEMBERED_ROWS
from scorer.importance.strategies import build_strategy
from scorer.live.live_models import LiveModels
from scorer.live.release_loader import ReleaseLoader
from scorer.model.device import return_freed_memory
from scorer.model.settings import ModelSettings
from scorer.scoring.metrics import ScorerMetrics
from scorer.scoring.micro_batch import MicroBatch, MicroBatchScorer, RawRow, UnscorableError
from scorer.scoring.recent_examples import recent_examples
from scorer.scoring.scoring import Scoring, StrategyError
from scorer.settings import ScorerSettings
from stream.cluster.releases import ReleaseFollower
from stream.process.start import Process
from stream.process.vital_thread import end_process
from stream.process.watchdog import Progress, start_watchdog
from stream.settings import KafkaSettings
from stream.topics import topic_name
from stream.worker.delivery import delivered
from stream.worker.faust_app import create_app, run_app
from stream.worker.membership import Membership
from stream.worker.ordered_consumer import num_unread
from stream.worker.slot import worker_slot
from stream.worker.topic_watches import follow_topics, watch_gone

_RETRY_SECONDS = 0.5
_SHOW_SECONDS = 2.0
_BLIND_SECONDS = 10 * _SHOW_SECONDS
_DRAIN_SECONDS = 10.0


class ScorerAgent:
    """Reads ahead while a micro-batch is scored; one task scores, writes and acknowledges in offset order.

    A micro-batch mixes partitions in one forward pass and is written as one record per partition, to the partition
    number it was read from. It is acknowledged when Kafka has confirmed all of it; until then the whole of it is sent
    again, so a row may be written twice and is never lost.

    Args:
        app: The Faust app.
        kafka: Names of the topics.
        settings: Bounds of a micro-batch.
        models: The versions that serve.
        scoring: Scores by the roles of `models`.
        metrics: What to count in.
    """

    def __init__(
        self,
        app: faust.App,
        kafka: KafkaSettings,
        settings: ScorerSettings,
        models: LiveModels,
        scoring: Scoring,
        metrics: ScorerMetrics,
    ) -> None:
        self._app = app
        self._kafka = kafka
        self._settings = settings
        self._models = models
        self._scoring = scoring
        self._scorer = MicroBatchScorer(topic_name("labeled-impressions", kafka), scoring, _now_ms)
        self._metrics = metrics
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scoring")
        self._queue: deque[Message] = deque()
        self._rows = asyncio.Event()
        self._room = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._positions: dict[TP, int] = {}
        self._membership = Membership(app, metrics.group, self._drop)
        self._gone = watch_gone(app, kafka, "scorer", metrics.group)
        self._moved = 0
        self._unread = 0
        self._looked_at: float | None = None
        self._failure: str | None = None

    async def read(self, stream: StreamT[bytes]) -> None:
        """Take records as they come, up to two micro-batches ahead; nothing leaves this loop but a cancellation."""
        take = stream.noack_take  # type: ignore[attr-defined]  # Faust's interface type lacks it
        size = self._settings.max_batch_rows
        async for events in take(size, within=self._settings.max_wait_seconds):
            await self._gone.look(event.message for event in events if self._membership.owns(event.message))
            self._queue.extend(event.message for event in events)
            self._moved += 1
            self._rows.set()
            while len(self._queue) > size:
                self._room.clear()
                await self._room.wait()

    async def write(self) -> None:
        """Score, write and acknowledge one micro-batch after the other."""
        while True:
            self._idle.set()
            while not self._queue:
                self._rows.clear()
                await self._rows.wait()
            self._idle.clear()
            size = min(self._settings.max_batch_rows, len(self._queue))
            batch = [self._queue.popleft() for _ in range(size)]
            self._room.set()
            await self._process(batch)

    async def show(self) -> None:
        """Keep the gauges fresh, and the process small."""
        while True:
            await asyncio.to_thread(return_freed_memory)
            self._metrics.queue.set(len(self._queue))
            self._unread = num_unread(self._app, self._positions)
            self._looked_at = time.monotonic()
            self._metrics.lag.set(self._unread)
            await asyncio.sleep(_SHOW_SECONDS)

    async def drain(self, _app: Any, **_: Any) -> None:
        """Let the micro-batch that is under way end; what was only read ahead is left to the next process."""
        self._queue.clear()
        try:
            await asyncio.wait_for(self._idle.wait(), _DRAIN_SECONDS)
        except TimeoutError:
            structlog.get_logger(__name__).warning("drain_incomplete", remedy="its rows will be read again")

    def progress(self) -> Progress:
        """Return a look at this worker for the watchdog, whose thread must not ask Faust's consumer."""
        # Once the event loop stands still, nobody knows any more what is unread.
        blind = self._looked_at is not None and time.monotonic() - self._looked_at > _BLIND_SECONDS
        working = blind or bool(self._queue) or not self._idle.is_set() or self._unread > 0
        return Progress(
            waiting=self._membership.rebalancing or working, moved=self._moved + self._membership.num_assignments
        )

    def _drop(self) -> None:
        self._queue.clear()
        self._positions.clear()
        self._room.set()

    async def _process(self, batch: Sequence[Message]) -> None:
        current = [message for message in batch if self._membership.owns(message)]
        self._metrics.group.stale_records.inc(len(batch) - len(current))
        rows = [RawRow(message.partition, message.offset, message.key, message.value) for message in current]
        while rows and self._membership.owns(current[0]):
            scored = await self._score(rows)
            if scored is not None:
                await self._publish(current, scored)
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _score(self, rows: Sequence[RawRow]) -> MicroBatch | None:
        try:
            scored = await asyncio.get_running_loop().run_in_executor(self._executor, self._scorer.process, rows)
        except (StrategyError, UnscorableError) as error:
            # No other model version would mend it, and going on would drain the stream into the dead letters.
            end_process("scoring_broken", error, version=self._models.version, strategy=self._scoring.strategy.name)
        except Exception as error:  # noqa: BLE001 (the rows are kept; a rollback or the watchdog ends it)
            self._metrics.score_failures.inc()
            traceback = error if str(error) != self._failure else None  # once, not at every attempt
            self._failure = str(error)
            structlog.get_logger(__name__).error(
                "scoring_failed", version=self._models.version, message=self._failure, exc_info=traceback
            )
            return None
        self._failure = None
        for stage, seconds in scored.seconds.items():
            self._metrics.stage_seconds.labels(stage).observe(seconds)
        return scored

    async def _publish(self, batch: Sequence[Message], scored: MicroBatch) -> None:
        started = time.perf_counter()
        while self._membership.owns(batch[0]):
            if not await delivered(self._app, self._kafka, scored.deliveries, self._metrics.send_failures.inc):
                continue
            self._metrics.stage_seconds.labels("publish").observe(time.perf_counter() - started)
            self._metrics.count(scored, self._scoring.strategy)
            self._metrics.show_tokens(self._scoring.num_tokens, self._scoring.num_unknown)
            self._acknowledge(batch)
            return

    def _acknowledge(self, batch: Sequence[Message]) -> None:
        # A rebalance during the sends has given the partitions away: their rows will be scored again.
        for message in batch:
            if self._membership.owns(message):
                message.ack(self._app.consumer)
                self._positions[message.tp] = message.offset + 1
        self._moved += 1


def create_scorer_app(
    kafka: KafkaSettings, settings: ScorerSettings, models: LiveModels, scoring: Scoring, metrics: ScorerMetrics
) -> faust.App:
    """Return the app that scores; every process of the group needs its own `settings.instance`."""
    app = create_app("scorer", kafka, instance=settings.instance)
    agent = ScorerAgent(app, kafka, settings, models, scoring, metrics)
    labeled = app.topic(
        topic_name("labeled-impressions", kafka), key_serializer="raw", value_serializer="raw", value_type=bytes
    )
    app.agent(labeled, name="scorer", concurrency=1)(agent.read)
    app.task(agent.write)
    app.task(agent.show)
    follow_topics(app, kafka, [labeled.get_topic_name()], metrics.group)
    app.on_before_shutdown.connect(agent.drain)  # type: ignore[arg-type]  # its types forbid named arguments
    start_watchdog(agent.progress, settings.stall_seconds)
    return app


def run(process: Process) -> None:
    """Run the scorer until it is told to stop; it waits for the first champion.

    Raises:
        ValueError: a setting is wrong.
        ReleasesUnavailableError: the topics do not exist.
        ClusterError: the last examples cannot be read.
    """
    kafka, settings = KafkaSettings(), ScorerSettings()
    strategy = build_strategy(settings.strategy, settings.budget)
    metrics = ScorerMetrics(process.registry)
    with ExitStack() as held:
        held.enter_context(worker_slot(process.name, kafka, instance=settings.instance))
        process.show_metrics()
        loader = ReleaseLoader(ModelSettings())
        follower = ReleaseFollower(kafka, metrics.model.unusable_releases.inc)
        bundle, releases = loader.wait_for_champion(follower, follower.catch_up())
        models = LiveModels(bundle, follower, releases, loader=loader, settings=settings, metrics=metrics.model)
        held.enter_context(models.following())
        scoring = Scoring(models.roles, strategy, frozen_share=settings.frozen_share)
        scoring.remember(recent_examples(kafka, REMEMBERED_ROWS))
        run_app(create_scorer_app(kafka, settings, models, scoring, metrics), process.name)


def _now_ms() -> int:
    return int(time.time() * 1000)
