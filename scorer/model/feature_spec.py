"""What is read from an impression: the part of the features that needs neither tokenizer nor torch."""

import msgspec

from scorer.model.settings import ModelSettings


class FeatureSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What is read from an impression. Part of every version; a changed one needs a new model line.

    Attributes:
        numeric: Names of the numeric features, in the order of the model's inputs.
        max_query_tokens: Tokens of the query that are read.
        max_item_tokens: Tokens of the item text that are read.
        max_history_items: History items that are read, newest first.
        max_history_tokens: Tokens of each history item that are read.
        max_tokens: Tokens of a whole row, separators included.
        max_position: Positions told apart; a deeper one counts as this one.
    """

    numeric: tuple[str, ...] = ()
    max_query_tokens: int = 16
    max_item_tokens: int = 32
    max_history_items: int = 5
    max_history_tokens: int = 16
    max_tokens: int = 64
    max_position: int = 32


def feature_spec(settings: ModelSettings) -> FeatureSpec:
    """Return what a new model line reads from an impression."""
    return msgspec.convert(settings, FeatureSpec, from_attributes=True)
