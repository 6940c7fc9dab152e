"""The HTTP service: scores and ranks with the live version, and switches versions like the scorer."""

import signal
import socket
import time
from collections.abc import MutableMapping
from typing import Any, TypeVar

import msgspec
import numpy as np
import structlog
import uvicorn
from fastapi import FastAPI, Request, Response
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from scorer.live.first_champion import FirstChampion
from scorer.live.live_models import LiveModels
from scorer.live.release_loader import ReleaseLoader
from scorer.measures.log_loss import sigmoid
from scorer.model.settings import ModelSettings
from scorer.serving.messages import RankRequest, ScoreRequest, candidates, request_schema, unknown_field
from scorer.serving.metrics import ROUTES, ServiceMetrics
from scorer.serving.scoring_desk import ModelSource, RefusedError, ScoringDesk
from scorer.serving.settings import ServiceSettings
from scorer.settings import ScorerSettings
from stream.cluster.releases import ReleaseFollower
from stream.codec import UndecodableError, from_json
from stream.process.exposition import listening_setting
from stream.process.start import Process
from stream.settings import KafkaSettings

CLIENT_GONE = 499
"""Status, as nginx counts it, of a request whose client left before its answer: nobody's failure."""

Message = TypeVar("Message", bound=Struct)


def create_service(models: ModelSource, settings: ServiceSettings, metrics: ServiceMetrics) -> FastAPI:
    """Return the application; every error is JSON, with a code for programs and a message for people.

    Args:
        models: Gives the live models.
        settings: Limits and the reference position.
        metrics: What to count in.
    """
    # The documentation pages would load scripts from elsewhere; /openapi.json is enough for tools.
    app = FastAPI(title="Millstream", docs_url=None, redoc_url=None)
    desk = ScoringDesk(models, settings, metrics)

    _add_scoring(app, desk, settings)
    _add_state(app, desk)
    _add_errors(app)
    app.add_middleware(RequestCounting, metrics=metrics)
    return app


def run(process: Process) -> None:
    """Run the service until it is told to stop; it answers 503 until the first champion is loaded.

    Raises:
        ValueError: a setting is wrong.
        ReleasesUnavailableError: the topics do not exist.
    """
    settings = ServiceSettings()
    listener = listen(settings)
    metrics = ServiceMetrics(process.registry)
    process.show_metrics()
    loader = ReleaseLoader(ModelSettings())
    follower = ReleaseFollower(KafkaSettings(), metrics.model.unusable_releases.inc)
    # The frozen version is for the evaluator's comparison; nobody is served by it.
    scorer = ScorerSettings(frozen_share=0.0)
    known = follower.catch_up()

    def wait() -> LiveModels:
        bundle, releases = loader.wait_for_champion(follower, known)
        return LiveModels(bundle, follower, releases, loader=loader, settings=scorer, metrics=metrics.model)

    with FirstChampion(wait).following() as first:
        serve_until_told(create_service(lambda: first.models, settings, metrics), listener, settings.drain_seconds)


def serve_until_told(app: FastAPI, listener: socket.socket, drain_seconds: int) -> None:
    """Answer requests until SIGTERM or SIGINT, then finish those under way, for at most so many seconds."""
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=drain_seconds)
    server = uvicorn.Server(config)

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn listens for these only once it runs, and raises them again afterwards for whoever listened before: a
    # signal in between must not be lost, and one after the end must not end us.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server.run([listener])


