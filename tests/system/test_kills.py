"""`kill -9` and restart of each process under traffic loses nothing and teaches nothing twice."""

from collections import Counter

import pytest

from deploy.audit.report import AuditReport
from scorer.registry.version_store import parse_version
from tests.system.pipeline import Pipeline
from trainer.state.ledger import read_ledger

# Eight starts of processes that import torch: on a busy machine they take minutes.
pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(1_800)]

SETTINGS = {"MILLSTREAM_JOIN_WINDOW_SECONDS": "3", "MILLSTREAM_JOIN_QUIET_SECONDS": "6"}
PROMOTED = "millstream_trainer_promoted_number"
MOVES = {
    "stream": ("millstream_stream_labels_total", {"label": "0"}),
    "scorer": ("millstream_scorer_rows_total", {"label": "0"}),
    "evaluator": ("millstream_evaluator_rows_total", {"copy": "new"}),
    "trainer": ("millstream_trainer_updates_total", {}),
}
"""What counts from 0 in a new process as it works."""


class Kills:
    """What was seen between kills."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.champions: list[int] = []
        """Number of the champion before each kill and at the end."""

    def torment(self, *names: str) -> None:
        """Kill processes at one moment, start them again and wait until they work."""
        self.note_champion()
        for name in names:
            self.pipeline.kill(name)
        self.pipeline.start(*names)
        for name in names:
            sample, labels = MOVES[name]
            self.pipeline.wait_for(name, sample, 2, **labels)

    def note_champion(self) -> None:
        """Wait for a new champion and note its number."""
        last = self.champions[-1] if self.champions else 0
        self.pipeline.wait_for("trainer", PROMOTED, last + 1)
        self.champions.append(int(self.pipeline.metric("trainer", PROMOTED)))


@pytest.fixture(scope="module")
def kills(pipeline: Pipeline) -> Kills:
    """Traffic while one process after the other, and at last all of them, are killed and started again."""
    pipeline.command("models", "init")
    pipeline.start(*MOVES)
    pipeline.play("--rate", "50")
    kills = Kills(pipeline)
    for name in MOVES:
        kills.torment(name)
    kills.torment(*MOVES)
    kills.note_champion()
    pipeline.stop("shop")
    pipeline.drain()
    return kills


@pytest.fixture(scope="module")
def report(kills: Kills) -> AuditReport:
    return kills.pipeline.audit(kills.pipeline.home / "ledger.parquet")


def test_nothing_is_lost_by_the_audit_against_the_producers_ledger(report: AuditReport):
    assert report.problems == ()
    assert report.impressions == report.labeled == report.scored == report.trained + report.sampled_out
    assert report.impressions > 500, "the shop must have been busy"


def test_nothing_is_taught_twice(kills: Kills, report: AuditReport):
    ledger = read_ledger(kills.pipeline.trainer_directory).to_pylist()
    taught = Counter((row["line"], row["impression_id"]) for row in ledger if row["outcome"] == "trained")
    assert len(taught) == report.trained
    assert set(taught.values()) == {1}


def test_versions_go_on_after_every_kill(kills: Kills):
    assert kills.champions == sorted(set(kills.champions))
    # The gate may find this tiny model surely worse than the frozen version, which then serves again.
    promoted = [release for release in kills.pipeline.champions() if release.reason != "rolled_back"]
    released = [parse_version(release.version)[1] for release in promoted]
    assert released == sorted(set(released)), "no version is announced twice or after a newer one"


def test_the_scorer_serves_the_newest_champion(kills: Kills):
    newest = parse_version(kills.pipeline.champions()[-1].version)[1]
    kills.pipeline.wait_for("scorer", "millstream_scorer_model_number", newest)


def test_the_evaluator_judges_every_row_once(kills: Kills, report: AuditReport):
    evaluator = kills.pipeline
    evaluator.wait_for("evaluator", "millstream_evaluator_distinct_rows", report.scored)
    assert evaluator.metric("evaluator", "millstream_evaluator_distinct_rows") == report.scored
