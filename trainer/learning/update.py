"""One update: a fixed set of weighted rows, shuffled by a seed, learned in small AdamW steps.

Shape legend: B rows of a batch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from scorer.engine.engine import arithmetic
from scorer.model.batch import collate
from scorer.model.ctr_bert import CtrBert
from scorer.model.features import EncodedRow
from scorer.model.numeric_statistics import NumericStatistics
from scorer.model.settings import Precision
from trainer.learning.loss import weighted_log_loss
from trainer.settings import TrainerSettings

_BUCKET_BATCHES = 8
"""Batches whose rows are sorted by length together: enough to save most padding, few enough to stay well mixed."""


@dataclass(frozen=True, slots=True)
class LearningRow:
    """One row as the loss sees it."""

    encoded: EncodedRow
    label: int
    weight: float
    logit_offset: float


@dataclass(frozen=True)
class UpdateReport:
    """What an update did.

    Attributes:
        num_steps: Optimizer steps taken.
        mean_loss: Mean weighted loss of the batches that were learned, in nats; NaN when none was.
        refused: Indices of rows whose batch had a loss or gradient that is not finite; nothing learned them.
        num_refused_losses: Batches refused for their loss.
        num_refused_gradients: Batches refused for their gradient.
    """

    num_steps: int
    mean_loss: float
    refused: frozenset[int]
    num_refused_losses: int
    num_refused_gradients: int


class Learner:
    """The weights that learn and their optimizer: AdamW with decoupled weight decay (Loshchilov and Hutter 2019).

    The optimizer goes on across updates. Everything random in an update is drawn from the update's own seed, so no
    generator state has to be carried from one update, or one process, to the next.

    Args:
        model: The model; its trainable parameters are changed in place.
        settings: Learning rates, batch size, clipping.
        precision: Arithmetic of the model line.
        num_steps: Steps this model line has taken so far: the warm-up happens once.
    """

    def __init__(self, model: CtrBert, settings: TrainerSettings, precision: Precision, *, num_steps: int = 0) -> None:
        self._model = model
        self._settings = settings
        self._precision = precision
        self._parameters = model.trainable_parameters()
        self.num_steps = num_steps
        self._optimizer = self._fresh_optimizer()

    def learn(self, rows: Sequence[LearningRow], statistics: NumericStatistics, seed: int) -> UpdateReport:
        """Learn every row once, in batches of about `batch_rows`, and report.

        A batch whose loss or gradient is not finite never reaches the optimizer.
        """
        torch.manual_seed(seed)
        self._model.train()
        losses: list[float] = []
        refused: set[int] = set()
        num_refused = {"loss": 0, "gradient": 0}
        for indices in shuffled_batches([len(row.encoded.ids) for row in rows], self._settings.batch_rows, seed):
            loss, trouble = self._step([rows[index] for index in indices], statistics)
            if trouble is None:
                losses.append(loss)
            else:
                num_refused[trouble] += 1
                refused.update(indices)
        self._model.eval()
        return UpdateReport(
            num_steps=len(losses),
            mean_loss=sum(losses) / len(losses) if losses else math.nan,
            refused=frozenset(refused),
            num_refused_losses=num_refused["loss"],
            num_refused_gradients=num_refused["gradient"],
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return weights and optimizer state, by names that `restore` takes; views, not copies."""
        tensors = {f"weights/{name}": parameter.detach() for name, parameter in self._parameters.items()}
        for name, parameter in self._parameters.items():
            for key, value in self._optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{key}/{name}"] = value
        return tensors

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over weights and, where present, optimizer state.

        Raises:
            ValueError: the tensors are not those of this model.
        """
        wanted = {f"weights/{name}" for name in self._parameters}
        found = {name for name in tensors if name.startswith("weights/")}
        if wanted != found:
            message = f"the weights are of another model: {sorted(wanted ^ found)[:3]} differ; start a new model line"
            raise ValueError(message)
        self._optimizer = self._fresh_optimizer()
        for name, parameter in self._parameters.items():
            with torch.no_grad():
                parameter.copy_(tensors[f"weights/{name}"])
            state = {
                key: tensors[f"optimizer/{key}/{name}"].to(parameter.device, copy=True)
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"optimizer/{key}/{name}" in tensors
            }
            if state:
                self._optimizer.state[parameter] = state

    def _step(self, rows: Sequence[LearningRow], statistics: NumericStatistics) -> tuple[float, str | None]:
        device = self._model.head.weight.device
        batch = collate([row.encoded for row in rows], statistics, device)
        columns = np.array([(row.label, row.weight, row.logit_offset) for row in rows], dtype=np.float32)
        label_B, weight_B, logit_offset_B = torch.from_numpy(columns).to(device).unbind(dim=1)
        with arithmetic(device, self._precision):
            z_B = self._model(batch).z_B
        loss = weighted_log_loss(z_B, label_B, weight_B, logit_offset_B)
        loss_value = loss.detach().item()
        if not math.isfinite(loss_value):
            return loss_value, "loss"
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._parameters.values(), self._settings.max_gradient_norm)
        trouble = None if math.isfinite(float(norm)) else "gradient"
        if trouble is None:
            self._set_learning_rates()
            self._optimizer.step()
            self.num_steps += 1
        self._optimizer.zero_grad(set_to_none=True)
        return loss_value, trouble

    def _set_learning_rates(self) -> None:
        factor = learning_rate_factor(self.num_steps, self._settings)
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def _fresh_optimizer(self) -> torch.optim.AdamW:
        settings = self._settings
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self._parameters.items():
            rate = settings.encoder_learning_rate if name.startswith("bert.") else settings.head_learning_rate
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
        return torch.optim.AdamW(
            [
                {"params": parameters, "lr": rate, "initial_lr": rate, "weight_decay": decay}
                for (rate, decay), parameters in groups.items()
            ],
            fused=True,
        )


def learning_rate_factor(step: int, settings: TrainerSettings) -> float:
    """Return what the learning rates are multiplied with at a step of the line's life, from 0."""
    if step < settings.warmup_steps:
        return (step + 1) / (settings.warmup_steps + 1)
    if settings.schedule == "inverse_sqrt":
        return math.sqrt(max(1, settings.warmup_steps) / max(1, step))
    return 1.0


def shuffled_batches(lengths: Sequence[int], batch_rows: int, seed: int) -> list[list[int]]:
    """Return batches of row indices: every row once, order drawn from the seed, rows of similar length together.

    Batches are of nearly equal size, at most half more than `batch_rows`: a last batch of one row would be a full step
    on one row.
    """
    if not lengths:
        return []
    random = np.random.default_rng(seed)
    num_batches = max(1, round(len(lengths) / batch_rows))
    order = random.permutation(len(lengths))
    length_N = np.asarray(lengths)
    batches: list[list[int]] = []
    for start in range(0, num_batches, _BUCKET_BATCHES):
        stop = min(start + _BUCKET_BATCHES, num_batches)
        bucket = order[start * len(order) // num_batches : stop * len(order) // num_batches]
        bucket = bucket[np.argsort(length_N[bucket], kind="stable")]
        batches += [batch.tolist() for batch in np.array_split(bucket, stop - start)]
    return [batches[index] for index in random.permutation(len(batches))]
