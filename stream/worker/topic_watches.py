"""What may happen to the topics under a running worker: one is made anew, or retention overtakes the reader."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

import faust
import structlog
from aiokafka.errors import KafkaError
from faust.types import TP

from stream.cluster.gone_records import GoneRecords
from stream.cluster.topic_identity import TopicIdentities
from stream.record import Delivery, Record
from stream.settings import KafkaSettings
from stream.worker.delivery import delivered
from stream.worker.metrics import GroupMetrics
from stream.worker.ordered_consumer import OrderedConsumer

_RETRY_SECONDS = 0.5


def follow_topics(app: faust.App, kafka: KafkaSettings, topics: Collection[str], metrics: GroupMetrics) -> None:
    """Let the app read a topic from its beginning when it was deleted and made anew.

    Args:
        app: The Faust app, made by `create_app`.
        kafka: The cluster.
        topics: Full names of what it reads.
        metrics: What to count in.
    """
    identities = TopicIdentities(kafka, topics)

    async def begin_again(remade: Collection[str]) -> None:
        metrics.topics_remade.inc(len(remade))
        consumer: OrderedConsumer = app.consumer  # type: ignore[assignment]
        await consumer.begin_again(remade)

    async def follow() -> None:
        await identities.follow(begin_again)

    app.task(follow)


def watch_gone(app: faust.App, kafka: KafkaSettings, process: str, metrics: GroupMetrics) -> GoneRecords:
    """Return the watch over what retention takes from this worker; show it all that is read, before it is used."""
    watch = GoneRecords(process, metrics.gone_records.inc, _Group(app, kafka))

    async def forget(_app: Any, _revoked: set[TP], **_: Any) -> None:
        watch.forget()

    app.on_partitions_revoked.connect(forget)  # type: ignore[arg-type]  # its types forbid named arguments
    return watch


class _Group:
    """What the watch asks and tells; a broker that is away is asked again."""

    def __init__(self, app: faust.App, kafka: KafkaSettings) -> None:
        self._app = app
        self._kafka = kafka

    def committed(self, topic: str, partition: int) -> int | None:
        # Nothing is committed before the first record of an assignment is handled: it is where the group stood.
        offsets: Mapping[TP, int | None] = self._app.consumer._committed_offset  # type: ignore[attr-defined]  # noqa: SLF001
        return offsets.get(TP(topic, partition))

    async def beginning(self, topic: str, partition: int) -> int:
        while True:
            try:
                return (await self._app.consumer.earliest_offsets(TP(topic, partition)))[TP(topic, partition)]
            except KafkaError as error:
                structlog.get_logger(__name__).warning("offsets_unknown", message=str(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def write(self, partition: int, letter: Record) -> None:
        delivery = Delivery("dead-letters", partition % self._kafka.partitions, letter)
        while not await delivered(self._app, self._kafka, [delivery]):
            pass
