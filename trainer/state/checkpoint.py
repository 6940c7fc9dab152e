"""The checkpoint: all private state of the trainer as one unit, written whole or not at all.

<trainer directory>/line                                     the current model line
                    <line>/checkpoints/checkpoint-<sequence> manifest.json, state.json, tensors.safetensors, replay.bin
                    <line>/plans/plan-<update>.json          fixed inputs, written before their updates
                    <line>/ledger/update*-<update>.parquet   what became of every row
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import structlog
from safetensors.torch import load, save
from torch import Tensor

from stream.codec import UndecodableError, decoded, from_json, text_of
from stream.disk.durable_files import (
    StorageError,
    remove_directory,
    sha256,
    storing,
    write_directory_durably,
    write_durably,
)
from trainer.state.failpoints import Failpoints
from trainer.state.ledger_segments import SegmentReference
from trainer.state.line_state import LineState

FORMAT = 1
"""Version of the layout. A newer one is refused, never guessed at."""

_MANIFEST, _STATE, _TENSORS, _REPLAY = "manifest.json", "state.json", "tensors.safetensors", "replay.bin"
_CONTENT = (_STATE, _TENSORS, _REPLAY)
_NAME = re.compile(r"checkpoint-(\d{10})")


class CheckpointError(ValueError):
    """No checkpoint that can be used; the message says what to do."""


class CheckpointManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a checkpoint complete: the sha256 of every other file in it."""

    format: int
    files: dict[str, str]


@dataclass(frozen=True)
class Checkpoint:
    """The state of a trainer between two updates.

    Attributes:
        state: Everything that is no tensor.
        tensors: Weights, optimizer state, first copies, evidence; named by their owners.
        replay: Rows of the replay buffer.
        name: Its directory; empty before it is written.
        damaged: Newer checkpoints that could not be used, one line each.
    """

    state: LineState
    tensors: Mapping[str, Tensor]
    replay: bytes = b""
    name: str = ""
    damaged: tuple[str, ...] = ()


