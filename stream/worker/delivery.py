"""Sends records to Kafka, and knows when it has them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import faust
import structlog
from aiokafka.errors import KafkaError
from faust.exceptions import FaustError
from faust.types import RecordMetadata

from stream.record import Delivery
from stream.settings import KafkaSettings
from stream.topics import topic_name

_RETRY_SECONDS = 0.5


async def delivered(
    app: faust.App, kafka: KafkaSettings, deliveries: Iterable[Delivery], on_failure: Callable[[], None] = lambda: None
) -> bool:
    """Send the records in their order, and return whether Kafka confirmed every one; send all again where it did not.

    None is in flight then, and a moment has been waited; those that were confirmed will be repeated.
    """
    pending: list[Awaitable[RecordMetadata]] = []
    failure: BaseException | None = None
    for delivery in deliveries:
        topic, record = topic_name(delivery.topic, kafka), delivery.record
        # Faust wants seconds and cuts them to milliseconds: half a one keeps it from cutting one off.
        created = None if delivery.create_time_ms is None else (delivery.create_time_ms + 0.5) / 1000
        try:
            # Sending can fail at once too: the producer is not ready while the app shuts down.
            sent = await app.producer.send(topic, record.key, record.value, delivery.partition, created, record.headers)
        except (FaustError, KafkaError) as error:
            failure = error
            break
        pending.append(sent)
    results = await asyncio.gather(*pending, return_exceptions=True)
    failure = next((result for result in results if isinstance(result, BaseException)), failure)
    if failure is None:
        return True
    on_failure()
    message = f"a record was not confirmed: {type(failure).__name__}: {failure}"
    structlog.get_logger(__name__).warning("send_failed", message=message)
    await asyncio.sleep(_RETRY_SECONDS)
    return False
