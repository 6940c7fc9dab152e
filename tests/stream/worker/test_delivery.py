"""Sending without a broker: a producer that confirms, or does not, what the test says."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError
from faust.exceptions import NotReady

from stream.record import Delivery, Record
from stream.settings import KafkaSettings
from stream.worker.delivery import delivered

KAFKA = KafkaSettings(topic_prefix="shop.")


class ScriptedProducer:
    """Faust's producer; `refused` fails at once, `unconfirmed` later, everything else is confirmed later still."""

    def __init__(self, refused: bytes = b"", unconfirmed: bytes = b"") -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.confirmed: list[bytes] = []
        self._refused = refused
        self._unconfirmed = unconfirmed

    async def send(self, *record: Any) -> asyncio.Task[None]:
        if record[2] == self._refused:
            raise NotReady
        self.sent.append(record)
        return asyncio.create_task(self._confirm(record[2]))

    async def _confirm(self, value: bytes) -> None:
        if value == self._unconfirmed:
            raise KafkaTimeoutError
        await asyncio.sleep(0.01)
        self.confirmed.append(value)


def labels(*values: bytes) -> list[Delivery]:
    return [Delivery("labeled-impressions", 1, Record(b"key", value)) for value in values]


async def test_records_leave_in_their_order_and_all_are_confirmed():
    producer = ScriptedProducer()
    assert await delivered(SimpleNamespace(producer=producer), KAFKA, labels(b"a", b"b"))
    assert producer.sent == [("shop.labeled-impressions", b"key", value, 1, None, {}) for value in (b"a", b"b")]
    assert producer.confirmed == [b"a", b"b"]


@pytest.mark.parametrize("created_ms", [1_700_000_000_001, 1_700_000_000_999])
async def test_a_create_time_survives_that_faust_cuts_seconds_to_milliseconds(created_ms: int):
    producer = ScriptedProducer()
    created = Delivery("events", None, Record(b"k", b"v"), created_ms)
    assert await delivered(SimpleNamespace(producer=producer), KAFKA, [created])
    assert int(producer.sent[0][4] * 1000) == created_ms


@pytest.mark.parametrize("trouble", [{"refused": b"c"}, {"unconfirmed": b"b"}])
async def test_nothing_is_in_flight_when_a_record_was_not_confirmed(trouble: dict[str, bytes]):
    producer = ScriptedProducer(**trouble)
    failures: list[None] = []
    app, records = SimpleNamespace(producer=producer), labels(b"a", b"b", b"c", b"d")
    assert not await delivered(app, KAFKA, records, lambda: failures.append(None))
    assert len(failures) == 1
    assert producer.confirmed == [record[2] for record in producer.sent if record[2] not in trouble.values()]