class CheckpointStore:
    """The checkpoints of one model line, newest last.

    Args:
        directory: Where they are; made when missing.
        keep: How many complete ones stay.
        failpoints: Where tests crash.
    """

    def __init__(self, directory: Path, *, keep: int = 3, failpoints: Failpoints | None = None) -> None:
        self._directory = directory
        self._keep = keep
        self._failpoints = failpoints or Failpoints()
        with storing(directory):
            directory.mkdir(parents=True, exist_ok=True)

    def write(self, checkpoint: Checkpoint) -> tuple[str, int]:
        """Write a checkpoint as one unit and return its name and size in bytes; then drop the oldest.

        The one that holds the champion's weights stays: it is what repeated holds go back to.
        """
        names = self.names()
        sequence = int(names[-1].removeprefix("checkpoint-")) + 1 if names else 0
        name = f"checkpoint-{sequence:010d}"
        files = {
            _STATE: msgspec.json.encode(checkpoint.state),
            _TENSORS: save({key: tensor.detach().cpu().contiguous() for key, tensor in checkpoint.tensors.items()}),
            _REPLAY: checkpoint.replay,
        }
        manifest = CheckpointManifest(format=FORMAT, files={key: sha256(content) for key, content in files.items()})
        files[_MANIFEST] = msgspec.json.encode(manifest)
        write_directory_durably(
            self._directory / name,
            files,
            before_rename=lambda: self._failpoints.pass_through("checkpoint_before_rename"),
        )
        self._drop_oldest(checkpoint.state.champion_checkpoint)
        return name, sum(len(content) for content in files.values())

    def load_latest(self) -> Checkpoint:
        """Return the newest complete checkpoint, passing damaged ones and naming them.

        Raises:
            CheckpointError: there is none.
        """
        damaged: list[str] = []
        for name in reversed(self.names()):
            try:
                loaded = self.load(name)
            except CheckpointError as error:
                damaged.append(str(error))
                structlog.get_logger(__name__).error("checkpoint_damaged", checkpoint=name, message=str(error))
                continue
            return replace(loaded, damaged=tuple(damaged))
        found = f"all {len(damaged)} are damaged ({damaged[0]})" if damaged else "there is none"
        message = f"no usable checkpoint in {self._directory}: {found}; start a new line with `millstream models init`"
        raise CheckpointError(message)

    def load(self, name: str) -> Checkpoint:
        """Return one checkpoint, every file compared with its digest.

        Raises:
            CheckpointError: it is missing, damaged, or written by a newer release.
            StorageError: this user may not read it; going back to an older one would be no remedy.
        """
        directory = self._directory / name
        path = directory / _MANIFEST
        try:
            manifest = from_json(path.read_bytes(), CheckpointManifest, "the manifest of a checkpoint", path)
            if manifest.format > FORMAT:
                message = f"{name} has format {manifest.format}, this release reads up to {FORMAT}; upgrade Millstream"
                raise CheckpointError(message)
            files = {key: (directory / key).read_bytes() for key in _CONTENT}
            for key, content in files.items():
                if sha256(content) != manifest.files.get(key):
                    message = f"{name}: {key} is not what was written (sha256 differs)"
                    raise CheckpointError(message)
            state = from_json(files[_STATE], LineState, "the state of a line", directory / _STATE)
            tensors = decoded(files[_TENSORS], load, "a file of tensors", directory / _TENSORS)
        except PermissionError as error:
            message = f"{error.filename}: permission denied; give this user the right to read the trainer's state"
            raise StorageError(message) from error
        except (OSError, UndecodableError) as error:
            message = f"{name} cannot be read: {error}"
            raise CheckpointError(message) from error
        return Checkpoint(state, tensors, files[_REPLAY], name)

    def names(self) -> list[str]:
        """Return the checkpoints that are in place, oldest first."""
        return sorted(path.name for path in self._directory.iterdir() if _NAME.fullmatch(path.name) and path.is_dir())

    def ledgers(self) -> list[SegmentReference | None]:
        """Return the last ledger segment by every checkpoint that is in place; damaged ones lead to none."""
        found: list[SegmentReference | None] = []
        for name in self.names():
            with suppress(OSError, UndecodableError):
                state = from_json((self._directory / name / _STATE).read_bytes(), LineState, "the state of a line")
                found.append(state.ledger)
        return found

    def _drop_oldest(self, champion: str | None) -> None:
        for name in self.names()[: -self._keep]:
            if name != champion:
                remove_directory(self._directory / name)


def line_directory(trainer_dir: Path, line: str) -> Path:
    """Return where the private state of a model line is."""
    return trainer_dir / line


def checkpoint_store(
    trainer_dir: Path, line: str, *, keep: int = 3, failpoints: Failpoints | None = None
) -> CheckpointStore:
    """Return the checkpoints of a model line."""
    return CheckpointStore(line_directory(trainer_dir, line) / "checkpoints", keep=keep, failpoints=failpoints)


def current_line(trainer_dir: Path) -> str:
    """Return the model line that the trainer keeps learning.

    Raises:
        CheckpointError: there is none yet, or its name cannot be read.
    """
    path = trainer_dir / "line"
    try:
        line = text_of(path, "the name of a model line")
    except FileNotFoundError as error:
        message = (
            f"no model line in {trainer_dir}; make one with `millstream models init`, which "
            "`millstream models warm-start` may then teach a log"
        )
        raise CheckpointError(message) from error
    except UndecodableError as error:
        raise CheckpointError(f"{error}; write the name of the newest line directory beside it into it") from error
    if not line or line.startswith(".") or Path(line).name != line:
        message = f"{path} is {line!r}, no name of a model line; write that of the newest line directory beside it"
        raise CheckpointError(message)
    return line


def set_current_line(trainer_dir: Path, line: str) -> None:
    """Make a line the one that the trainer keeps learning; older lines stay on disk with their ledgers."""
    write_durably(trainer_dir / "line", line.encode())


def load_latest(trainer_dir: Path) -> Checkpoint:
    """Return the newest complete checkpoint of the current line.

    Raises:
        CheckpointError: there is none.
    """
    return checkpoint_store(trainer_dir, current_line(trainer_dir)).load_latest()
