"""A model line that retention has overtaken goes on at what is left of `weighted-examples`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from stream.cluster.gone_records import GoneRange, gone_letter, gone_range, tell_gone
from stream.record import Record
from trainer.state.checkpoint import current_line
from trainer.state.line_stores import LineStores


def skip_lost(
    trainer_dir: Path,
    topic: str,
    beginnings: Mapping[int, int],
    ends: Mapping[int, int],
    write: Callable[[Sequence[Record]], None],
    *,
    keep: int,
) -> list[GoneRange]:
    """Move the current line past the examples that are gone, and return them; nothing when it can go on as it is.

    The line's next checkpoint begins at what is left and names the ranges for ever; dead letters tell the audit. The
    plan that a crash left is dropped: it cannot be repeated. A crash on the way leaves the line as it was, or moved.

    Args:
        trainer_dir: The trainer's state; no trainer may run on it.
        topic: Full name of `weighted-examples`.
        beginnings: Where each partition begins now.
        ends: Where each ends now.
        write: Sends dead letters, one for each range, and returns when they are confirmed.
        keep: Complete checkpoints kept.

    Raises:
        ValueError: there is no usable checkpoint, or the topic was made anew.
    """
    stores = LineStores(trainer_dir, current_line(trainer_dir), keep=keep)
    checkpoint = stores.checkpoints.load_latest()
    offsets = checkpoint.state.offsets
    if ahead := [partition for partition, offset in offsets.items() if offset > ends.get(partition, 0)]:
        message = (
            f"{topic} ends before the offset the trainer stands at in partition {ahead[0]}: the topic was made anew, "
            "nothing is left to go on at; start a new line with `millstream models init`"
        )
        raise ValueError(message)
    ranges = [
        gone_range(topic, partition, expected=offset, beginning=beginnings[partition])
        for partition, offset in sorted(offsets.items())
    ]
    gone = [found for found in ranges if found is not None]
    if gone:
        write([gone_letter(found, "trainer") for found in gone])
        stores.plans.clear()
        stores.checkpoints.write(replace(checkpoint, state=checkpoint.state.skipped(gone)))
    for found in gone:
        tell_gone(found)
    return gone
