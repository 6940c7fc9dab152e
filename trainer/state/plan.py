"""A plan: the fixed input of one update, written down before the update runs."""

import re
from pathlib import Path

import msgspec

from stream.codec import UndecodableError, from_json
from stream.disk.durable_files import storing, write_durably

_NAME = re.compile(r"plan-(\d{8})\.(json|refused)")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The input of update `number`: every record in an offset range per partition, and the seed of their order.

    Attributes:
        number: Which update this is, from 1.
        first: First offset by partition.
        next: Offset after the last one by partition; equal to `first` where the plan takes nothing.
        num_rows: Rows in the records, repeats included.
        newest_ms: Record time of the newest record.
        seed: Seeds everything random in the update, so a repeated update is the same update.
    """

    number: int
    first: dict[int, int]
    next: dict[int, int]
    num_rows: int
    newest_ms: int
    seed: int


class PlanStore:
    """The plans on disk, one small JSON file each, fsynced before their update runs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with storing(directory):
            directory.mkdir(parents=True, exist_ok=True)

    def write(self, plan: Plan) -> None:
        """Write the plan so that it survives a crash of process and machine."""
        write_durably(self._path(plan.number), msgspec.json.encode(plan))

    def read(self, number: int) -> Plan | None:
        """Return the plan of an update, or None when none was cut.

        Raises:
            ValueError: when the file is not a plan.
        """
        path = self._path(number)
        try:
            return from_json(path.read_bytes(), Plan, "a plan", path)
        except FileNotFoundError:
            return None
        except UndecodableError as error:
            message = f"{error}; it was written whole, so suspect the disk, and start a new line"
            raise ValueError(message) from error

    def refuse(self, number: int) -> None:
        """Note durably that a plan cannot be learned, so that its repetition settles it without learning."""
        write_durably(self._path(number, "refused"), b"")

    def is_refused(self, number: int) -> bool:
        """Return whether a plan was found to be one that cannot be learned."""
        return self._path(number, "refused").exists()

    def drop(self, number: int) -> bool:
        """Delete the plan of an update, unless a later one goes on where it ends; return whether it is gone."""
        if any(int(path.stem.removeprefix("plan-")) > number for path in self._plans()):
            return False
        for suffix in ("refused", "json"):
            self._path(number, suffix).unlink(missing_ok=True)
        return True

    def prune(self, before: int) -> None:
        """Delete the plans of updates before `before`: no checkpoint that is kept can repeat them."""
        for path in self._plans():
            if int(path.stem.removeprefix("plan-")) < before:
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete every plan: the line begins anew."""
        for path in self._plans():
            path.unlink()

    def _plans(self) -> list[Path]:
        # Whatever else lies here is somebody's own.
        return [path for path in self._directory.iterdir() if _NAME.fullmatch(path.name) and path.is_file()]

    def _path(self, number: int, suffix: str = "json") -> Path:
        return self._directory / f"plan-{number:08d}.{suffix}"
