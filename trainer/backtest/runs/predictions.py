"""What was said of every row before anything learned from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Doubles = npt.NDArray[np.float64]

_FIELDS: list["pa.Field[Any]"] = [
    pa.field("index", pa.int64(), nullable=False),
    pa.field("label", pa.int8(), nullable=False),
    pa.field("z_live", pa.float64(), nullable=False),
    pa.field("z_served", pa.float64()),
    pa.field("z_frozen", pa.float64()),
    pa.field("click_probability", pa.float64()),
]
SCHEMA = pa.schema(_FIELDS)


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The first copy of every scored impression, in the order of the stream; arrays of one length.

    Attributes:
        index: Place among the impressions of the stream, from 0 at the first one of the warm start, int64.
        label: 1 clicked, 0 not, as known when all windows are closed, int8.
        z_live: Logit of the version that was live when the label was due, float64.
        z_served: Logit that the impression was shown with, by the version that served a window earlier; NaN where an
            older release did not keep it, float64.
        z_frozen: Logit of the frozen version; NaN where it did not score the row, float64.
        click_probability: True probability of a click; NaN where nobody knows it, float64.
    """

    index: npt.NDArray[np.int64]
    label: npt.NDArray[np.int8]
    z_live: Doubles
    z_served: Doubles
    z_frozen: Doubles
    click_probability: Doubles

    def __len__(self) -> int:
        return len(self.index)

    def take(self, rows: slice) -> "Predictions":
        """Return the rows of a slice."""
        return Predictions(**{name: values[rows] for name, values in vars(self).items()})


def joined(parts: list[Predictions]) -> Predictions:
    """Return the rows of all parts, one after the other."""
    return Predictions(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in SCHEMA.names})


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write the rows as Parquet; what is not known is null."""
    columns = [pa.array(getattr(predictions, field.name), field.type, from_pandas=True) for field in SCHEMA]
    pq.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), path, compression="zstd")


def read_predictions(path: Path) -> Predictions:
    """Return the rows of a file that `write_predictions` wrote."""
    table = pq.read_table(path, schema=SCHEMA)
    return Predictions(**{name: table.column(name).to_numpy() for name in SCHEMA.names})
