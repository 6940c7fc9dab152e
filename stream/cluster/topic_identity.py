"""Sees that a topic was deleted and made anew under a running worker: its offsets begin again at 0."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import NoReturn
from uuid import UUID

import structlog

from stream.cluster.admin import ClusterError, administered
from stream.settings import KafkaSettings

_LOOK_SECONDS = 5.0


class TopicIdentities:
    """Remembers which topics bear the names.

    Args:
        kafka: The cluster.
        topics: Full names.
    """

    def __init__(self, kafka: KafkaSettings, topics: Collection[str]) -> None:
        self._kafka = kafka
        self._topics = list(topics)
        self._ids: dict[str, UUID] = {}

    def look(self) -> list[str]:
        """Return the names that other topics bear than at the last look; a name that none bears is looked for again.

        Raises:
            ClusterError: the cluster cannot be reached or does not answer.
        """
        with administered(self._kafka, "describe its topics") as admin:
            found = {
                topic["name"]: topic["topic_id"]
                for topic in admin.describe_topics(self._topics)
                if not topic["error_code"]
            }
        remade = [name for name, topic_id in found.items() if self._ids.get(name, topic_id) != topic_id]
        self._ids |= found
        return remade

    async def follow(self, begin_again: Callable[[list[str]], Awaitable[None]]) -> NoReturn:
        """Look for ever, and tell whoever reads the topics which to read from their beginning."""
        while True:
            try:
                remade = await asyncio.to_thread(self.look)
            except ClusterError:
                remade = []  # the broker is away, as the clients say loudly enough
            if remade:
                structlog.get_logger(__name__).error(
                    "topics_remade",
                    topics=remade,
                    message="deleted and made anew while they were read; what was not settled of the old ones is gone, "
                    "the new ones are read from the beginning",
                )
                await begin_again(remade)
            await asyncio.sleep(_LOOK_SECONDS)
