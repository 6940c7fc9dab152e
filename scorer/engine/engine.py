"""The engine: one model on one device, scoring any number of rows under exactly one version."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scorer.engine.averaged_heads import AveragedHeads
from scorer.engine.batching import plan_micro_batches
from scorer.model.batch import collate
from scorer.model.bundle import ModelBundle
from scorer.model.features import EncodedRow
from scorer.model.model_input import ModelInput
from scorer.model.settings import Precision
from scorer.settings import ScorerSettings

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """What one version says about some rows, in their order.

    Attributes:
        z: Logit of a click, float64 [B].
        averaged_z: Mean logit of the heads of the last versions, float64 [B]; `z` itself where only one is kept. For
            importance scores alone: no version ever served it.
        hidden_norm: L2 norm of the head's input, float64 [B].
        version: The one version that made all of it.
        num_tokens: Tokens scored, padding not counted.
        num_unknown: How many of them were unknown to the tokenizer.
    """

    z: Doubles
    averaged_z: Doubles
    hidden_norm: Doubles
    version: str
    num_tokens: int
    num_unknown: int


def forward_rows(
    bundle: ModelBundle, rows: Sequence[EncodedRow], *, max_batch_tokens: int, precision: Precision | None = None
) -> tuple[Doubles, Doubles]:
    """Return z and the norm of the head's input of every row, in order; nothing learns and nothing is drawn.

    Args:
        bundle: Model and statistics. The model must be in eval mode.
        rows: Encoded inputs.
        max_batch_tokens: Tokens of one forward pass, padding included.
        precision: Arithmetic; the bundle's own by default.
    """
    z, _, hidden_norm = _forward(bundle, rows, AveragedHeads(1), max_batch_tokens, precision or bundle.precision)
    return z, hidden_norm


def _forward(
    bundle: ModelBundle, rows: Sequence[EncodedRow], heads: AveragedHeads, max_batch_tokens: int, precision: Precision
) -> tuple[Doubles, Doubles, Doubles]:
    """Return z, averaged z and the norm of the head's input of every row, in order."""
    z, averaged_z, hidden_norm = np.empty((3, len(rows)))
    device = bundle.model.head.weight.device
    with torch.inference_mode(), arithmetic(device, precision):
        for indices in plan_micro_batches([len(row.ids) for row in rows], max_batch_tokens):
            batch = collate([rows[index] for index in indices], bundle.statistics, device)
            scores = bundle.model(batch)
            mean_z_B = heads.z(scores.h_BD, batch.position_B)
            z[indices] = scores.z_B.double().cpu().numpy()
            averaged_z[indices] = z[indices] if mean_z_B is None else mean_z_B.double().cpu().numpy()
            hidden_norm[indices] = scores.h_BD.double().norm(dim=1).cpu().numpy()
    return z, averaged_z, hidden_norm


def arithmetic(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Return the context in which the encoder computes: bf16 matrix products under autocast, or plain fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


class Engine:
    """Scores rows with one model; a swap waits for the call that runs, and the next call waits for the swap.

    Args:
        bundle: The version to serve, its model already on its device and in eval mode.
        settings: `max_batch_tokens` bounds one forward pass; `averaged_heads` says how many versions' heads give
            `averaged_z`.
    """

    def __init__(self, bundle: ModelBundle, settings: ScorerSettings) -> None:
        self.bundle = bundle
        self._heads = AveragedHeads(settings.averaged_heads)
        self._heads.remember(bundle.version, bundle.model)
        self._max_batch_tokens = settings.max_batch_tokens
        self._lock = Lock()

    def replace(self, bundle: ModelBundle, tensors: Mapping[str, Tensor]) -> None:
        """Make a version the one that serves, between two calls of `score`.

        Args:
            bundle: The new version around the model that is already here.
            tensors: Its tensors, copied into the live ones in place: whatever holds their addresses (a captured graph,
                a compiled model) goes on working.
        """
        live = self.bundle.model.state_dict()
        with self._lock, torch.no_grad():
            for name, tensor in tensors.items():
                live[name].copy_(tensor)
            self.bundle = bundle
            self._heads.remember(bundle.version, bundle.model)

    @property
    def version(self) -> str:
        """The version that the next call will use."""
        return self.bundle.version

    def score(self, inputs: Sequence[ModelInput]) -> ScoredBatch:
        """Return the scores in the order of the inputs, all by one version."""
        return self.score_rows(self.bundle.featurizer.encode(inputs))

    def score_rows(self, rows: Sequence[EncodedRow]) -> ScoredBatch:
        """Return the scores of rows that the same featurizer encoded."""
        with self._lock:
            version = self.bundle.version
            z, averaged_z, hidden_norm = _forward(
                self.bundle, rows, self._heads, self._max_batch_tokens, self.bundle.precision
            )
        return ScoredBatch(
            z=z,
            averaged_z=averaged_z,
            hidden_norm=hidden_norm,
            version=version,
            num_tokens=sum(len(row.ids) for row in rows),
            num_unknown=sum(row.num_unknown for row in rows),
        )
