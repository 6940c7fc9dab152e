"""The watch over what retention takes, as a worker hangs it on its app; no broker is needed."""

import asyncio
from types import SimpleNamespace
from typing import Any

from faust.exceptions import NotReady
from faust.types import TP
from prometheus_client import CollectorRegistry

from stream.settings import KafkaSettings
from stream.worker import topic_watches
from stream.worker.metrics import GroupMetrics
from stream.worker.topic_watches import watch_gone

EVENTS = TP("shop.events", 9)


class App:
    """What the watch needs of Faust: partition 9 of the events begins at 7, and the group has committed 3."""

    def __init__(self, failures: int = 0) -> None:
        self.letters: list[tuple[Any, ...]] = []
        self.revoke: Any = None
        self.consumer = SimpleNamespace(_committed_offset={EVENTS: 3}, earliest_offsets=self._beginnings)
        self.on_partitions_revoked = SimpleNamespace(connect=lambda handler: setattr(self, "revoke", handler))
        self.producer = SimpleNamespace(send=self._send)
        self._failures = failures

    async def _beginnings(self, partition: TP) -> dict[TP, int]:
        return {partition: 7}

    async def _send(self, *record: Any) -> asyncio.Future[None]:
        if self._failures:
            self._failures -= 1
            raise NotReady
        self.letters.append(record)
        confirmed = asyncio.get_running_loop().create_future()
        confirmed.set_result(None)
        return confirmed


def record(offset: int) -> SimpleNamespace:
    return SimpleNamespace(topic=EVENTS.topic, partition=EVENTS.partition, offset=offset)


async def test_a_letter_for_what_is_gone_is_written_until_kafka_has_it(monkeypatch):
    monkeypatch.setattr(topic_watches, "_RETRY_SECONDS", 0.01)
    app, registry = App(failures=2), CollectorRegistry()
    watch = watch_gone(app, KafkaSettings(topic_prefix="shop.", partitions=8), "join", GroupMetrics(registry, "stream"))
    await watch.look([record(7), record(8)])
    ((topic, _, _, partition, _, headers),) = app.letters
    assert (topic, partition) == ("shop.dead-letters", 1), "a foreign topic may have more partitions than ours"
    assert (headers["millstream.offset"], headers["millstream.last_offset"]) == (b"3", b"6")
    assert registry.get_sample_value("millstream_stream_gone_records_total") == 4


async def test_a_rebalance_makes_the_watch_begin_at_what_is_committed():
    app = App()
    watch = watch_gone(app, KafkaSettings(topic_prefix="shop."), "join", GroupMetrics(CollectorRegistry(), "stream"))
    app.consumer._committed_offset[EVENTS] = 7
    await watch.look([record(7), record(8)])
    await app.revoke(app, {EVENTS})
    await watch.look([record(7)])
    assert app.letters == []
