"""What retention deleted before it was read, as the dead letters tell that stand for whole ranges."""

from collections import defaultdict
from collections.abc import Mapping

from stream.cluster.gone_records import LAST_OFFSET_HEADER

Reader = tuple[str, str, int]
"""Process, full name of the topic, partition."""


class GoneAccount:
    """Takes letters in any order; a range that is told twice, after a restart, counts once."""

    def __init__(self) -> None:
        self._ranges: dict[Reader, list[tuple[int, int]]] = defaultdict(list)

    def take(self, headers: Mapping[str, str]) -> None:
        """Take the headers of a letter."""
        names = ("stage", "topic", "partition", "offset")
        stage, topic, partition, first = (headers[f"millstream.{name}"] for name in names)
        self._ranges[stage, topic, int(partition)].append((int(first), int(headers[LAST_OFFSET_HEADER])))

    def num_records(self) -> int:
        """Return how many records are gone."""
        return sum(last - first + 1 for ranges in self._merged().values() for first, last in ranges)

    def problems(self) -> list[str]:
        """Return one line for every range."""
        return [
            f"{last - first + 1} records of {topic}/{partition}, offsets {first} to {last}, were deleted by retention "
            f"before the {stage} read them: lost"
            for (stage, topic, partition), ranges in sorted(self._merged().items())
            for first, last in ranges
        ]

    def _merged(self) -> dict[Reader, list[tuple[int, int]]]:
        merged: dict[Reader, list[tuple[int, int]]] = {}
        for reader, ranges in self._ranges.items():
            found: list[tuple[int, int]] = []
            for first, last in sorted(ranges):
                if found and first <= found[-1][1] + 1:
                    found[-1] = (found[-1][0], max(last, found[-1][1]))
                else:
                    found.append((first, last))
            merged[reader] = found
        return merged
