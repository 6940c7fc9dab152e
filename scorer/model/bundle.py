"""Everything a score depends on, in one object."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scorer.model.ctr_bert import CtrBert
from scorer.model.features import Featurizer
from scorer.model.numeric_statistics import NumericStatistics
from scorer.model.settings import Precision


@dataclass(frozen=True)
class ModelBundle:
    """A model version in memory.

    Attributes:
        model: The model, in eval mode.
        featurizer: Turns impressions into its inputs.
        statistics: Of the numeric features.
        version: Name of the version, `<line>-<number>`.
        precision: Arithmetic the line was measured for.
        digests: sha256 by file name of the published version it came from; empty for one not published.
        digest: sha256 of that version's manifest; empty for one not published.
    """

    model: CtrBert
    featurizer: Featurizer
    statistics: NumericStatistics
    version: str
    precision: Precision = "fp32"
    digests: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""
