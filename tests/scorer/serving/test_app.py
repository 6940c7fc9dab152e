import os
import re
import signal
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample
from structlog.testing import capture_logs

from scorer.engine.engine import Engine
from scorer.live.model_slot import ModelSlot
from scorer.live.roles import Roles
from scorer.measures.log_loss import sigmoid
from scorer.serving.app import create_service, listen, serve_until_told
from scorer.serving.messages import ScoreRow
from scorer.serving.metrics import ServiceMetrics
from scorer.serving.settings import ServiceSettings
from stream.events import Impression, encode
from tests.doubles import TINY_LINE, tiny_impression

SETTINGS = ServiceSettings(max_rows=20, max_body_bytes=20_000, max_concurrent=1)


class LoadedModels:
    """What the service needs of the live models, without a release topic."""

    def __init__(self, slot: ModelSlot) -> None:
        self.slot = slot

    @property
    def roles(self) -> Roles[Engine]:
        return Roles(self.slot.engine)

    @property
    def version(self) -> str:
        return self.slot.engine.version


def connect(service: FastAPI) -> AsyncClient:
    return AsyncClient(transport=ASGITransport(service), base_url="http://service")


@pytest.fixture
async def unloaded() -> AsyncIterator[AsyncClient]:
    async with connect(create_service(lambda: None, SETTINGS, ServiceMetrics(CollectorRegistry()))) as client:
        yield client


def row(impression: Impression) -> dict:
    names = ("impression_id", "item_text", "query", "history", "position")
    return {name: getattr(impression, name) for name in names}


def code(response: Response) -> str:
    return response.json()["error"]["code"]


async def test_scores_are_those_of_the_engine_in_the_order_of_the_request(client: AsyncClient, slot: ModelSlot) -> None:
    impressions = [tiny_impression(index) for index in range(8)]
    answer = (await client.post("/score", json={"impressions": [row(impression) for impression in impressions]})).json()
    assert answer["version"] == f"{TINY_LINE}-000000"
    assert [score["impression_id"] for score in answer["scores"]] == [one.impression_id for one in impressions]
    expected = sigmoid(slot.engine.score(impressions).z)
    assert [score["p"] for score in answer["scores"]] == pytest.approx(expected.tolist())


async def test_ranking_asks_every_item_with_one_position_and_returns_the_best_first(
    client: AsyncClient, slot: ModelSlot
) -> None:
    items = [{"item_id": f"i{index}", "item_text": tiny_impression(index).item_text} for index in range(8)]
    answer = (await client.post("/rank", json={"query": "hat", "items": items})).json()
    p = [item["p"] for item in answer["items"]]
    assert answer["reference_position"] == 1
    assert p == sorted(p, reverse=True)
    asked = [tiny_impression(index, query="hat", history=(), position=1) for index in range(8)]
    expected = dict(zip([item["item_id"] for item in items], sigmoid(slot.engine.score(asked).z), strict=True))
    assert {item["item_id"]: item["p"] for item in answer["items"]} == pytest.approx(expected)


async def test_ranking_keeps_the_order_of_equal_items_and_cuts_at_top(client: AsyncClient) -> None:
    items = [{"item_id": f"i{index}", "item_text": "red hat"} for index in range(8)]
    answer = (await client.post("/rank", json={"items": items, "top": 3})).json()
    assert [item["item_id"] for item in answer["items"]] == ["i0", "i1", "i2"]


async def test_an_item_number_comes_before_the_shared_one(client: AsyncClient) -> None:
    items = [
        {"item_id": "own", "item_text": "red hat", "numeric": {"price": 5.0}},
        {"item_id": "shared", "item_text": "red hat"},
    ]
    together = (await client.post("/rank", json={"items": items, "numeric": {"price": 5.0}})).json()
    assert together["items"][0]["p"] == together["items"][1]["p"]


async def test_the_model_is_described(client: AsyncClient) -> None:
    answer = (await client.get("/model")).json()
    assert answer["version"] == f"{TINY_LINE}-000000"
    assert answer["previous"] is None
    assert answer["features"]["numeric"] == ["price"]


async def test_health_does_not_wait_for_a_model_and_readiness_does(client: AsyncClient, unloaded: AsyncClient) -> None:
    assert [(await one.get("/healthz")).status_code for one in (client, unloaded)] == [200, 200]
    assert [(await one.get("/readyz")).status_code for one in (client, unloaded)] == [200, 503]


async def test_without_a_model_nothing_is_scored(unloaded: AsyncClient) -> None:
    response = await unloaded.post("/score", json={"impressions": [{"item_text": "red hat"}]})
    assert (response.status_code, code(response)) == (503, "no_model")
    assert response.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"impressions": []}', b'{"impressions": [{}]}', b'{"impressions": [{"item_text": 1}]}']
)
async def test_a_body_that_is_no_request_is_refused(client: AsyncClient, body: bytes) -> None:
    response = await client.post("/score", content=body)
    assert (response.status_code, code(response)) == (400, "malformed")


async def test_too_many_rows_are_refused(client: AsyncClient) -> None:
    response = await client.post("/score", json={"impressions": [{"item_text": "red hat"}] * 21})
    assert (response.status_code, code(response)) == (413, "too_many_rows")


