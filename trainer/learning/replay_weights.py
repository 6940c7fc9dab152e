"""Weights of replayed rows: how much an old row still says about the stream of today.

A row's recorded strategy decides. New rows of these strategies are drawn and weighed as by `uniform`.

Shape legend: O replayed (old) rows, N new rows, R = O + N, D width of the head's input.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from scorer.engine.batching import plan_micro_batches
from scorer.engine.engine import arithmetic
from scorer.model.batch import collate
from scorer.model.bundle import ModelBundle
from scorer.model.features import EncodedRow
from stream.events import WeightedExample
from trainer.settings import TrainerSettings

Doubles = npt.NDArray[np.float64]

RELATIVE_SHARE = 0.3
"""alpha of the relative density ratio: no replayed row weighs more than 1 / alpha."""

PENALTY = 3.0
"""Penalty of the classifier that tells new from old, on inputs of mean square length 1. A row moves its own log odds by
at most about 1 / (2 * PENALTY): with more dimensions than rows it would else learn every row by heart."""

_STEPS = 50


@dataclass(frozen=True)
class Replay:
    """The rows of an update, old and new.

    Attributes:
        bundle: The weights that will learn them, in eval mode.
        old: Replayed rows.
        old_encoded: The same, as model inputs.
        new: First copies of the plan, selected or not.
        new_encoded: The same, as model inputs.
    """

    bundle: ModelBundle
    old: Sequence[WeightedExample]
    old_encoded: Sequence[EncodedRow]
    new: Sequence[WeightedExample]
    new_encoded: Sequence[EncodedRow]


def recency_weights(replay: Replay, settings: TrainerSettings) -> Doubles:
    """Return w = 2^(-age / H) of every replayed row, its age in event time counted from the newest row of the plan.

    The weight looks at no label: what is learned stays calibrated where the stream did not change.
    """
    newest_ms = max(row.labeled.impression.event_time_ms for row in replay.new)
    age_ms = np.array([newest_ms - row.labeled.impression.event_time_ms for row in replay.old], dtype=np.float64)
    return np.exp2(-np.maximum(age_ms, 0.0) / (1000 * settings.replay_half_life_seconds))


def density_ratio_weights(replay: Replay, settings: TrainerSettings) -> Doubles:
    """Return w = r / (alpha * r + 1 - alpha) of every replayed row, r = how much likelier it is among the new rows.

    r = c / (1 - c) * O / N with c(h) the probability that a pooled vector is a new row's, by logistic regression; the
    relative form bounds w at 1 / alpha (Yamada et al. 2013, arXiv:1106.4729). It answers a change of what is shown and
    searched for; it sees no label, so not a change of taste.
    """
    h_RD = pooled_vectors(replay.bundle, [*replay.old_encoded, *replay.new_encoded], settings.judge_batch_tokens)
    return relative_density_ratios(h_RD, len(replay.old))


REPLAY_WEIGHTS: dict[str, Callable[[Replay, TrainerSettings], Doubles]] = {
    "recency": recency_weights,
    "density_ratio": density_ratio_weights,
}
"""What weighs the replayed rows of a strategy; those of every other one keep the weight they had."""


def weigh_replayed(replay: Replay, settings: TrainerSettings) -> list[WeightedExample]:
    """Return the replayed rows, in order, their importance weights multiplied with what their strategy says."""
    strategies = [row.strategy for row in replay.old]
    factor = np.ones(len(strategies))
    for name in sorted(REPLAY_WEIGHTS.keys() & set(strategies)):
        chosen = np.array([strategy == name for strategy in strategies])
        factor[chosen] = REPLAY_WEIGHTS[name](replay, settings)[chosen]
    return [
        msgspec.structs.replace(row, importance_weight=row.importance_weight * float(one))
        for row, one in zip(replay.old, factor, strict=True)
    ]


def pooled_vectors(bundle: ModelBundle, rows: Sequence[EncodedRow], max_batch_tokens: int) -> Doubles:
    """Return the head's input of every row, [R, D], in order; nothing learns and nothing is drawn."""
    device = bundle.model.head.weight.device
    h_RD = np.empty((len(rows), bundle.model.head.in_features))
    with torch.inference_mode(), arithmetic(device, bundle.precision):
        for indices in plan_micro_batches([len(row.ids) for row in rows], max_batch_tokens):
            batch = collate([rows[index] for index in indices], bundle.statistics, device)
            h_RD[indices] = bundle.model(batch).h_BD.double().cpu().numpy()
    return h_RD


def relative_density_ratios(h_RD: Doubles, num_old: int) -> Doubles:
    """Return the weight of every old row, [O]; the first rows of h are the old ones."""
    log_odds_O = _log_odds_of_new(h_RD, num_old)[:num_old]
    ratio_O = np.exp(np.clip(log_odds_O, -50.0, 50.0)) * num_old / (len(h_RD) - num_old)
    return np.asarray(ratio_O / (RELATIVE_SHARE * ratio_O + 1 - RELATIVE_SHARE))


def _log_odds_of_new(h_RD: Doubles, num_old: int) -> Doubles:
    """Return log(c / (1 - c)) of every row by ridge logistic regression; the first rows are old.

    Newton's method with the Hessian's upper bound (Boehning and Lindsay 1988), so that one matrix is inverted once.
    Model weights that are not finite tell nothing apart: new and old are equally likely then.
    """
    if not np.isfinite(h_RD).all():
        return np.full(len(h_RD), math.log(len(h_RD) / num_old - 1))
    centred_RD = h_RD - h_RD.mean(axis=0)
    length = np.sqrt((centred_RD**2).sum(axis=1).mean())
    x = np.column_stack([centred_RD / max(length, 1e-12), np.ones(len(h_RD))])
    penalty = np.full(x.shape[1], PENALTY)
    penalty[-1] = 1e-6  # the intercept is free
    is_new = np.arange(len(x)) >= num_old
    bound = np.linalg.inv(x.T @ x / 4 + np.diag(penalty))
    weight = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        c = 1 / (1 + np.exp(-(x @ weight)))
        weight -= bound @ (x.T @ (c - is_new) + penalty * weight)
    return np.asarray(x @ weight)
