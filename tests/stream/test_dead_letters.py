from hashlib import sha256

from stream.dead_letters import (
    DEAD_LETTER_REASONS,
    LOST_CLICK_REASONS,
    MAX_ORIGINAL_BYTES,
    dead_letter,
    dead_letter_headers,
)
from stream.events import EventError


def headers(error: Exception | str = "why") -> dict[str, bytes]:
    return dead_letter_headers(topic="events", partition=2, offset=7, process="join", reason="malformed", error=error)


def test_headers_say_where_from_and_why():
    assert headers(EventError("malformed", "not JSON")) == {
        "millstream.topic": b"events",
        "millstream.partition": b"2",
        "millstream.offset": b"7",
        "millstream.stage": b"join",
        "millstream.reason": b"malformed",
        "millstream.exception": b"EventError",
        "millstream.message": b"not JSON",
    }


def test_a_long_message_is_cut():
    assert len(headers("x" * 5000)["millstream.message"]) == 1000


def test_the_original_bytes_are_kept():
    letter = dead_letter(b"key", b"\xff\x00", headers())
    assert (letter.key, letter.value) == (b"key", b"\xff\x00")


def test_an_original_too_large_is_cut_and_fingerprinted():
    raw = b"x" * (MAX_ORIGINAL_BYTES + 1)
    letter = dead_letter(None, raw, headers())
    assert letter.value == raw[:-1]
    assert letter.headers["millstream.truncated"] == str(len(raw)).encode()
    assert letter.headers["millstream.sha256"] == sha256(raw).hexdigest().encode()


def test_an_original_of_nothing_becomes_a_letter_that_every_client_sends():
    assert dead_letter(None, None, headers()).value == b""
    assert dead_letter(b"key", None, headers()).value is None


def test_lost_clicks_are_a_part_of_the_reasons():
    assert set(LOST_CLICK_REASONS) < set(DEAD_LETTER_REASONS)
