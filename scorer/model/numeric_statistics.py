"""Running statistics of the numeric features, which standardise what the model reads."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from scorer.model.features import EncodedRow, Floats

Doubles = npt.NDArray[np.float64]


class NumericStatistics:
    """Running mean and variance of every numeric feature (Welford 1962), and how they clean a value.

    - Missing, NaN or infinite: value 0 (the mean) and missing flag 1.
    - Otherwise: (value - mean) / standard deviation, clipped to `MAX_SIGMA` on both sides, and flag 0. A feature that
      has not varied yet is divided by 1; one seen less than twice reads 0.
    - One wild value cannot spoil the statistics: after `TRUSTED_ROWS` rows a value joins them clipped to the same
      bounds.

    Only the trainer calls `update`; every version carries a copy.

    Args:
        names: Of the features, in the order of the rows' numbers.
    """

    MAX_SIGMA = 5.0
    TRUSTED_ROWS = 100

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._count_F, self._mean_F, self._squares_F = np.zeros((3, len(self.names)))

    def update(self, rows: Sequence[EncodedRow]) -> None:
        """Learn from the rows, in order."""
        for row in rows:
            value_F = row.numeric.astype(np.float64)
            seen_F = np.isfinite(value_F)
            reach_F = np.where(self._count_F < self.TRUSTED_ROWS, np.inf, self.MAX_SIGMA * self._scale_F())
            value_F = np.clip(value_F, self._mean_F - reach_F, self._mean_F + reach_F)
            before_F = np.where(seen_F, value_F - self._mean_F, 0.0)
            self._count_F += seen_F
            self._mean_F += 1.0 / np.maximum(self._count_F, 1.0) * before_F
            self._squares_F += before_F * np.where(seen_F, value_F - self._mean_F, 0.0)

    def standardise(self, rows: Sequence[EncodedRow]) -> Floats:
        """Return the cleaned values and the missing flags, float32 [B, 2F]."""
        raw_BF = np.array([row.numeric for row in rows], dtype=np.float64).reshape(len(rows), len(self.names))
        missing_BF = ~np.isfinite(raw_BF)
        values_BF = np.clip((raw_BF - self._mean_F) / self._scale_F(), -self.MAX_SIGMA, self.MAX_SIGMA)
        values_BF = np.where(missing_BF | (self._count_F < 2), 0.0, values_BF)
        return np.concatenate([values_BF, missing_BF], axis=1, dtype=np.float32)

    def to_json(self) -> dict[str, dict[str, float]]:
        """Return the statistics by name, in the order of the features.

        They are the running sums, not the variance: learning on from them gives the same bits as never having stopped.
        """
        sums = zip(self.names, self._count_F.tolist(), self._mean_F.tolist(), self._squares_F.tolist(), strict=True)
        return {name: {"count": count, "mean": mean, "squares": squares} for name, count, mean, squares in sums}

    @classmethod
    def from_json(
        cls, state: Mapping[str, Mapping[str, float]], names: Sequence[str], *, by_position: bool = False
    ) -> "NumericStatistics":
        """Return the statistics that `to_json` gave.

        Args:
            state: What it gave, in whatever order it was kept.
            names: Of the features, in the order of the rows' numbers.
            by_position: Take the entries in their order and not by name, as the first releases did: where their names
                are not in the order of the features, the names lie.

        Raises:
            ValueError: the statistics are of other features.
        """
        if set(state) != set(names):
            message = f"the statistics are of the features {sorted(state)}, the model reads {sorted(names)}"
            raise ValueError(message)
        statistics = cls(names)
        entries = state.values() if by_position else [state[name] for name in statistics.names]
        for feature, entry in enumerate(entries):
            statistics._count_F[feature] = entry["count"]
            statistics._mean_F[feature] = entry["mean"]
            statistics._squares_F[feature] = entry["squares"]
        return statistics

    def _scale_F(self) -> Doubles:  # noqa: N802 (a shape)
        scale_F = np.sqrt(self._squares_F / np.maximum(self._count_F, 1.0))
        return np.where(scale_F > 0, scale_F, 1.0)
