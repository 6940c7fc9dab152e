"""A plan that teaches the opposite of the truth is learned, judged on honest rows, and held."""

import pytest

from scorer.registry.version_store import parse_version
from stream.events import RoleScore, WeightedExample
from stream.example_batch import encode_examples
from stream.play.recorded_log import write_events
from tests.doubles import tiny_impression, tiny_labeled
from tests.system.pipeline import BurstShop, Pipeline, click_on, is_clicked
from trainer.state.checkpoint import load_latest

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SETTINGS = {
    # Learns fast, both the truth and the lie.
    "MILLSTREAM_TRAINER_BATCH_ROWS": "8",
    "MILLSTREAM_TRAINER_WARMUP_STEPS": "4",
    "MILLSTREAM_TRAINER_ENCODER_LEARNING_RATE": "3e-3",
    "MILLSTREAM_TRAINER_HEAD_LEARNING_RATE": "9e-3",
    # Only full plans are cut, so that each update here is one that the test meant.
    "MILLSTREAM_TRAINER_UPDATE_SECONDS": "3600",
    "MILLSTREAM_GATE_MAX_HOLDS": "1",
    # The newest weights would serve: the ladder would leave little of one poisoned plan to be held.
    "MILLSTREAM_TRAINER_LADDER_ROWS": "0",
}
UPDATES = "millstream_trainer_updates_total"
DECISIONS = "millstream_trainer_gate_decisions_total"
PAST_ROWS = 640
POISON_ROWS = 480
FULL_PLAN = 70
"""Rows of an honest burst that fills one update of 64, and leaves too few for a second."""
FEW = 20


def warm_start(pipeline: Pipeline) -> str:
    """Make a champion that knows what is clicked, and return it."""
    pipeline.command("models", "init")
    past = [tiny_impression(10_000 + index) for index in range(PAST_ROWS)]
    events = [[shown, click_on(shown, after_ms=0)] if is_clicked(shown) else [shown] for shown in past]
    write_events(pipeline.home / "past.jsonl", [event for group in events for event in group])
    pipeline.command("models", "warm-start", str(pipeline.home / "past.jsonl"))
    return pipeline.champions()[-1].version


def poison(champion: str) -> bytes:
    """Return one record, so one plan, of rows whose labels are all wrong."""
    rows = [
        WeightedExample(
            labeled=tiny_labeled(index, label=int("scarf" not in tiny_impression(index).item_text)),
            live=RoleScore(version=champion, z=0.0),
            hidden_norm=1.0,
            scored_ms=1_700_000_000_000,
            strategy="full",
            inclusion_probability=1.0,
            importance_weight=1.0,
        )
        for index in range(20_000, 20_000 + POISON_ROWS)
    ]
    (record,) = encode_examples(rows)
    return record


@pytest.fixture(scope="module")
def champion(pipeline: Pipeline, shop: BurstShop) -> str:
    """The champion, after a poisoned plan was learned and judged on a burst of honest rows."""
    champion = warm_start(pipeline)
    pipeline.start("stream", "scorer", "trainer")
    pipeline.write("weighted-examples", 0, [poison(champion)])
    pipeline.wait_for("trainer", UPDATES, 1)
    shop.show(FULL_PLAN)
    pipeline.wait_for("trainer", UPDATES, 2)
    return champion


def test_the_poisoned_candidate_is_held_and_counted(pipeline: Pipeline, champion: str):
    assert pipeline.metric("trainer", DECISIONS, decision="hold") == 1
    assert pipeline.metric("trainer", DECISIONS, decision="promote") == 0
    assert pipeline.metric("trainer", "millstream_trainer_holds_total", reason="auc_harm") == 1
    assert pipeline.metric("trainer", "millstream_trainer_promoted_number") == parse_version(champion)[1]


def test_the_champion_does_not_move(pipeline: Pipeline, champion: str):
    releases = pipeline.champions()
    assert [release.reason for release in releases] == ["initialised", "warm_started"]
    assert releases[-1].version == champion


def test_what_the_poison_taught_is_undone(pipeline: Pipeline, champion: str):
    assert pipeline.metric("trainer", "millstream_trainer_discarded_rows_total") == POISON_ROWS
    state = load_latest(pipeline.trainer_directory).state
    assert (state.champion, state.lineage) == (champion, champion)


def test_the_scorer_serves_on_with_the_old_version_until_an_honest_update_is_promoted(
    pipeline: Pipeline, shop: BurstShop, champion: str
):
    shop.show(FEW)
    pipeline.wait_until(lambda: len(honest_versions(pipeline)) == FULL_PLAN + FEW, "the next rows are scored")
    assert set(honest_versions(pipeline)) == {champion}
    assert pipeline.metric("scorer", "millstream_scorer_model_number") == parse_version(champion)[1]

    shop.show(FULL_PLAN)
    pipeline.wait_for("trainer", DECISIONS, 1, decision="promote")
    pipeline.wait_for("scorer", "millstream_scorer_model_number", parse_version(champion)[1] + 1)
    assert pipeline.metric("trainer", DECISIONS, decision="hold") == 1


def honest_versions(pipeline: Pipeline) -> list[str]:
    """Return what scored each row that came through the scorer."""
    return [row.live.version for rows in pipeline.examples().values() for row in rows if row.strategy != "full"]
