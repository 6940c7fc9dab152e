import io
import json
import tomllib
from pathlib import Path

import pytest
from rich.console import Console

from deploy.tuning import run_tuning, table_of
from trainer.backtest.runs.streams import simulated_stream
from trainer.tuning.search import SearchSpace


@pytest.mark.slow
def test_a_search_begins_with_the_present_settings_and_writes_and_shows_the_best(tmp_path: Path):
    out = tmp_path / "tuned.toml"
    space = SearchSpace(batch_rows=(32,), update_rows=(256,), strategies=("uniform",))
    tuned = run_tuning(
        simulated_stream("none", 1_500, warm_start_rows=300), space, out, num_trials=2, validation_share=0.5, seed=0
    )
    assert tuned.present.values["encoder_learning_rate"] == 5e-4
    assert tuned.best.auc >= tuned.present.auc
    assert tomllib.loads(out.read_text()) == tuned.settings()
    assert "millstream tune" in out.read_text().splitlines()[0]
    report = json.loads((tmp_path / "tuned.trials.json").read_text())
    assert [trial["number"] for trial in report["trials"]] == [0, 1]
    assert report["best"] == tuned.best.number
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table_of(tuned))
    assert "(present)" in console.export_text()
