"""A snapshot on disk: named arrays and the offsets they stand for, replaced as one."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from stream.codec import decoded
from stream.disk.durable_files import storing, write_durably

_HEADER = "header.json"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State and the offsets it stands for.

    Attributes:
        topic: Full name of the topic.
        offsets: Next offset to read, by partition.
        arrays: The state.
    """

    topic: str
    offsets: dict[int, int]
    arrays: Mapping[str, npt.NDArray[Any]]


class _Header(msgspec.Struct):
    topic: str
    offsets: dict[int, int]


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write the snapshot, as a whole or not at all: a crash at any moment leaves the old one or the new one.

    Raises:
        StorageError: it cannot be written.
    """
    with storing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    header = json.dumps({"topic": snapshot.topic, "offsets": snapshot.offsets}).encode()
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **snapshot.arrays, **{_HEADER: np.frombuffer(header, dtype=np.uint8)})
    write_durably(path, content.getvalue())


def read_snapshot(path: Path) -> Snapshot | None:
    """Return the snapshot, or None if there is none.

    Raises:
        OSError: it cannot be read.
        UndecodableError: it is damaged.
    """
    try:
        return decoded(path.read_bytes(), _snapshot, "a snapshot", path)
    except FileNotFoundError:
        return None


def _snapshot(raw: bytes) -> Snapshot:
    with np.load(io.BytesIO(raw), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    header = msgspec.json.decode(arrays.pop(_HEADER).tobytes(), type=_Header)
    return Snapshot(topic=header.topic, offsets=header.offsets, arrays=arrays)
