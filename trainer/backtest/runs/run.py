"""A run: one arm over one stream with one seed.

What is simulated: time is the log's event time. An impression is shown when it happens and scored then by the version
that serves (`z_served`). Its label leaves the join when its attribution window has closed, in the order of the topic;
only then it is scored by the version that serves at that moment (`z_live`, and with it its importance), judged on and
learned. A version serves from the moment at which the newest label of the plan that judged it was due. Version 1 has
learned the first rows and serves from the first one after them. The live processes do the same but for what is not
simulated: time that scoring, learning and swapping take, plans cut by time, and more than one partition.
"""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from scorer.engine.engine import Engine
from scorer.importance.strategies import build_strategy
from scorer.live.roles import Roles
from scorer.model.device import return_freed_memory
from scorer.registry.registry import copy_with_shared_tensors
from scorer.scoring.scoring import Scoring
from trainer.backtest.runs.arms import Arm
from trainer.backtest.runs.beginning import KnownBeginning, begin
from trainer.backtest.runs.frozen_scores import FrozenScores
from trainer.backtest.runs.offline_scorer import OfflineScorer
from trainer.backtest.runs.offline_trainer import OfflineTrainer
from trainer.backtest.runs.predictions import Predictions, joined
from trainer.backtest.runs.rounds import Round, round_of
from trainer.backtest.runs.streams import Stream
from trainer.line import ModelLine

OnRound = Callable[[Round], bool]
"""Called after every round; False ends the run there."""

_TRIM_ROUNDS = 16
"""Rounds between two returns of freed memory to the system."""


@dataclass(frozen=True)
class RunResult:
    """What a run showed.

    Attributes:
        rounds: One for each plan.
        predictions: One row for each first copy of an impression after the warm start.
        is_complete: Whether the stream was read to its end.
    """

    rounds: list[Round]
    predictions: Predictions
    is_complete: bool


@dataclass(frozen=True)
class Parts:
    """What a run consists of.

    Attributes:
        scorer: Cuts the stream into plans and scores them.
        trainer: Judges, serves and learns them.
        frozen: The frozen version's engine.
    """

    scorer: OfflineScorer
    trainer: OfflineTrainer
    frozen: FrozenScores


def run_arm(
    arm: Arm,
    stream: Stream,
    seed: int,
    *,
    cache: Path | None = None,
    on_warm_start: Callable[[int], None] = lambda _: None,
    on_round: OnRound = lambda _: True,
) -> RunResult:
    """Run one arm over the stream: warm start, then plan by plan score, judge, serve or hold, learn.

    Plan k + 1 is scored under the champion that was decided at plan k while plan k is learned, in a second thread: the
    two touch different weights, so the result is that of the serial order, bit for bit.

    Args:
        arm: What is compared.
        stream: The labeled impressions.
        seed: Moves the order of rows in updates, the draw of learned rows and, in a simulation, the shop. Arms with one
            seed are paired.
        cache: Directory of what runs with this arm's beginning and this seed share; None to share nothing.
        on_warm_start: Called with the rows of the warm start learned so far.
        on_round: Called after every round.

    Raises:
        FloatingPointError: a score is not finite.
        ValueError: the warm start's rows are all of one class, or the model cannot be made.
    """
    known = KnownBeginning(cache) if cache else None
    with TemporaryDirectory() as directory:
        parts = assemble(arm.seeded(seed), stream, seed, Path(directory), known, on_warm_start=on_warm_start)
        result = _play(parts.scorer, parts.trainer, on_round)
    if known and result.is_complete:
        known.keep_frozen(parts.frozen.said)
    return result


def assemble(
    arm: Arm,
    stream: Stream,
    seed: int,
    directory: Path,
    known: KnownBeginning | None = None,
    *,
    on_warm_start: Callable[[int], None] = lambda _: None,
) -> Parts:
    """Return the parts of a run, warmed up.

    Args:
        arm: What is compared, seeded.
        stream: The labeled impressions.
        seed: Which of the stream's versions to take.
        directory: Where the tokenizer is written; must last as long as the parts.
        known: What runs with this beginning share.
        on_warm_start: Called with the rows of the warm start learned so far.
    """
    rows = stream.rows(seed)
    # Clicks that come as a second row, in the early-negative mode, are in the final labels already.
    impressions = (row.final for row in rows if row.labeled.revision == 0)
    warm = list(itertools.islice(impressions, stream.warm_start_rows))
    bundle, checkpoint = begin(arm, warm, directory, known, progress=on_warm_start)
    live, still = (replace(bundle, model=copy_with_shared_tensors(bundle.model)) for _ in range(2))
    engine, frozen = Engine(live, arm.scorer), FrozenScores(still, arm.scorer, known.frozen() if known else None)
    strategy = build_strategy(arm.scorer.strategy, arm.scorer.budget, arm.importance)
    scoring = Scoring(Roles[Engine](engine, frozen), strategy, frozen_share=arm.scorer.frozen_share)
    line = ModelLine(bundle, checkpoint, arm.trainer, arm.gate, still)
    return Parts(
        scorer=OfflineScorer(rows, scoring, frozen, arm.scorer, plan_rows=arm.trainer.update_rows, first_row=len(warm)),
        trainer=OfflineTrainer(line, engine, arm.trainer),
        frozen=frozen,
    )


def _play(scorer: OfflineScorer, trainer: OfflineTrainer, on_round: OnRound) -> RunResult:
    rounds: list[Round] = []
    predictions: list[Predictions] = []
    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as ahead:
        ahead.submit(scorer.read).result()
        scored = ahead.submit(scorer.score).result()
        while scored is not None:
            reading = ahead.submit(scorer.read)
            plan, rows = trainer.admit(scored.record)
            decision = trainer.decide(rows, plan)
            scoring = ahead.submit(scorer.score)
            report = trainer.line.learn(rows, plan)
            predictions.append(scored.predictions(rows.first_copies))
            rounds.append(
                round_of(
                    plan.number,
                    predictions[-1],
                    rows,
                    report,
                    decision,
                    live_version=scored.live_version,
                    stability=trainer.look(rows, plan),
                )
            )
            reading.result()
            scored = scoring.result()
            if not on_round(rounds[-1]):
                break
            if plan.number % _TRIM_ROUNDS == 0:
                return_freed_memory()
    return RunResult(rounds, joined(predictions), is_complete=scored is None)
