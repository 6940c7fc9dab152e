"""Commands to the trainer, sent as records of `trainer-commands`, and its answers on the same topic.

Only the trainer process moves aliases and decides what is learned; the command line asks it here. A running trainer
says at once that it has received a command, even while an update runs; it carries it out after the update. Who hears
nothing knows that no trainer runs. A command that none received in time expires: nobody waits for it any more.
"""

import time
import uuid
from collections.abc import Callable
from contextlib import closing
from queue import SimpleQueue
from threading import Event
from typing import Any, Literal, Protocol, get_args

import msgspec
import structlog
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from msgspec import Struct

from stream.cluster.reader import poll
from stream.codec import UndecodableError, decoded
from stream.process.vital_thread import vital_thread
from stream.settings import KafkaSettings
from stream.topics import topic_name

Action = Literal["pause", "resume", "rollback", "resume_promotions"]
ACTIONS: tuple[Action, ...] = get_args(Action)

LIFETIME_SECONDS = 60.0
"""Age at which a command expires. Longer than the sender waits for a trainer, since clocks differ a little."""

_SEND_SECONDS = 30.0
_RECEIPT_SECONDS = 5.0
"""How long the sender waits to hear that a trainer runs: one looks several times a second."""

_POLL_MS = 200


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


class CommandReceipt(Struct, frozen=True, kw_only=True, tag="receipt", tag_field="type"):
    """What a running trainer says before it carries a command out.

    Attributes:
        command_id: Which command.
    """

    command_id: str


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


Message = Command | CommandReceipt | CommandResult


class NoAnswerError(RuntimeError):
    """No trainer received the command, or the one that did has not carried it out in time."""


def refusal(command: Command, now_ms: int) -> CommandResult | None:
    """Return the answer to a command that has expired, None to one that may be obeyed."""
    age_seconds = (now_ms - command.created_ms) / 1000
    if abs(age_seconds) <= LIFETIME_SECONDS:
        return None
    message = (
        f"'{command.action}' was sent {age_seconds:.0f} s ago by the trainer's clock and is void after "
        f"{LIFETIME_SECONDS:.0f} s; nothing was changed: send it again, and if it was sent just now, set the "
        "clocks right"
    )
    return CommandResult(command_id=command.command_id, done=False, message=message)


_DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


def decode_command(raw: bytes | None, where: str) -> Message:
    """Return the command, receipt or answer in a record of `trainer-commands`.

    Raises:
        UndecodableError: it holds none of them.
    """
    return decoded(raw or b"", _DECODER.decode, "a command or an answer", where)


class KafkaCommandInbox:
    """The topic `trainer-commands`, read from the offset in the checkpoint by a thread of its own.

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
        # Where retention has overtaken a trainer that was down for long, the commands it missed are void.
        self._consumer.seek(self._partition, offset)
        self._producer = _producer(kafka)
        self._received: SimpleQueue[tuple[int, Command | None]] = SimpleQueue()
        self._closing = Event()
        self._thread = vital_thread(self._receive, "trainer-commands")
        self._thread.start()

    def poll(self) -> list[tuple[int, Command | None]]:
        """Return what came since the last call, without waiting."""
        # Nobody else takes anything out.
        return [self._received.get_nowait() for _ in range(self._received.qsize())]

    def answer(self, result: CommandResult) -> None:
        """Send an answer and wait until it is delivered."""
        self._send(result).get(timeout=_SEND_SECONDS)

    def close(self) -> None:
        """Close the connections."""
        self._closing.set()
        self._thread.join()
        self._consumer.close()
        self._producer.close(timeout=_SEND_SECONDS)

    def _receive(self) -> None:
        while not self._closing.is_set():
            for record in poll(self._consumer, timeout_ms=_POLL_MS).get(self._partition, []):
                command = self._command_in(record)
                self._received.put((record.offset + 1, command if command and self._accepts(command) else None))

    def _accepts(self, command: Command) -> bool:
        """Say that the command was received, or that it has expired, and return whether it is to be obeyed."""
        expired = refusal(command, _now_ms())
        # Not waited for: commands must be received while the broker is slow, too.
        self._send(expired or CommandReceipt(command_id=command.command_id))
        if expired:
            structlog.get_logger(__name__).warning(
                "command_expired", action=command.action, version=command.version, message=expired.message
            )
        return expired is None

    def _send(self, message: CommandReceipt | CommandResult) -> Any:
        return self._producer.send(self._topic, value=msgspec.json.encode(message), partition=0)

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
        NoAnswerError: no trainer runs, which shows in seconds, or its update takes longer than the time-out.
    """
    command = Command(
        command_id=uuid.uuid4().hex,
        action=action,
        created_ms=_now_ms(),
        version=version,
        restart_from=restart_from,
    )
    topic = topic_name("trainer-commands", kafka)
    partition = TopicPartition(topic, 0)
    with closing(_consumer(kafka)) as consumer, closing(_producer(kafka)) as producer:
        sent = producer.send(topic, value=msgspec.json.encode(command), partition=0).get(timeout=_SEND_SECONDS)
        consumer.assign([partition])
        consumer.seek(partition, sent.offset + 1)
        receipt_seconds = min(_RECEIPT_SECONDS, timeout_seconds)
        started, is_received = time.monotonic(), False
        while time.monotonic() - started < (timeout_seconds if is_received else receipt_seconds):
            for record in poll(consumer, timeout_ms=_POLL_MS).get(partition, []):
                message = _message_in(record)
                if message is None or message.command_id != command.command_id:
                    continue
                if isinstance(message, CommandResult):
                    return message
                is_received = True
    if is_received:
        problem = f"the trainer has received '{action}' and is busy; it carries it out after the update that runs"
    else:
        problem = (
            f"no trainer received '{action}' within {receipt_seconds:g} s; is it running? Nothing was changed: start "
            "it with 'millstream trainer run' and send the command again; this one is void "
            f"{LIFETIME_SECONDS:.0f} s after it was sent"
        )
    raise NoAnswerError(problem)


def end_of_commands(kafka: KafkaSettings) -> int:
    """Return the offset after the last command there is: a new line obeys only what is sent from then on."""
    partition = TopicPartition(topic_name("trainer-commands", kafka), 0)
    with closing(_consumer(kafka)) as consumer:
        return int(consumer.end_offsets([partition])[partition])


def _message_in(record: Any) -> Message | None:
    try:
        return _decode(record)
    except UndecodableError:  # the trainer, which reads every record, says so
        return None


def _decode(record: Any) -> Message:
    return decode_command(record.value, f"{record.topic}/{record.partition}/{record.offset}")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _consumer(kafka: KafkaSettings) -> Any:
    return KafkaConsumer(**kafka.reader_options())


def _producer(kafka: KafkaSettings) -> Any:
    return KafkaProducer(**kafka.client_options(), acks="all")
