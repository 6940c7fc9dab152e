from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from httpx import AsyncClient
from prometheus_client import CollectorRegistry

from scorer.live.model_slot import ModelSlot
from scorer.serving.app import create_service
from scorer.serving.metrics import ServiceMetrics
from scorer.settings import ScorerSettings
from tests.doubles import tiny_bundle
from tests.scorer.serving.test_app import SETTINGS, LoadedModels, connect


@pytest.fixture
def slot(tmp_path: Path) -> ModelSlot:
    return ModelSlot(tiny_bundle(tmp_path, numeric=("price",)), ScorerSettings())


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def client(slot: ModelSlot, registry: CollectorRegistry) -> AsyncIterator[AsyncClient]:
    async with connect(create_service(lambda: LoadedModels(slot), SETTINGS, ServiceMetrics(registry))) as client:
        yield client
