import pytest

from scorer.measures.auc import auc
from scorer.measures.spans import cut_spans, span_auc
from tests.trainer.backtest.tiny import made_run, tiny_arm, tiny_stream
from trainer.backtest.report.summary import summarise
from trainer.backtest.runs.streams import simulated_stream


@pytest.fixture
def stream(tmp_path):
    return tiny_stream(tmp_path)


def arms_of(bert):
    return [tiny_arm(bert, "base"), tiny_arm(bert, "new", strategy="gradnorm_is")]


def runs_of(seeds: int, *, gain: float = 0.3, **arguments):
    return [
        made_run(arm, seed, skill=skill, **arguments)
        for arm, skill in (("base", 1.0), ("new", 1.0 + gain))
        for seed in range(seeds)
    ]


def test_an_arm_is_the_mean_of_its_seeds(bert, stream):
    runs = runs_of(2)
    base = summarise(stream, arms_of(bert), 2, runs)["arms"][0]
    assert (base["arm"], base["strategy"], base["budget"], base["seeds"]) == ("base", "uniform", 0.5, 2)
    mine = [run.predictions for run in runs if run.arm == "base"]
    assert base["auc_pooled"] == pytest.approx(sum(auc(one.z_live, one.label) for one in mine) / 2)
    assert base["auc"] == pytest.approx(sum(span_auc(p.z_live, p.label, cut_spans(p.label)).mean for p in mine) / 2)
    assert [run["seed"] for run in base["by_seed"]] == [0, 1]
    assert base["auc"] > base["auc_frozen"]
    assert base["auc_limit"] is None
    assert (base["forward_rows"], base["backward_rows"]) == (16 * 200, 16 * 50)
    assert base["by_seed"][0]["gate_decisions"] == {"promote: no_harm": 16}
    assert base["by_seed"][0]["weighed_by"] == {"uniform": 16}


def test_a_difference_is_paired_and_has_an_interval(bert, stream):
    base, new = summarise(stream, arms_of(bert), 2, runs_of(2))["arms"]
    found = new["difference_to_uniform"]
    assert found["estimate"] == pytest.approx(new["auc"] - base["auc"], abs=1e-3)
    assert 0 < found["low"] < found["estimate"] < found["high"]
    assert (new["compared_with"], new["difference_reason"]) == ("base", None)


def test_what_retraining_is_worth_is_told_of_every_arm(bert, stream):
    base, new = summarise(stream, arms_of(bert), 2, runs_of(2))["arms"]
    for arm in (base, new):
        worth = arm["worth"]
        assert worth["auc"]["estimate"] == pytest.approx(arm["auc"] - arm["auc_frozen"], abs=0.01)
        assert worth["auc"]["low"] > 0 > worth["log_loss"]["high"]
        assert worth["rows"] == 2 * 8_192 > worth["effective_rows"] > 100
        assert worth["sentence"].startswith("retraining is worth +")
    few = summarise(stream, arms_of(bert), 1, [made_run("base", num_rows=1_024), made_run("new", num_rows=1_024)])
    worth = few["arms"][0]["worth"]
    assert (worth["auc"], worth["log_loss"], worth["effective_rows"]) == (None, None, None)
    assert "too few rows" in worth["sentence"]


def test_equal_arms_differ_by_nothing(bert, stream):
    new = summarise(stream, arms_of(bert), 1, runs_of(1, gain=0.0))["arms"][1]
    assert new["difference_to_uniform"] == {"estimate": 0.0, "low": 0.0, "high": 0.0}


@pytest.mark.parametrize(
    ("num_seeds", "recorded", "method"),
    [
        (5, True, "moving-block bootstrap over spans"),
        (2, False, "moving-block bootstrap over spans"),
        (5, False, "bootstrap over seeds"),
    ],
)
def test_how_intervals_are_made_is_told(bert, stream, num_seeds, recorded, method):
    chosen = stream if recorded else simulated_stream("none", 9_192)
    summary = summarise(chosen, arms_of(bert), num_seeds, runs_of(num_seeds, limit=not recorded))
    assert summary["interval"]["method"] == method
    assert summary["arms"][1]["difference_to_uniform"]["low"] > 0
    assert (summary["arms"][0]["auc_limit"] is None) == recorded


def test_without_an_interval_there_is_a_reason(bert, stream):
    def reason(arms, runs, arm=1):
        found = summarise(stream, arms, 1, runs)["arms"][arm]
        assert found["difference_to_uniform"] is None
        return found["difference_reason"]

    assert reason(arms_of(bert), runs_of(1), arm=0) == "it is a uniform arm itself"
    assert "2 spans are too few" in reason(arms_of(bert), runs_of(1, num_rows=1_024))
    alone = [tiny_arm(bert, "new", strategy="full")]
    assert reason(alone, [made_run("new")], arm=0) == "there is no arm with the strategy uniform"
    several = [tiny_arm(bert, "a", budget=0.1), tiny_arm(bert, "b", budget=0.2), tiny_arm(bert, "new", strategy="full")]
    told = reason(several, [made_run(name) for name in ("a", "b", "new")], arm=2)
    assert told == "several uniform arms could be meant: a, b"


def test_of_several_uniform_arms_the_one_with_the_same_budget_counts(bert, stream):
    arms = [
        tiny_arm(bert, "a", budget=0.1),
        tiny_arm(bert, "b", budget=0.2),
        tiny_arm(bert, "new", strategy="lcc_offset", budget=0.2),
    ]
    runs = [made_run(name) for name in ("a", "b", "new")]
    assert summarise(stream, arms, 1, runs)["arms"][2]["compared_with"] == "b"
