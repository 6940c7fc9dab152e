"""The one desk at which every route that scores asks for it, whatever its dialect."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from starlette.requests import ClientDisconnect, Request

from scorer.engine.engine import ScoredBatch
from scorer.live.live_models import LiveModels
from scorer.model.model_input import ModelInput
from scorer.serving.metrics import ServiceMetrics
from scorer.serving.settings import ServiceSettings

ModelSource = Callable[[], LiveModels | None]
"""Gives the live models, or None before the first champion is loaded."""


class RefusedError(Exception):
    """A request that is not answered with a result."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class ScoringDesk:
    """Takes requests one after the other to the model, in a thread of its own, and refuses what is too much.

    Args:
        models: Gives the live models.
        settings: Limits.
        metrics: What to count in.
    """

    def __init__(self, models: ModelSource, settings: ServiceSettings, metrics: ServiceMetrics) -> None:
        self._models = models
        self._settings = settings
        self._metrics = metrics
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scoring")
        self._num_in_flight = 0

    def ready(self) -> LiveModels:
        """Return the live models.

        Raises:
            RefusedError: there are none yet.
        """
        models = self._models()
        if models is None:
            raise RefusedError(503, "no_model", "no version is loaded yet; see /readyz")
        return models

    def check_rows(self, num_rows: int) -> None:
        """Refuse a request of too many rows."""
        if num_rows > self._settings.max_rows:
            message = f"the request has {num_rows} rows, more than {self._settings.max_rows}; split it"
            raise RefusedError(413, "too_many_rows", message)

    async def score(self, request: Request, rows: Sequence[ModelInput]) -> ScoredBatch:
        """Return the scores, all by one version.

        Raises:
            ClientDisconnect: the client left while its rows were scored.
            RefusedError: there is no model yet, the service is busy, or the model gave a score that is not finite.
        """
        engine = self.ready().roles.live
        if self._num_in_flight >= self._settings.max_concurrent:
            raise RefusedError(503, "busy", f"{self._num_in_flight} requests are being scored; try again later")
        self._count(1)
        try:
            scored = await asyncio.get_running_loop().run_in_executor(self._executor, engine.score, rows)
        finally:
            self._count(-1)
        if not np.isfinite(scored.z).all():
            raise RefusedError(500, "not_finite", f"version {scored.version} gave a score that is not finite")
        self._metrics.rows.inc(len(rows))
        read = set(engine.bundle.featurizer.spec.numeric)
        self._metrics.unread_numeric_rows.inc(sum(not row.numeric.keys() <= read for row in rows))
        if await request.is_disconnected():
            raise ClientDisconnect
        return scored

    def _count(self, change: int) -> None:
        self._num_in_flight += change
        self._metrics.in_flight.set(self._num_in_flight)
