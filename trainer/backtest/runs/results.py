"""The directory of a backtest: what was asked for, the runs that are complete, and what they add up to.

<directory>/backtest.json                     the stream and the arms, so that a later call can go on
            runs/<arm>-<seed>/rounds.parquet  a complete run; appears whole or not at all
                              timing.json
            predictions/<arm>-<seed>.parquet
            cache/                            what runs share; removed at the end
            rounds.parquet summary.json timing.json report.html
"""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from stream.codec import UndecodableError, decoded, from_json
from stream.disk.durable_files import write_durably
from trainer.backtest.runs.arms import Arm
from trainer.backtest.runs.predictions import Predictions, read_predictions, write_predictions
from trainer.backtest.runs.rounds import Round, all_rounds_table, read_rounds, rounds_table
from trainer.backtest.runs.run import RunResult
from trainer.backtest.runs.streams import Stream

_ASKED = "backtest.json"
_REMEDY = "name an empty directory with --out, or ask for the same again"


class ResultsError(ValueError):
    """A directory that belongs to something else; the message says what differs and what to do."""


@dataclass(frozen=True)
class Run:
    """One complete run.

    Attributes:
        arm: Name of its arm.
        seed: Its seed.
        rounds: One for each plan.
        predictions: One row for each impression.
    """

    arm: str
    seed: int
    rounds: list[Round]
    predictions: Predictions


class Results:
    """A directory of runs. Make one with `open_results`.

    Args:
        directory: Where it is.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def is_complete(self, arm: str, seed: int) -> bool:
        """Return whether a run is there."""
        return self._run(arm, seed).is_dir()

    def cache(self, key: str) -> Path:
        """Return the directory of what runs with one beginning share."""
        return self.directory / "cache" / key

    def write_run(self, arm: str, seed: int, result: RunResult, timing: Mapping[str, float]) -> None:
        """Write a run; the rename of its directory completes it."""
        runs, predictions = self.directory / "runs", self.directory / "predictions"
        for directory in (runs, predictions):
            directory.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=runs) as name:
            new = Path(name) / "run"
            new.mkdir()
            pq.write_table(rounds_table(result.rounds), new / "rounds.parquet", compression="zstd")
            write_json(new / "timing.json", timing)
            rows = Path(name) / "predictions.parquet"
            write_predictions(result.predictions, rows)
            rows.replace(self._predictions(arm, seed))
            new.rename(self._run(arm, seed))

    def read_run(self, arm: str, seed: int) -> Run:
        """Return a complete run."""
        rounds, predictions = self._run(arm, seed) / "rounds.parquet", self._predictions(arm, seed)
        try:
            return Run(
                arm,
                seed,
                decoded(rounds, read_rounds, "a file of rounds", rounds),
                decoded(predictions, read_predictions, "a file of predictions", predictions),
            )
        except UndecodableError as error:
            message = f"{error}; remove {rounds.parent} to run it again"
            raise ResultsError(message) from error

    def timing(self, arm: str, seed: int) -> dict[str, Any]:
        """Return how long a complete run took."""
        return _read_json(self._run(arm, seed) / "timing.json")

    def write_rounds(self, runs: Sequence[Run]) -> None:
        """Write the rounds of all runs."""
        table = all_rounds_table([(run.arm, run.seed, run.rounds) for run in runs])
        pq.write_table(table, self.directory / "rounds.parquet", compression="zstd")

    def drop_cache(self) -> None:
        """Remove what runs shared."""
        shutil.rmtree(self.directory / "cache", ignore_errors=True)

    def _run(self, arm: str, seed: int) -> Path:
        return self.directory / "runs" / f"{arm}-{seed}"

    def _predictions(self, arm: str, seed: int) -> Path:
        return self.directory / "predictions" / f"{arm}-{seed}.parquet"


def open_results(directory: Path, stream: Stream, arms: Sequence[Arm], num_seeds: int) -> Results:
    """Return a directory for these runs: a new one, or one with some of them, which may get more arms and seeds.

    Raises:
        ResultsError: the directory holds other things, or runs of another stream or with other settings.
    """
    asked = {"stream": stream.facts(), "seeds": num_seeds, "arms": [arm.facts() for arm in arms]}
    path = directory / _ASKED
    if path.is_file():
        _check(directory, _read_json(path), asked)
    elif directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        message = f"--out {directory} is no directory of a backtest and not empty; name another one"
        raise ResultsError(message)
    directory.mkdir(parents=True, exist_ok=True)
    write_json(path, asked)
    return Results(directory)


def write_json(path: Path, content: Any) -> None:
    """Write plain values as indented JSON, whole or not at all."""
    write_durably(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return from_json(path.read_bytes(), dict[str, Any], "a file of a backtest", path)
    except (OSError, UndecodableError) as error:
        raise ResultsError(f"{error}; {_REMEDY}") from error


def _check(directory: Path, there: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    # What is asked for now went through no file yet.
    asked = json.loads(json.dumps(asked))
    problems = _differences("stream", there["stream"], asked["stream"])
    arms = {arm["name"]: arm for arm in asked["arms"]}
    for arm in there["arms"]:
        if arm["name"] in arms:
            problems += _differences(f"arm {arm['name']}", arm, arms[arm["name"]])
        else:
            problems.append(f"arm {arm['name']} is there and not asked for")
    if there["seeds"] > asked["seeds"]:
        problems.append(f"it has {there['seeds']} seeds, {asked['seeds']} are asked for")
    if problems:
        message = f"--out {directory} is of another backtest: {'; '.join(problems[:3])}; {_REMEDY}"
        raise ResultsError(message)


def _differences(place: str, there: Any, asked: Any) -> list[str]:
    if isinstance(there, dict) and isinstance(asked, dict):
        names = sorted({*there, *asked})
        return [line for name in names for line in _differences(f"{place} {name}", there.get(name), asked.get(name))]
    return [] if there == asked else [f"{place} was {there!r} and is {asked!r}"]