async def test_too_many_bytes_are_refused(client: AsyncClient) -> None:
    response = await client.post("/score", json={"impressions": [{"item_text": "x" * 30_000}]})
    assert (response.status_code, code(response)) == (413, "too_many_bytes")


@pytest.mark.parametrize(
    ("method", "path", "expected"), [("GET", "/nothing", "not_found"), ("GET", "/score", "method_not_allowed")]
)
async def test_errors_have_one_form(client: AsyncClient, method: str, path: str, expected: str) -> None:
    response = await client.request(method, path)
    assert code(response) == expected
    assert set(response.json()) == {"error"}


async def test_a_failure_inside_tells_the_caller_nothing_of_it(slot: ModelSlot, client: AsyncClient) -> None:
    slot.engine.score = lambda _impressions: 1 / 0
    response = await client.post("/score", json={"impressions": [{"item_text": "red hat"}]})
    assert (response.status_code, code(response)) == (500, "internal")
    assert "zero" not in response.text


async def test_a_score_that_is_not_finite_is_not_given_out(slot: ModelSlot, client: AsyncClient) -> None:
    slot.engine.bundle.model.head.bias.data.fill_(float("nan"))
    response = await client.post("/score", json={"impressions": [{"item_text": "red hat"}]})
    assert (response.status_code, code(response)) == (500, "not_finite")


async def test_requests_are_counted_by_route_and_status(client: AsyncClient, registry: CollectorRegistry) -> None:
    await client.get("/healthz")
    await client.get("/wp-admin")
    assert registry.get_sample_value("millstream_service_requests_total", {"route": "/healthz", "status": "200"}) == 1
    assert registry.get_sample_value("millstream_service_requests_total", {"route": "other", "status": "404"}) == 1


def test_a_taken_port_is_told_with_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"127.0.0.1:{port} .*MILLSTREAM_SERVICE_PORT"):
            listen(ServiceSettings(port=port))


def test_an_address_of_another_machine_is_told_with_its_setting() -> None:
    with pytest.raises(ValueError, match=r"192\.0\.2\.1.*MILLSTREAM_SERVICE_HOST"):
        listen(ServiceSettings(host="192.0.2.1"))


async def test_a_client_that_leaves_is_no_failure_of_the_service(slot: ModelSlot, registry: CollectorRegistry) -> None:
    service = create_service(lambda: LoadedModels(slot), SETTINGS, ServiceMetrics(registry))
    scope = {"type": "http", "method": "POST", "path": "/score", "query_string": b"", "headers": []}
    received = iter([{"type": "http.request", "body": b'{"impr', "more_body": True}])
    sent = []

    async def receive():
        return next(received, {"type": "http.disconnect"})

    async def send(message):
        sent.append(message)

    with capture_logs() as logs:
        await service(scope, receive, send)
    assert logs == []
    requests = {sample.labels["status"]: sample.value for sample in samples(registry, "requests_total", "/score")}
    assert requests == {"200": 0, "499": 1}


def samples(registry: CollectorRegistry, name: str, route: str) -> list[Sample]:
    return [
        sample
        for family in registry.collect()
        for sample in family.samples
        if sample.name == f"millstream_service_{name}" and sample.labels["route"] == route
    ]


@pytest.mark.parametrize(
    ("path", "body", "what"),
    [
        ("/score", {"impressions": [{"item_text": "hat", "querry": "red"}]}, r"querry.*impressions\[0\].*mean query"),
        ("/score", {"rows": [{"item_text": "hat"}]}, "rows"),
        (
            "/score",
            {"impressions": [{"item_text": "hat", "served": {"model_version": "v", "score": 0.5, "scor": 1}}]},
            "scor.*served.*mean score",
        ),
        ("/rank", {"items": [{"item_id": "a", "item_text": "hat"}], "topp": 1}, "topp.*mean top"),
        ("/rank", {"items": [{"item_id": "a", "item_text": "hat", "text": "x"}]}, "text.*mean item_text"),
    ],
)
async def test_a_field_that_nobody_reads_is_refused_with_the_nearest_name(
    client: AsyncClient, path: str, body: dict, what: str
) -> None:
    response = await client.post(path, json=body)
    assert (response.status_code, code(response)) == (422, "unknown_field")
    assert re.search(what, response.json()["error"]["message"])


async def test_a_whole_impression_may_be_sent_to_be_scored(client: AsyncClient) -> None:
    body = b'{"impressions":[' + encode(tiny_impression(1)) + b"]}"
    assert (await client.post("/score", content=body)).status_code == 200
    assert set(Impression.__struct_encode_fields__) <= set(ScoreRow.__struct_encode_fields__)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_before_the_server_listens_for_it_ends_it(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = uvicorn.Server.run

    def told_at_once(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        os.kill(os.getpid(), number)
        run(server, sockets)

    monkeypatch.setattr(uvicorn.Server, "run", told_at_once)
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        serve_until_told(FastAPI(), listen(SETTINGS.model_copy(update={"port": 0})), 1)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
