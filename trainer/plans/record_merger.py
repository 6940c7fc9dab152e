"""Many partitions, one order: the records of `weighted-examples` in the order plans take them."""

from collections import deque
from collections.abc import Mapping

from trainer.plans.example_record import ExampleRecord, merge_key


class RecordMerger:
    """Gives out records by record time across partitions, in offset order inside each.

    A record leaves only while every partition either shows its head or is known to have nothing more, so over one
    recorded log the order is the same whatever order the broker answers in.
    """

    def __init__(self, partitions: Mapping[int, int]) -> None:
        """Start at the given next offset of each partition."""
        self._heads: dict[int, deque[ExampleRecord]] = {partition: deque() for partition in partitions}
        self._read_to = dict(partitions)

    def add(self, record: ExampleRecord) -> None:
        """Take in a record as it arrives; a partition's records arrive in offset order."""
        if record.offset < self._read_to[record.partition]:
            message = (
                f"partition {record.partition}: offset {record.offset} arrived after {self._read_to[record.partition]}"
            )
            raise ValueError(message)
        self._heads[record.partition].append(record)
        self._read_to[record.partition] = record.offset + 1

    def read_past(self, partition: int, offset: int) -> None:
        """Note that nothing before `offset` is still to come, though no record stood there (a transaction marker)."""
        self._read_to[partition] = max(self._read_to[partition], offset)

    def pop(self, ends: Mapping[int, int]) -> ExampleRecord | None:
        """Return the next record, or None while a partition might still show an older one.

        Args:
            ends: End offset of each partition, as the broker last said.
        """
        if any(not heads and self._read_to[key] < ends[key] for key, heads in self._heads.items()):
            return None
        candidates = [heads[0] for heads in self._heads.values() if heads]
        if not candidates:
            return None
        return self._heads[min(candidates, key=merge_key).partition].popleft()

    def at_end(self, ends: Mapping[int, int]) -> bool:
        """Return whether every record up to the end offsets has been read and given out."""
        return not self.num_records and all(self._read_to[key] >= ends[key] for key in self._heads)

    def has_empty_partition(self) -> bool:
        """Return whether the end offsets matter now: some partition shows no head."""
        return not all(self._heads.values())

    @property
    def num_records(self) -> int:
        """How many records wait here."""
        return sum(len(heads) for heads in self._heads.values())

    def num_rows(self, partition: int) -> int:
        """Return how many rows of a partition wait here: the reader stops fetching a partition that has plenty."""
        return sum(len(record.rows) for record in self._heads[partition])
