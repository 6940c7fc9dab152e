"""Tuning: which settings learn best on a stream, searched by Optuna over backtests.

A trial is one backtest with settings drawn from the space. It learns from the whole stream; what counts is the
progressive AUC over its last part, the validation stretch, so that a trial is not praised for a lucky beginning.
Report what was chosen on another log than the one it was chosen on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna

from scorer.importance.settings import ImportanceSettings
from scorer.measures.spans import cut_spans, span_auc
from scorer.model.settings import ModelSettings
from scorer.settings import ScorerSettings
from trainer.backtest.runs.arms import Arm
from trainer.backtest.runs.predictions import Predictions
from trainer.backtest.runs.rounds import Round
from trainer.backtest.runs.run import run_arm
from trainer.backtest.runs.streams import Stream
from trainer.settings import GateSettings, TrainerSettings

REPORT_ROWS = 2048
"""Rows between two looks of the pruner at a trial, whatever its updates hold."""

_STARTUP_TRIALS = 4
"""Trials that run to their end before any is given up: a median of fewer says little."""

_WARMUP_LOOKS = 2
"""Looks before a trial may be given up: early on the slow and the bad are alike."""


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """What a trial may draw. A tuple of one value fixes it; learning rates are drawn evenly in their logarithm.

    Attributes:
        encoder_learning_rate: Lowest and highest.
        head_learning_rate: Lowest and highest.
        batch_rows: Rows of an optimizer step.
        update_rows: Rows of an update.
        num_layers: Encoder layers kept.
        strategies: Importance strategies.
        budgets: Shares of rows that are learned.
    """

    encoder_learning_rate: tuple[float, float] = (1e-4, 2e-3)
    head_learning_rate: tuple[float, float] = (1e-3, 1e-2)
    batch_rows: tuple[int, ...] = (16, 32, 64)
    update_rows: tuple[int, ...] = (256, 352, 512, 1024)
    num_layers: tuple[int, ...] = (1,)
    strategies: tuple[str, ...] = ("gradnorm_is", "uniform")
    budgets: tuple[float, ...] = (0.5,)

    def draw(self, trial: optuna.Trial) -> dict[str, Any]:
        """Return the values of a trial by name."""
        drawn: dict[str, Any] = {
            name: trial.suggest_float(name, *getattr(self, name), log=True)
            for name in ("encoder_learning_rate", "head_learning_rate")
        }
        for name in ("batch_rows", "update_rows", "num_layers", "strategies", "budgets"):
            drawn[name] = trial.suggest_categorical(name, getattr(self, name))
        return drawn

    def present(self) -> dict[str, Any]:
        """Return the present settings as values of a trial, each moved to the nearest that the space allows."""
        trainer, scorer, model = TrainerSettings(), ScorerSettings(), ModelSettings()
        rates = {name: getattr(trainer, name) for name in ("encoder_learning_rate", "head_learning_rate")}
        values = {name: float(np.clip(rate, *getattr(self, name))) for name, rate in rates.items()}
        wanted = {
            "batch_rows": trainer.batch_rows,
            "update_rows": trainer.update_rows,
            "num_layers": model.num_layers,
            "budgets": scorer.budget,
        }
        values |= {name: _nearest(getattr(self, name), value) for name, value in wanted.items()}
        strategy = scorer.strategy if scorer.strategy in self.strategies else self.strategies[0]
        return values | {"strategies": strategy}


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What became of one trial.

    Attributes:
        number: From 0; trial 0 has the present settings.
        values: What it drew.
        auc: Progressive AUC on the validation stretch; None when it was given up.
        looks: Progressive AUC so far, at each look of the pruner.
    """

    number: int
    values: dict[str, Any]
    auc: float | None
    looks: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What a search found.

    Attributes:
        best: The trial with the highest AUC.
        present: Trial 0, for comparison.
        trials: All of them.
    """

    best: TrialResult
    present: TrialResult
    trials: list[TrialResult] = field(default_factory=list)

    def settings(self) -> dict[str, dict[str, Any]]:
        """Return what was chosen as tables of a settings file."""
        return _tables(self.best.values)


def tune(
    stream: Stream,
    space: SearchSpace,
    *,
    num_trials: int,
    validation_share: float = 0.5,
    seed: int = 0,
    on_rows: Callable[[int], None] = lambda _: None,
    on_trial: Callable[[TrialResult], None] = lambda _: None,
) -> Tuned:
    """Search the space and return what was found; an interrupt ends the search with what is known by then.

    Args:
        stream: The labeled impressions.
        space: What may be drawn.
        num_trials: Backtests, the one of the present settings included.
        validation_share: Share of the rows after the warm start, the last ones, that a trial is judged on.
        seed: Of the search and of every backtest, so that trials are paired.
        on_rows: Called with the number of rows of the present trial so far.
        on_trial: Called after every trial.

    Raises:
        KeyboardInterrupt: before any trial ended.
        ValueError: no trial ended, for example because the stretch holds no click.
    """
    study = _new_study(seed)
    study.enqueue_trial(space.present())
    live_rows = stream.num_rows - stream.warm_start_rows
    first_row = stream.num_rows - round(live_rows * validation_share)

    def objective(trial: optuna.Trial) -> float:
        predictions = _predictions(stream, _arm(space.draw(trial)), seed, _Looks(trial, on_rows))
        return validation_auc(predictions, first_row)

    try:
        study.optimize(objective, n_trials=num_trials, callbacks=[lambda _, trial: on_trial(_result(trial))])
    except KeyboardInterrupt:
        if not any(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.trials):
            raise
    results = [_result(trial) for trial in study.trials if trial.state.is_finished()]
    ended = [result for result in results if result.auc is not None]
    if not ended:
        message = (
            f"no trial came to an end with an AUC on the last {stream.num_rows - first_row} rows; take more rows "
            "(--limit), or a larger --validation-share"
        )
        raise ValueError(message)
    # The first of equals, so that the present settings stay unless another is better.
    return Tuned(best=max(ended, key=lambda result: result.auc or 0.0), present=results[0], trials=results)


def validation_auc(predictions: Predictions, first_row: int) -> float:
    """Return the progressive AUC over the rows from `first_row` on: the mean over short spans, by their pairs.

    Spans depend on the labels alone, so trials whose updates hold different numbers of rows are compared alike.
    """
    stretch = predictions.take(slice(int(np.searchsorted(predictions.index, first_row)), None))
    return span_auc(stretch.z_live, stretch.label, cut_spans(stretch.label)).mean


class _Looks:
    """Shows a trial to the pruner every `REPORT_ROWS` rows, by the AUC of its rounds so far."""

    def __init__(self, trial: optuna.Trial, on_rows: Callable[[int], None]) -> None:
        self.given_up = False
        self._trial = trial
        self._on_rows = on_rows
        self._rows = 0
        self._pairs = 0.0
        self._won = 0.0

    def __call__(self, one: Round) -> bool:
        looks_before = self._rows // REPORT_ROWS
        self._rows += one.rows
        if one.auc_live is not None:
            pairs = float(one.clicks * (one.rows - one.clicks))
            self._pairs += pairs
            self._won += pairs * one.auc_live
        self._on_rows(self._rows)
        looks = self._rows // REPORT_ROWS
        if looks > looks_before and self._pairs:
            self._trial.report(self._won / self._pairs, looks)
            self.given_up = self._trial.should_prune()
        return not self.given_up


def _predictions(stream: Stream, arm: Arm, seed: int, looks: _Looks) -> Predictions:
    """Return what a trial predicted.

    Raises:
        optuna.TrialPruned: it fell behind and was given up.
    """
    result = run_arm(arm, arm.stream(stream), seed, on_round=looks)
    if looks.given_up:
        raise optuna.TrialPruned
    return result.predictions


def _new_study(seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=_WARMUP_LOOKS),
    )


def _nearest(allowed: Sequence[float], value: float) -> float:
    return min(allowed, key=lambda one: abs(one - value))


def _tables(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the values of a trial as settings by group."""
    trainer = ("encoder_learning_rate", "head_learning_rate", "batch_rows", "update_rows")
    return {
        "trainer": {name: values[name] for name in trainer},
        "scorer": {"strategy": values["strategies"], "budget": values["budgets"]},
        "model": {"num_layers": values["num_layers"]},
    }


def _arm(values: dict[str, Any]) -> Arm:
    tables = _tables(values)
    return Arm(
        name="trial",
        # The frozen version says nothing about which settings learn best.
        scorer=ScorerSettings(**tables["scorer"], frozen_share=0.0),
        trainer=TrainerSettings(**tables["trainer"]),
        model=ModelSettings(**tables["model"], precision="fp32", threads=1),
        gate=GateSettings(),
        importance=ImportanceSettings(),
    )


def _result(trial: optuna.trial.FrozenTrial) -> TrialResult:
    ended = trial.state == optuna.trial.TrialState.COMPLETE and trial.value is not None and np.isfinite(trial.value)
    return TrialResult(
        number=trial.number,
        values=dict(trial.params),
        auc=trial.value if ended else None,
        looks=tuple(trial.intermediate_values[step] for step in sorted(trial.intermediate_values)),
    )
