"""The ladder: what serves lies between the version that never learns on and the newest weights, where the stream says.

Three steps: the anchor, which is the frozen version; steady, a running average of the weights over the last updates
(Polyak and Juditsky 1992); and the newest weights. One pass over a stream leaves weights noisy, and their average beats
them by more than any importance strategy gains; but after a turn of tastes it lags behind. So the rows of each update,
before anything learns them, say how much each step is to be believed: exponential weights with fixed share (Herbster
and Warmuth 1998), which lose little to the best step of each stretch of the stream, whenever it changes. The served
weights are the steps' mean by these shares: one set of weights, as in model soups (Wortsman et al. 2022) and WiSE-FT.
The average goes on from what is believed of it and the newest weights: after a turn, what was averaged before is gone.

They say so before the gate judges on the same rows, since after a turn every update counts. No weight learns from the
choice, and no step's share is ever below a hundredth, so the log loss of a mixture that has chosen on these rows can
flatter it by ln 100 = 4.6 nats over all of them at most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scorer.engine.engine import forward_rows
from scorer.measures.log_loss import row_log_loss
from scorer.model.bundle import ModelBundle
from scorer.model.features import EncodedRow
from scorer.registry.registry import copy_with_shared_tensors
from trainer.settings import TrainerSettings

Doubles = npt.NDArray[np.float64]
Step = Literal["anchor", "steady", "newest"]
STEPS: tuple[Step, ...] = get_args(Step)

SWITCHING = 0.02
"""Probability, in the model of fixed share, that another step is the best one from an update to the next."""

ROWS_WORTH = 4.0
"""How much the log loss of a drawn row counts. Spread evenly, 32 rows tell the average and the newest weights apart
with about half the standard error of 32 random ones: as well as four times as many."""

Shares = dict[str, float]
"""How much each step is believed, by name; they sum to 1."""

Weights = Mapping[str, Tensor]
"""Trained tensors by name."""


@dataclass(frozen=True)
class DrawnRows:
    """Some rows of an update that stand for all of them.

    Attributes:
        index: Their places, [N].
        weight: How many rows each stands for, with mean 1, [N].
    """

    index: npt.NDArray[np.int64]
    weight: Doubles


def drawn_rows(label: npt.ArrayLike, z_live: npt.ArrayLike, num_rows: int, random: np.random.Generator) -> DrawnRows:
    """Draw rows by label, as many clicked as not if there are so many: clicks are few and say the most.

    Of each label, rows at equal distances in the order of what the live version said of them, from a random one on
    (systematic sampling, Madow and Madow 1944): where steps differ, they differ by how high they score what was live.

    Args:
        label: 1 clicked, 0 not, shape [N].
        z_live: Logits of the version that was live when the rows were scored, [N].
        num_rows: How many to draw at most.
        random: Draws.
    """
    clicked, z = np.asarray(label) == 1, np.asarray(z_live)
    index: list[npt.NDArray[np.int64]] = []
    weight: list[Doubles] = []
    classes = [np.flatnonzero(clicked), np.flatnonzero(~clicked)]
    for rows, others in zip(classes, reversed(classes), strict=True):
        wanted = min(len(rows), max(num_rows // 2, num_rows - len(others)))
        if wanted:
            place = ((np.arange(wanted) + random.random()) * len(rows) / wanted).astype(np.int64)
            index.append(rows[np.argsort(z[rows], kind="stable")][np.minimum(place, len(rows) - 1)])
            weight.append(np.full(wanted, len(rows) / wanted))
    drawn_weight = np.concatenate(weight) if weight else np.zeros(0)
    return DrawnRows(
        np.concatenate(index) if index else np.zeros(0, dtype=np.int64),
        drawn_weight / drawn_weight.mean() if len(drawn_weight) else drawn_weight,
    )


def fixed_share(share: Doubles, loss: Doubles) -> Doubles:
    """Return the shares after an update, by the losses of the steps on its rows.

    From equal shares, the sum over T updates of the mixture's loss -ln(sum_k share_k exp(-loss_k)) exceeds that of any
    sequence of steps with m changes by at most ln K + m ln((K - 1) / a) + (T - 1 - m) ln(1 / (1 - a)), where a is
    SWITCHING; for one row of an update that is the log loss of the mean of the steps' probabilities.

    Args:
        share: Before it, [K], at least two steps.
        loss: Log loss of each step, summed over the rows, in nats, [K].
    """
    # From the best of those that are believed at all: from a better one, all others might underflow to 0.
    posterior = share * np.exp(np.minimum(0.0, loss[share > 0].min() - loss))
    posterior /= posterior.sum()
    return np.asarray((1 - SWITCHING) * posterior + SWITCHING * (1 - posterior) / (len(share) - 1))


class Ladder:
    """The steps, their shares, and the weights that these make.

    Args:
        bundle: A bundle of the line, whose model learns on; what serves is a copy.
        anchor: The frozen version; None leaves this step out.
        settings: How long the average is, and how many rows choose.
    """

    def __init__(self, bundle: ModelBundle, anchor: ModelBundle | None, settings: TrainerSettings) -> None:
        self._served = replace(bundle, model=copy_with_shared_tensors(bundle.model).eval())
        self._parameters = self._served.model.trainable_parameters()
        self._newest = bundle.model.trainable_parameters()
        self._steady = {name: tensor.detach().clone() for name, tensor in self._newest.items()}
        self._steps: dict[str, Weights] = {"steady": self._steady, "newest": self._newest}
        if anchor is not None:
            self._steps = {"anchor": anchor.model.trainable_parameters(), **self._steps}
        self._settings = settings
        self.shares: Shares = {}
        self.restart()

    def restart(self) -> None:
        """Begin again from the newest weights: their average is they, and what would serve is they."""
        for name, average in self._steady.items():
            average.copy_(self._newest[name].detach())
        self.shares = self._first_shares()
        self._compose()

    def candidate(self, bundle: ModelBundle) -> ModelBundle:
        """Return a bundle of the line with the weights that would serve."""
        return replace(bundle, model=self._served.model)

    def is_finite(self) -> bool:
        """Return whether every weight that would serve is finite."""
        return all(bool(parameter.isfinite().all()) for parameter in self._parameters.values())

    def look(
        self, bundle: ModelBundle, rows: Sequence[EncodedRow], label: Sequence[int], z_live: Sequence[float], seed: int
    ) -> int:
        """Let rows that nothing has learned say how much each step is believed, and make what would serve anew.

        Returns:
            Rows of the forward passes that this took.
        """
        if len(self.shares) < 2:
            return 0
        drawn = drawn_rows(label, z_live, self._settings.ladder_rows, np.random.default_rng(seed))
        chosen, drawn_label = [rows[index] for index in drawn.index], np.asarray(label)[drawn.index]
        losses = []
        try:
            for step in self.shares:
                self._set(self._steps[step])
                z, _ = forward_rows(self.candidate(bundle), chosen, max_batch_tokens=self._settings.judge_batch_tokens)
                if not np.isfinite(z).all():
                    return 0
                losses.append(ROWS_WORTH * float(drawn.weight @ row_log_loss(z, drawn_label)))
            share = fixed_share(np.array(list(self.shares.values())), np.array(losses))
            self.shares = dict(zip(self.shares, share.tolist(), strict=True))
            return len(chosen) * len(losses)
        finally:
            self._compose()

    def follow(self, num_updates: float) -> None:
        """Let the average go on, from what is believed of it and the newest weights, to these, which have learned.

        Args:
            num_updates: How many updates of the usual size they learned; less than 1 for a small one.
        """
        kept = (1 - 1 / self._settings.steady_updates) ** num_updates
        anchored = self.shares.get("anchor", 0.0)
        for name, average in self._steady.items():
            believed = self._parameters[name].detach()
            if anchored:
                # Without the anchor's part: what never learns is a step of its own.
                believed = believed.lerp(self._steps["anchor"][name].detach(), -anchored / (1 - anchored))
            torch.lerp(believed, self._newest[name].detach(), 1 - kept, out=average)
        self._compose()

    def tensors(self) -> dict[str, Tensor]:
        """Return the average by names that `restore` takes; views, not copies."""
        return {f"steady/{name}": tensor for name, tensor in self._steady.items()}

    def restore(self, tensors: Weights, shares: Mapping[str, float]) -> None:
        """Take over average and shares; a checkpoint of an older release has none, and begins with its weights."""
        self.restart()
        if not all(f"steady/{name}" in tensors for name in self._steady):
            return
        for name, average in self._steady.items():
            average.copy_(tensors[f"steady/{name}"])
        if shares.keys() == self.shares.keys():
            self.shares = {step: shares[step] for step in self.shares}
        self._compose()

    def _first_shares(self) -> Shares:
        if not self._settings.ladder_rows:
            return {"newest": 1.0}
        first: Shares = {"anchor": 0.0, "steady": 0.5, "newest": 0.5}
        return {step: first[step] for step in self._steps}

    def _compose(self) -> None:
        self._set(self._newest)
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                for step, share in self.shares.items():
                    # By differences: where all steps are equal, as after a restart, nothing is rounded.
                    parameter.add_(self._steps[step][name] - self._newest[name], alpha=share)

    def _set(self, weights: Weights) -> None:
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(weights[name])
