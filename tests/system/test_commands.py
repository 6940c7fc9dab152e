"""Operators pause, roll back and resume through the command line while a scorer serves on."""

import pytest

from scorer.registry.version_store import parse_version
from tests.system.pipeline import BurstShop, Pipeline

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

UPDATES = "millstream_trainer_updates_total"
PROMOTED = "millstream_trainer_promoted_number"
BURST = 140
"""Two updates of 64 rows and more, each with clicks enough to be judged."""


@pytest.fixture(scope="module")
def running(pipeline: Pipeline) -> Pipeline:
    pipeline.command("models", "init")
    pipeline.start("stream", "scorer", "trainer")
    return pipeline


def show(running: Pipeline, shop: BurstShop) -> set[str]:
    """Send a burst, wait until all of it is scored, and return the versions that scored it."""
    shown = set(shop.show(BURST))
    scored: dict[str, str] = {}

    def all_scored() -> bool:
        for examples in running.examples().values():
            for example in examples:
                scored.setdefault(example.labeled.impression.impression_id, example.live.version)
        return shown <= scored.keys()

    running.wait_until(all_scored, "the burst is scored")
    return {scored[name] for name in shown}


def promote(running: Pipeline, shop: BurstShop, *, above: int) -> int:
    """Send bursts until a champion above this number serves, and return its number."""

    def promoted() -> bool:
        if running.metric("trainer", PROMOTED) <= above:
            show(running, shop)
            running.drain()
        return running.metric("trainer", PROMOTED) > above

    running.wait_until(promoted, f"a champion above number {above}")
    champion = parse_version(running.champions()[-1].version)[1]
    running.wait_for("scorer", "millstream_scorer_model_number", champion)
    return champion


def test_while_the_trainer_is_paused_the_scorer_serves_and_nothing_is_learned(running: Pipeline, shop: BurstShop):
    assert "paused after update" in running.command("trainer", "pause")
    before = running.metric("trainer", UPDATES)
    show(running, shop)
    assert running.metric("trainer", "millstream_trainer_paused_bool") == 1
    assert running.metric("trainer", UPDATES) == before

    assert "resumed after update" in running.command("trainer", "resume")
    running.drain()
    assert running.metric("trainer", UPDATES) > before


def test_a_rollback_serves_the_older_version_until_promotions_are_resumed(running: Pipeline, shop: BurstShop):
    promote(running, shop, above=0)
    champion = promote(running, shop, above=1)
    previous = running.champions()[-2].version

    assert f"{previous} serves" in running.command("models", "rollback")
    running.wait_until(
        lambda: running.metric("scorer", "millstream_scorer_model_number") == parse_version(previous)[1],
        "the scorer is back at the previous version",
    )
    assert running.champions()[-1].reason == "rolled_back"
    updates = running.metric("trainer", UPDATES)
    assert show(running, shop) == {previous}
    running.drain()
    assert running.metric("trainer", UPDATES) > updates, "it learns on"
    assert running.metric("trainer", "millstream_trainer_gate_decisions_total", decision="stopped") >= 1
    assert running.champions()[-1].version == previous, "but promotes nothing"

    assert "promotions go on" in running.command("models", "resume")
    promote(running, shop, above=champion)


def test_a_rollback_to_a_version_that_is_not_there_changes_nothing(running: Pipeline):
    champion = running.champions()[-1].version
    line, _ = parse_version(champion)
    assert "999999" in running.command("models", "rollback", f"{line}-999999", status=1)
    assert running.metric("trainer", "millstream_trainer_promotions_stopped_bool") == 0
    assert running.champions()[-1].version == champion


def test_the_audit_is_exact_after_all_commands(running: Pipeline, shop: BurstShop):
    shop.close()
    running.drain()
    assert running.audit(shop.ledger).problems == ()
