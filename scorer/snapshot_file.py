"""A snapshot on disk: named arrays and the offsets they stand for, replaced as one."""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stream.durable_files import storing, write_durably

_HEADER = "header.json"


class SnapshotError(ValueError):
    """A snapshot that cannot be used; the message says what to do."""


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
        SnapshotError: it cannot be read.
    """
    try:
        # numpy leaves a file open that it opened itself and cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        header = json.loads(arrays.pop(_HEADER).tobytes())
        offsets = {int(partition): int(offset) for partition, offset in header["offsets"].items()}
        return Snapshot(topic=header["topic"], offsets=offsets, arrays=arrays)
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        message = f"snapshot {path} cannot be read ({error}); delete it to judge all retained rows again"
        raise SnapshotError(message) from error
