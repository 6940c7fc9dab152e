"""A backtest in seconds: a tiny BERT as a directory of files, a log in its words, and arms that use them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from scorer.importance.settings import ImportanceSettings
from scorer.model.settings import ModelSettings
from scorer.settings import ScorerSettings
from tests.doubles import COLOURS, THINGS
from trainer.backtest.runs.arms import Arm
from trainer.backtest.runs.predictions import Predictions
from trainer.backtest.runs.results import Run
from trainer.backtest.runs.rounds import Round
from trainer.backtest.runs.streams import RecordedStream, recorded_stream
from trainer.settings import GateSettings, TrainerSettings

MODEL: dict[str, Any] = {
    "num_layers": 1,
    "max_query_tokens": 8,
    "max_item_tokens": 16,
    "max_tokens": 40,
    "device": "cpu",
    "precision": "fp32",
}


def write_log(path: Path, num_rows: int, *, click_rates: tuple[float, float] = (0.6, 0.1)) -> Path:
    """Write a plain log, a row every ten seconds; scarves are clicked at the first rate, all else at the other."""
    random = np.random.default_rng(5)
    with path.open("w") as file:
        for number in range(num_rows):
            thing = THINGS[random.integers(4)]
            rate = click_rates[0] if thing == "scarf" else click_rates[1]
            row = {
                "ts": 1_700_000_000 + 10 * number,
                "label": int(random.random() < rate),
                "item": f"{COLOURS[random.integers(4)]} {thing}",
                "context": THINGS[random.integers(4)],
            }
            file.write(json.dumps(row) + "\n")
    return path


def tiny_stream(directory: Path, num_rows: int = 1_200, **arguments: Any) -> RecordedStream:
    """Return the stream of such a log."""
    return recorded_stream(write_log(directory / "log.jsonl", num_rows), **{"warm_start_rows": 200} | arguments)


def tiny_arm(bert: Path, name: str = "arm", **changes: Any) -> Arm:
    """Return an arm with small updates; changes are fields of an Arm, or strategy and budget."""
    strategy, budget = changes.pop("strategy", "uniform"), changes.pop("budget", 0.5)
    settings: dict[str, Any] = {
        "scorer": ScorerSettings(strategy=strategy, budget=budget, max_batch_rows=64, frozen_share=1.0),
        "trainer": TrainerSettings(update_rows=100, batch_rows=8, warmup_steps=4, probe_rows=16, probe_every=2),
        "model": ModelSettings(pretrained=str(bert), **MODEL),
        "gate": GateSettings(min_clicks=10),
        "importance": ImportanceSettings(),
    }
    return Arm(name=name, **settings | changes)


def made_round(**changes: Any) -> Round:
    """Return a round of a run."""
    values: dict[str, Any] = {
        "round": 1,
        "first_row": 0,
        "rows": 100,
        "clicks": 20,
        "live_version": 1,
        "auc_live": 0.6,
        "auc_frozen": 0.5,
        "auc_limit": None,
        "normalized_entropy_live": 0.9,
        "normalized_entropy_frozen": 1.0,
        "calibration_live": 1.0,
        "calibration_frozen": 1.1,
        "variance_ratio": 2.0,
        "mean_inclusion_probability": 0.5,
        "strategy": "uniform",
        "forward_rows": 200,
        "backward_rows": 50,
        "effective_sample_size": 40.0,
        "weight_p05": 0.5,
        "weight_p50": 1.0,
        "weight_p95": 2.0,
        "weight_max": 3.0,
        "mean_loss": 0.4,
        "gate_decision": "promote",
        "gate_reason": "no_harm",
        "discarded_rows": 0,
        "share_anchor": 0.1,
        "share_steady": 0.5,
        "share_newest": 0.4,
    }
    return Round(**values | changes)


def made_run(arm: str = "arm", seed: int = 0, *, num_rows: int = 8_192, skill: float = 1.0, limit: bool = False) -> Run:
    """Return a run whose live scores are the labels times the skill, plus noise; arms of a seed have the same labels.

    Args:
        arm: Its arm.
        seed: Its seed.
        num_rows: Rows after a warm start of 1,000.
        skill: 0 knows nothing.
        limit: Whether true probabilities are known.
    """
    random = np.random.default_rng(seed)
    label = (random.random(num_rows) < 0.2).astype(np.int8)
    noise = random.normal(size=(2, num_rows))
    predictions = Predictions(
        index=np.arange(num_rows) + 1_000,
        label=label,
        z_live=skill * label + noise[0] - 1.5,
        z_served=0.8 * skill * label + noise[0] - 1.5,
        z_frozen=0.2 * label + noise[1] - 1.5,
        click_probability=np.where(label, 0.6, 0.1) if limit else np.full(num_rows, np.nan),
    )
    rounds = [made_round(round=k + 1, first_row=1_000 + 512 * k, rows=512) for k in range(num_rows // 512)]
    return Run(arm, seed, rounds, predictions)
