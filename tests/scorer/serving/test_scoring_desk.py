import asyncio
import threading

import pytest
import uvicorn
from httpx import AsyncClient
from prometheus_client import CollectorRegistry

from scorer.engine.engine import Engine
from scorer.live.model_slot import ModelSlot
from scorer.serving.app import create_service, listen
from scorer.serving.metrics import ServiceMetrics
from scorer.settings import ScorerSettings
from tests.scorer.processes import wait_until
from tests.scorer.serving.test_app import SETTINGS, LoadedModels, code, connect, samples


class HeldEngine(Engine):
    """An engine that scores when it is let go."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.bundle, ScorerSettings())
        self.started = threading.Event()
        self.release = threading.Event()

    def score(self, impressions):
        self.started.set()
        self.release.wait(60)
        return super().score(impressions)


async def test_more_requests_than_allowed_at_once_are_refused(slot: ModelSlot) -> None:
    slot.engine = HeldEngine(slot.engine)
    service = create_service(lambda: LoadedModels(slot), SETTINGS, ServiceMetrics(CollectorRegistry()))
    body = {"impressions": [{"item_text": "red hat"}]}
    async with connect(service) as client:
        first = asyncio.create_task(client.post("/score", json=body))
        await asyncio.to_thread(slot.engine.started.wait, 60)
        refused = await client.post("/score", json=body)
        slot.engine.release.set()
        assert (refused.status_code, code(refused)) == (503, "busy")
        assert (await first).status_code == 200
        assert (await client.post("/score", json=body)).status_code == 200


async def test_a_client_that_leaves_while_its_rows_are_scored_is_counted_as_gone(
    slot: ModelSlot, registry: CollectorRegistry
) -> None:
    slot.engine = HeldEngine(slot.engine)
    service = create_service(lambda: LoadedModels(slot), SETTINGS, ServiceMetrics(registry))
    body = b'{"impressions": [{"item_text": "red hat"}]}'
    head = b"POST /score HTTP/1.1\r\nHost: service\r\nContent-Length: %d\r\n\r\n"
    listener = listen(SETTINGS.model_copy(update={"port": 0}))
    server = uvicorn.Server(uvicorn.Config(service, log_config=None, access_log=False))
    running = asyncio.create_task(server.serve([listener]))
    _, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(head % len(body) + body)
    await asyncio.to_thread(slot.engine.started.wait, 60)
    writer.close()
    await writer.wait_closed()
    await asyncio.to_thread(wait_until, lambda: not server.server_state.connections, "the server to hear of it")
    slot.engine.release.set()
    server.should_exit = True
    await running
    requests = {sample.labels["status"]: sample.value for sample in samples(registry, "requests_total", "/score")}
    assert requests == {"200": 0, "499": 1}


@pytest.mark.parametrize(("numeric", "unread"), [({"price": 1.0}, 0), ({"price": 1.0, "prise": 2.0}, 1)])
async def test_rows_with_a_number_that_the_model_does_not_read_are_scored_and_counted(
    client: AsyncClient, registry: CollectorRegistry, numeric: dict[str, float], unread: int
) -> None:
    rows = [{"item_text": "red hat", "numeric": numeric}, {"item_text": "hat"}]
    assert (await client.post("/score", json={"impressions": rows})).status_code == 200
    assert registry.get_sample_value("millstream_service_unread_numeric_rows_total") == unread
