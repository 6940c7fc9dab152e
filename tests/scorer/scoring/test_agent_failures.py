"""What the scorer's agent does when it cannot go on. No broker is needed: nothing is read or written."""

from pathlib import Path
from typing import NoReturn

import pytest
import structlog
from prometheus_client import CollectorRegistry

from scorer.importance.strategies import build_strategy
from scorer.live.live_models import LiveModels
from scorer.live.release_loader import ReleaseLoader
from scorer.scoring.agent import ScorerAgent
from scorer.scoring.metrics import ScorerMetrics
from scorer.scoring.micro_batch import RawRow
from scorer.scoring.scoring import Scoring
from scorer.settings import ScorerSettings
from stream.events import encode
from stream.settings import KafkaSettings
from stream.worker.faust_app import create_app
from tests.doubles import tiny_labeled
from tests.scorer.live.test_live_models import CPU, Published, SilentFollower

ROWS = [RawRow(0, offset, b"key", encode(tiny_labeled(offset))) for offset in range(3)]


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what would have ended the process."""
    errors: list[str] = []

    def end(_what: str, error: BaseException, **_facts: object) -> NoReturn:
        errors.append(str(error))
        raise SystemExit(1)

    monkeypatch.setattr("scorer.scoring.agent.end_process", end)
    return errors


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScorerAgent:
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    kafka, settings, metrics = KafkaSettings(), ScorerSettings(frozen_share=0), ScorerMetrics(CollectorRegistry())
    loader = ReleaseLoader(CPU)
    bundle = loader.load(Published(tmp_path).release(0))
    models = LiveModels(bundle, SilentFollower(), {}, loader=loader, settings=settings, metrics=metrics.model)
    scoring = Scoring(models.roles, build_strategy("uniform", 0.5))
    app = create_app("scorer", kafka, instance="0")
    return ScorerAgent(app, kafka, settings, models, scoring, metrics)


def test_a_look_before_the_consumer_runs_is_a_look_at_an_idle_worker(agent: ScorerAgent) -> None:
    assert not agent.progress().waiting


async def test_a_strategy_that_fails_ends_the_process(agent: ScorerAgent, ended: list[str]) -> None:
    agent._scoring.strategy.weigh = lambda _rows: 1 / 0
    with pytest.raises(SystemExit):
        await agent._score(ROWS)
    assert ended == ["strategy uniform cannot weigh 3 rows: ZeroDivisionError: division by zero"]


async def test_a_model_that_scores_nothing_is_tried_again_and_its_traceback_logged_once(
    agent: ScorerAgent, ended: list[str]
) -> None:
    agent._scoring.roles.live.bundle.model.head.bias.data.fill_(float("nan"))
    with structlog.testing.capture_logs() as logs:
        assert await agent._score(ROWS) is None
        assert await agent._score(ROWS) is None
    tracebacks = [bool(line["exc_info"]) for line in logs if line["event"] == "scoring_failed"]
    assert (tracebacks, ended) == ([True, False], [])
    agent._scoring.roles.live.bundle.model.head.bias.data.fill_(0.0)
    assert len((await agent._score(ROWS)).examples) == 3
