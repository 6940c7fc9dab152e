"""Micro-batches bounded by tokens, rows of similar length together."""

from collections.abc import Iterator, Sequence


def plan_micro_batches(lengths: Sequence[int], max_batch_tokens: int) -> Iterator[list[int]]:
    """Yield the indices of the rows of each micro-batch: every row once, neighbours in length together.

    A micro-batch costs its rows times its longest row, because short rows are padded; that product stays within the
    bound, unless a single row is longer. Rows of equal length keep their order, so the plan is a function of the input.

    Args:
        lengths: Tokens of each row.
        max_batch_tokens: Tokens of one micro-batch, padding included.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    batch: list[int] = []
    for index in order:
        if batch and (len(batch) + 1) * lengths[index] > max_batch_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