def listen(settings: ServiceSettings) -> socket.socket:
    """Return the socket of the service: bound before anything slow, so that a taken port is told at once.

    Raises:
        ValueError: it cannot be bound.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        message = (
            f"the service cannot listen on {settings.host}:{settings.port} ({error.strerror}); "
            f"set {listening_setting('MILLSTREAM_SERVICE', error)}"
        )
        raise ValueError(message) from error


async def _decode(request: Request, message: type[Message], settings: ServiceSettings) -> Message:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > settings.max_body_bytes:
            text = f"the request has more than {settings.max_body_bytes} bytes; split it"
            raise RefusedError(413, "too_many_bytes", text)
    try:
        return from_json(bytes(body), message, "what this route reads", "the body")
    except UndecodableError as error:
        if unknown := unknown_field(str(error)):
            raise RefusedError(422, "unknown_field", unknown) from error
        raise RefusedError(400, "malformed", str(error)) from error


def _json(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")


def _error(status: int, code: str, message: str) -> Response:
    headers = {"Retry-After": "1"} if status == 503 else None
    return _json({"error": {"code": code, "message": message}}, status, headers)


def _add_scoring(app: FastAPI, desk: ScoringDesk, settings: ServiceSettings) -> None:
    @app.post("/score", openapi_extra=request_schema(ScoreRequest))
    async def score(request: Request) -> Response:
        """Score rows; the response keeps their order."""
        body = await _decode(request, ScoreRequest, settings)
        desk.check_rows(len(body.impressions))
        scored = await desk.score(request, body.impressions)
        found = zip(body.impressions, sigmoid(scored.z).tolist(), strict=True)
        scores = [{"impression_id": row.impression_id, "p": p} for row, p in found]
        return _json({"version": scored.version, "scores": scores})

    @app.post("/rank", openapi_extra=request_schema(RankRequest))
    async def rank(request: Request) -> Response:
        """Rank items for one query and user, best first; equal scores keep the order of the request."""
        body = await _decode(request, RankRequest, settings)
        desk.check_rows(len(body.items))
        scored = await desk.score(request, candidates(body, settings.reference_position))
        p = sigmoid(scored.z)
        best = np.argsort(-scored.z, kind="stable")[: body.top]
        items = [{"item_id": body.items[index].item_id, "p": float(p[index])} for index in best.tolist()]
        return _json({"version": scored.version, "reference_position": settings.reference_position, "items": items})


def _add_state(app: FastAPI, desk: ScoringDesk) -> None:
    @app.get("/healthz")
    async def healthz() -> Response:
        """Say that the process answers."""
        return _json({"status": "ok"})

    @app.get("/readyz")
    async def readyz() -> Response:
        """Say whether a version is loaded."""
        return _json({"status": "ready", "version": desk.ready().version})

    @app.get("/model")
    async def model() -> Response:
        """Describe the version that serves."""
        slot = desk.ready().slot
        bundle, previous = slot.engine.bundle, slot.previous
        return _json(
            {
                "version": bundle.version,
                "previous": previous.bundle.version if previous else None,
                "precision": bundle.precision,
                "features": bundle.featurizer.spec,
            }
        )


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RefusedError)
    async def refused(_request: Request, error: RefusedError) -> Response:
        return _error(error.status, error.code, str(error))

    @app.exception_handler(ClientDisconnect)
    async def client_gone(_request: Request, _gone: ClientDisconnect) -> Response:
        # Nobody reads it; it is counted.
        return _error(CLIENT_GONE, "client_gone", "the client left before its request was answered")

    @app.exception_handler(HTTPException)
    async def http_error(_request: Request, error: HTTPException) -> Response:
        codes = {404: "not_found", 405: "method_not_allowed"}
        return _error(error.status_code, codes.get(error.status_code, "http_error"), str(error.detail))


class RequestCounting:
    """Counts every request by route and status, and answers where the application failed.

    It stands on the bare protocol: what Starlette's own middleware wraps cannot tell that the client has left.

    Args:
        app: The application.
        metrics: What to count in.
    """

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route = scope["path"] if scope["path"] in ROUTES else "other"
        started = time.perf_counter()
        status = 0

        async def send_on(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except Exception as error:  # noqa: BLE001 (the caller learns nothing of our insides; the log does)
            structlog.get_logger(__name__).error("request_failed", route=route, message=str(error), exc_info=error)
            await _error(500, "internal", "the service failed; its log says why")(scope, receive, send_on)
        self._metrics.request_seconds.labels(route).observe(time.perf_counter() - started)
        self._metrics.requests.labels(route, str(status)).inc()
