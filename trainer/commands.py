"""Commands to the trainer, sent as records of `trainer-commands`, and its answers on the same topic.

Only the trainer process moves aliases and decides what is learned; the command line asks it here.
"""

import time
import uuid
from collections.abc import Callable
from typing import Any, Literal, Protocol, get_args

import msgspec
import structlog
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from msgspec import Struct

from stream.codec import UndecodableError, decoded
from stream.settings import KafkaSettings
from stream.topics import topic_name

Action = Literal["pause", "resume", "rollback", "resume_promotions"]
ACTIONS: tuple[Action, ...] = get_args(Action)

_SEND_SECONDS = 30.0


class Command(Struct, frozen=True, kw_only=True, tag="command", tag_field="type"):
    """What an operator asks of the trainer.

    Attributes:
        command_id: Names it in the answer.
        action: pause or resume learning; rollback the champion, which stops promotions; resume_promotions.
        created_ms: When it was sent.
        version: For rollback: the version that shall serve; the previous champion when null.
        restart_from: For resume_promotions: the version whose weights the learner goes on from; its own when null.
    """

    command_id: str
    action: Action
    created_ms: int
    version: str | None = None
    restart_from: str | None = None


class CommandResult(Struct, frozen=True, kw_only=True, tag="result", tag_field="type"):
    """The trainer's answer.

    Attributes:
        command_id: Which command.
        done: Whether it was carried out.
        message: What was done, or why it was refused and what to do.
    """

    command_id: str
    done: bool
    message: str


class CommandInbox(Protocol):
    """Where commands come from and answers go."""

    def poll(self) -> list[tuple[int, Command | None]]:
        """Return what came since the last call, without waiting.

        Returns:
            The offset after each record, and its command where it is one.
        """

    def answer(self, result: CommandResult) -> None:
        """Send an answer and wait until it is delivered."""


class NoAnswerError(RuntimeError):
    """The trainer did not answer in time."""


_DECODER: msgspec.json.Decoder[Command | CommandResult] = msgspec.json.Decoder(Command | CommandResult)


def decode_command(raw: bytes | None, where: str) -> Command | CommandResult:
    """Return the command or answer in a record of `trainer-commands`.

    Raises:
        UndecodableError: it holds neither.
    """
    return decoded(raw or b"", _DECODER.decode, "a command or an answer", where)


class KafkaCommandInbox:
    """The topic `trainer-commands`, read from the offset in the checkpoint.

    Args:
        kafka: Cluster and topic prefix.
        offset: Next offset to read.
        on_unusable: Called for every record that holds no command and no answer; it is logged and passed.
    """

    def __init__(self, kafka: KafkaSettings, offset: int, on_unusable: Callable[[], None] = lambda: None) -> None:
        self._on_unusable = on_unusable
        self._topic = topic_name("trainer-commands", kafka)
        self._consumer = _consumer(kafka)
        self._partition = TopicPartition(self._topic, 0)
        self._consumer.assign([self._partition])
        # Retention may have overtaken a trainer that was down for long; the commands it missed are void.
        beginning = self._consumer.beginning_offsets([self._partition])[self._partition]
        self._consumer.seek(self._partition, max(offset, beginning))
        self._producer = _producer(kafka)

    def poll(self) -> list[tuple[int, Command | None]]:
        """Return what came since the last call, without waiting."""
        records = self._consumer.poll(timeout_ms=0).get(self._partition, [])
        return [(record.offset + 1, self._command_in(record)) for record in records]

    def answer(self, result: CommandResult) -> None:
        """Send an answer and wait until it is delivered."""
        self._producer.send(self._topic, value=msgspec.json.encode(result), partition=0).get(timeout=_SEND_SECONDS)

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()
        self._producer.close(timeout=_SEND_SECONDS)

    def _command_in(self, record: Any) -> Command | None:
        try:
            event = _decode(record)
        except UndecodableError as error:
            self._on_unusable()
            structlog.get_logger(__name__).warning("command_unusable", message=str(error))
            return None
        return event if isinstance(event, Command) else None


def send_command(
    kafka: KafkaSettings,
    action: Action,
    *,
    version: str | None = None,
    restart_from: str | None = None,
    timeout_seconds: float = 60.0,
) -> CommandResult:
    """Send a command and return the trainer's answer.

    Raises:
        NoAnswerError: no answer came in time; the command stays in the topic and is obeyed when the trainer runs.
    """
    command = Command(
        command_id=uuid.uuid4().hex,
        action=action,
        created_ms=time.time_ns() // 1_000_000,
        version=version,
        restart_from=restart_from,
    )
    topic = topic_name("trainer-commands", kafka)
    consumer, producer = _consumer(kafka), _producer(kafka)
    try:
        sent = producer.send(topic, value=msgspec.json.encode(command), partition=0).get(timeout=_SEND_SECONDS)
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, sent.offset + 1)
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            for record in consumer.poll(timeout_ms=200).get(partition, []):
                if (answer := _answer_in(record)) is not None and answer.command_id == command.command_id:
                    return answer
    finally:
        consumer.close()
        producer.close(timeout=_SEND_SECONDS)
    message = (
        f"the trainer did not answer '{action}' within {timeout_seconds:g} s; is it running? "
        "The command waits in the topic and is obeyed when it starts"
    )
    raise NoAnswerError(message)


def end_of_commands(kafka: KafkaSettings) -> int:
    """Return the offset after the last command there is: a new line obeys only what is sent from then on."""
    consumer = _consumer(kafka)
    try:
        partition = TopicPartition(topic_name("trainer-commands", kafka), 0)
        return int(consumer.end_offsets([partition])[partition])
    finally:
        consumer.close()


def _answer_in(record: Any) -> CommandResult | None:
    try:
        event = _decode(record)
    except UndecodableError:  # the trainer, which reads every record, says so
        return None
    return event if isinstance(event, CommandResult) else None


def _decode(record: Any) -> Command | CommandResult:
    return decode_command(record.value, f"{record.topic}/{record.partition}/{record.offset}")


def _consumer(kafka: KafkaSettings) -> Any:
    return KafkaConsumer(
        **kafka.client_options(),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        allow_auto_create_topics=False,
        fetch_max_wait_ms=100,
        reconnect_backoff_max_ms=1_000,
    )


def _producer(kafka: KafkaSettings) -> Any:
    return KafkaProducer(**kafka.client_options(), acks="all")
