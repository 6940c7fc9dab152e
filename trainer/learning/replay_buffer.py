"""The replay buffer: rows learned before, mixed into later updates so that a drifting stream does not erase them."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream.codec import UndecodableError, decoded
from stream.events import WeightedExample
from stream.example_batch import decode_examples, encode_examples
from trainer.settings import TrainerSettings

MAX_USES = 2
"""How often a row may be replayed: more would learn single users by heart."""

_LENGTH = struct.Struct("<I")


@dataclass
class _Kept:
    example: WeightedExample
    num_uses: int = 0


class ReplayBuffer:
    """Keeps learned rows and gives some of them back, each at most `MAX_USES` times.

    reservoir keeps an even sample of every row offered so far; recency keeps the newest. A row that has been used up
    keeps its place and is not drawn any more: without it the places would all go to the newest rows. With a share of 0
    nothing is kept.

    Args:
        settings: Share, kind and capacity.
    """

    def __init__(self, settings: TrainerSettings) -> None:
        self._settings = settings
        self._kept: list[_Kept] = []
        self._num_offered = 0

    def __len__(self) -> int:
        return len(self._kept)

    def draw(self, num_new: int, random: np.random.Generator) -> list[WeightedExample]:
        """Return the rows to replay beside `num_new` new ones: at most the configured share of the whole update."""
        share = self._settings.replay_share
        usable = [kept for kept in self._kept if kept.num_uses < MAX_USES]
        count = min(len(usable), int(num_new * share / (1 - share)))
        if count == 0:
            return []
        drawn = [usable[index] for index in random.choice(len(usable), size=count, replace=False)]
        for kept in drawn:
            kept.num_uses += 1
        return [kept.example for kept in drawn]

    def offer(self, examples: Sequence[WeightedExample], random: np.random.Generator) -> None:
        """Take in rows that were just learned for the first time."""
        if self._settings.replay_share == 0:
            return
        for example in examples:
            self._num_offered += 1
            self._keep(_Kept(example), random)

    def _keep(self, kept: _Kept, random: np.random.Generator) -> None:
        capacity = self._settings.replay_capacity
        if self._settings.replay_kind == "recency":
            self._kept.append(kept)
            del self._kept[:-capacity]
        elif self._num_offered <= capacity:
            self._kept.append(kept)
        elif (place := int(random.integers(self._num_offered))) < capacity:
            # A buffer of an older release, or of a smaller capacity, has places that are empty.
            self._kept[place : place + 1] = [kept]

    def snapshot(self) -> tuple[dict[str, Any], bytes]:
        """Return bookkeeping and rows, in the form that `restore` takes."""
        batches = encode_examples([kept.example for kept in self._kept])
        rows = b"".join(_LENGTH.pack(len(batch)) + batch for batch in batches)
        return {"num_offered": self._num_offered, "num_uses": [kept.num_uses for kept in self._kept]}, rows

    def restore(self, state: dict[str, Any], rows: bytes) -> None:
        """Take over what `snapshot` gave.

        Raises:
            UndecodableError: the rows are not.
        """
        examples = decoded(rows, _examples, "the rows of a replay buffer")
        uses = state.get("num_uses", [])
        if len(uses) != len(examples):
            message = f"the replay buffer has {len(examples)} rows, its state counts the uses of {len(uses)}"
            raise UndecodableError(message)
        self._kept = [_Kept(example, num_uses) for example, num_uses in zip(examples, uses, strict=True)]
        self._num_offered = state.get("num_offered", 0)


def _examples(rows: bytes) -> list[WeightedExample]:
    examples: list[WeightedExample] = []
    while rows:
        (length,) = _LENGTH.unpack_from(rows)
        examples += decode_examples(rows[_LENGTH.size : _LENGTH.size + length])
        rows = rows[_LENGTH.size + length :]
    return examples
