"""Why a cluster cannot be used, in words that name the setting to look at; and whether anything listens at all."""

import logging
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from kafka.errors import (
    AuthorizationError,
    IllegalSaslStateError,
    KafkaTimeoutError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
)

from stream.settings import KafkaSettings

_REFUSALS = (SaslAuthenticationFailedError, UnsupportedSaslMechanismError, IllegalSaslStateError, AuthorizationError)

CONNECT_SECONDS = 2.0
"""How long an address may take to accept a connection before it counts as silent."""


def failure_line(  # noqa: PLR0911 (one return is one cause)
    kafka: KafkaSettings, error: BaseException, causes: Sequence[BaseException] = ()
) -> str:
    """Return what is wrong with the connection and what to do, in one line and without secrets.

    Args:
        kafka: How the connection was tried.
        error: What the client raised in the end, often a mere time-out.
        causes: What `connection_failures` collected meanwhile.
    """
    cause = _telling(error, causes)
    where = f"Kafka at {kafka.bootstrap}"
    if isinstance(cause, SaslAuthenticationFailedError):
        return (
            f"{where} refused the credentials of SASL user {kafka.sasl_username!r} ({kafka.sasl_mechanism}); check "
            "MILLSTREAM_KAFKA_SASL_USERNAME, MILLSTREAM_KAFKA_SASL_PASSWORD and MILLSTREAM_KAFKA_SASL_MECHANISM"
        )
    if isinstance(cause, UnsupportedSaslMechanismError | IllegalSaslStateError):
        return f"{where} does not take SASL {kafka.sasl_mechanism} ({cause}); set MILLSTREAM_KAFKA_SASL_MECHANISM"
    if isinstance(cause, AuthorizationError):
        return f"{where} does not allow this user to do it ({type(cause).__name__}); ask for the rights"
    if "Handshake failed" in str(cause):
        return (
            f"TLS to {where} failed ({str(cause).rpartition('Handshake failed: ')[2]}); check "
            "MILLSTREAM_KAFKA_SECURITY_PROTOCOL and MILLSTREAM_KAFKA_SSL_CAFILE, _SSL_CERTFILE and _SSL_KEYFILE"
        )
    # Brokers may just hang up; and kafka-python drops an answer that it reads together with the end of the connection.
    if cause is not error and kafka.security_protocol.startswith("SASL_"):
        return (
            f"{where} refused the credentials of SASL user {kafka.sasl_username!r}, or does not talk "
            f"{kafka.security_protocol} or {kafka.sasl_mechanism} ({cause}); check MILLSTREAM_KAFKA_SASL_USERNAME, "
            "MILLSTREAM_KAFKA_SASL_PASSWORD, MILLSTREAM_KAFKA_SASL_MECHANISM and MILLSTREAM_KAFKA_SECURITY_PROTOCOL"
        )
    if causes:
        return (
            f"something listens at {kafka.bootstrap} but does not talk Kafka over {kafka.security_protocol} "
            f"({cause}); check MILLSTREAM_KAFKA_SECURITY_PROTOCOL and that the port is a broker's"
        )
    return (
        f"no Kafka answers at {kafka.bootstrap} ({type(error).__name__}); "
        "start one with 'millstream kafka up' or set MILLSTREAM_KAFKA_BOOTSTRAP to yours"
    )


def _telling(error: BaseException, causes: Sequence[BaseException]) -> BaseException:
    """Return the error that says most: a refusal; else the last that is no mere time-out, which all end in."""
    told: list[BaseException] = [cause for cause in (error, *causes) if isinstance(cause, _REFUSALS)]
    told += [cause for cause in reversed(causes) if not isinstance(cause, KafkaTimeoutError)]
    return told[0] if told else error


@contextmanager
def connection_failures() -> Iterator[list[BaseException]]:
    """Collect the errors that kafka-python meets while it connects: it only logs them, one line a try, and goes on."""
    failures: list[BaseException] = []
    logger = logging.getLogger("kafka.net")
    level, propagate = logger.level, logger.propagate
    handler = _Collector(failures)
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield failures
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


class _Collector(logging.Handler):
    def __init__(self, failures: list[BaseException]) -> None:
        super().__init__()
        self._failures = failures

    def emit(self, record: logging.LogRecord) -> None:
        arguments = record.args if isinstance(record.args, tuple) else ()
        self._failures += [argument for argument in arguments if isinstance(argument, BaseException)]


def silent_addresses(addresses: Sequence[tuple[str, int]]) -> dict[tuple[str, int], OSError]:
    """Return the addresses where nothing accepts a connection, and why; all are tried at one time."""
    with ThreadPoolExecutor(max_workers=len(addresses) or 1) as pool:
        failures = pool.map(_connect_failure, addresses)
        return {address: failure for address, failure in zip(addresses, failures, strict=True) if failure is not None}


def _connect_failure(address: tuple[str, int]) -> OSError | None:
    try:
        socket.create_connection(address, timeout=CONNECT_SECONDS).close()
    except OSError as error:
        return error
    except UnicodeError as error:  # a host name that no resolver takes
        return OSError(str(error))
    return None
