"""A batch: encoded rows side by side, as tensors on the model's device."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scorer.model.features import EncodedRow
from scorer.model.numeric_statistics import NumericStatistics


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as the model reads them (B rows, T tokens, F numeric features).

    Attributes:
        ids_BT: Token ids, int64, padded with 0.
        mask_BT: True where there is a token.
        position_B: List position, int64.
        numeric_BF: Standardised values and missing flags, float32 [B, 2F].
    """

    ids_BT: Tensor
    mask_BT: Tensor
    position_B: Tensor
    numeric_BF: Tensor


def collate(rows: Sequence[EncodedRow], statistics: NumericStatistics, device: torch.device | str = "cpu") -> Batch:
    """Return the rows as one padded batch on the device, numeric features standardised by the statistics."""
    longest = max(len(row.ids) for row in rows)
    ids_BT = np.zeros((len(rows), longest), dtype=np.int64)
    lengths_B = np.array([len(row.ids) for row in rows])
    mask_BT = np.arange(longest) < lengths_B[:, None]
    ids_BT[mask_BT] = np.concatenate([row.ids for row in rows])
    position_B = np.array([row.position for row in rows], dtype=np.int64)
    numeric_BF = statistics.standardise(rows)
    return Batch(
        ids_BT=torch.from_numpy(ids_BT).to(device),
        mask_BT=torch.from_numpy(mask_BT).to(device),
        position_B=torch.from_numpy(position_B).to(device),
        numeric_BF=torch.from_numpy(numeric_BF).to(device),
    )
