"""Choice of arithmetic by measurement.

bf16 is several times faster than fp32 on some processors and 60 times slower on others.
"""

import time
from collections.abc import Callable

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from scorer.engine.engine import arithmetic
from scorer.model.batch import Batch
from scorer.model.ctr_bert import CtrBert
from scorer.model.settings import Precision

MIN_SPEEDUP = 1.2
"""bf16 must be this much faster: below it, the rounding is not worth it."""

NUM_ROWS, NUM_TOKENS = 32, 24
NUM_ROUNDS = 5

FORWARDS_PER_STEP = 4
"""Every row is scored and judged, and about half are learned: four forward passes for a forward and backward one."""


def measure_precision(model: CtrBert, clock: Callable[[], float] = time.perf_counter) -> Precision:
    """Return the faster arithmetic for the mix of passes a model line makes, where the model is; fp32 on a near tie.

    Takes about a second. Gradients are left cleared and weights untouched. Done once in the life of a model line: the
    choice is part of every version, so a restart or a replay computes the same.

    Args:
        model: The model, on its device.
        clock: Seconds, for tests.
    """
    batch = _batch(model)
    # Rounds alternate and the best of each counts, so that a busy neighbour slows both alike.
    rounds = [(_seconds(model, batch, "fp32", clock), _seconds(model, batch, "bf16", clock)) for _ in range(NUM_ROUNDS)]
    fp32, bf16 = (min(seconds) for seconds in zip(*rounds, strict=True))
    return "bf16" if bf16 * MIN_SPEEDUP < fp32 else "fp32"


def _seconds(model: CtrBert, batch: Batch, precision: Precision, clock: Callable[[], float]) -> float:
    started = clock()
    with torch.inference_mode(), arithmetic(batch.ids_BT.device, precision):
        for _ in range(FORWARDS_PER_STEP):
            model(batch)
    with arithmetic(batch.ids_BT.device, precision):
        z_B = model(batch).z_B
    binary_cross_entropy_with_logits(z_B, torch.zeros_like(z_B)).backward()  # type: ignore[no-untyped-call]
    model.zero_grad(set_to_none=True)
    if batch.ids_BT.is_cuda:
        torch.cuda.synchronize()
    return clock() - started


def _batch(model: CtrBert) -> Batch:
    device = model.head.weight.device
    num_tokens = min(NUM_TOKENS, model.bert.config.max_position_embeddings)
    ids_BT = torch.arange(NUM_ROWS * num_tokens, device=device).view(NUM_ROWS, num_tokens)
    return Batch(
        ids_BT=ids_BT % model.bert.config.vocab_size,
        mask_BT=torch.ones_like(ids_BT, dtype=torch.bool),
        position_B=torch.zeros(NUM_ROWS, dtype=torch.long, device=device),
        numeric_BF=torch.zeros(NUM_ROWS, 2 * model.config.num_numeric, device=device),
    )
