"""The featurizer: impressions become token ids, a position and numbers. Scorer and trainer use this one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from river.stats import Mean, Var
from tokenizers import Tokenizer
from torch import Tensor

from scorer.settings import ModelSettings
from stream.events import Impression

TOKENIZER_FILE = "tokenizer.json"

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]


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
    return FeatureSpec(
        numeric=settings.numeric,
        max_query_tokens=settings.max_query_tokens,
        max_item_tokens=settings.max_item_tokens,
        max_history_items=settings.max_history_items,
        max_history_tokens=settings.max_history_tokens,
        max_tokens=settings.max_tokens,
        max_position=settings.max_position,
    )


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """One impression as numbers, before any version's statistics are applied.

    Attributes:
        ids: Token ids, [CLS] query [SEP] item [SEP] history [SEP] ..., int32 [T].
        numeric: Numeric features in the order of the spec, float32 [F]; NaN is missing.
        position: List position, 0 when unknown, at most max_position.
        num_unknown: How many of the ids are the unknown token.
    """

    ids: Ids
    numeric: Floats
    position: int
    num_unknown: int


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


class Featurizer:
    """Turns impressions into encoded rows; token ids are kept per text, since a shop repeats its titles.

    Texts are tokenised one segment at a time and joined with the separator. That gives the ids of tokenising the
    joined text, because a separator always ends a word. A text that contains "[SEP]" is read as those characters,
    so nobody can forge a segment.

    Args:
        tokenizer_dir: Directory that holds `tokenizer.json` of a BERT (WordPiece) tokenizer.
        spec: What to read.
        cached_segments: Texts whose ids are kept; the least recently used one leaves first.

    Attributes:
        tokenizer_json: The bytes of `tokenizer.json`: the directory may be pruned while this object lives.
    """

    def __init__(self, tokenizer_dir: Path, spec: FeatureSpec, *, cached_segments: int = 50_000) -> None:
        path = tokenizer_dir / TOKENIZER_FILE
        if not path.is_file():
            message = f"{path} is missing; a model directory needs the tokenizer.json of a fast BERT tokenizer"
            raise ValueError(message)
        self.tokenizer_dir = tokenizer_dir
        self.tokenizer_json = path.read_bytes()
        self.spec = spec
        self._tokenizer = Tokenizer.from_buffer(self.tokenizer_json)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True
        self.cls_token_id = self._special("[CLS]")
        self.sep_token_id = self._special("[SEP]")
        self.unknown_token_id = self._special("[UNK]")
        self._longest = max(spec.max_query_tokens, spec.max_item_tokens, spec.max_history_tokens)
        self._segment: Callable[[str], list[int]] = lru_cache(maxsize=cached_segments)(self._tokenize)

    def encode(self, impressions: Sequence[Impression]) -> list[EncodedRow]:
        """Return one row per impression, in order. Pure but for the cache of token ids."""
        return [self._encode_one(impression) for impression in impressions]

    def _encode_one(self, impression: Impression) -> EncodedRow:
        ids = self._ids(impression)
        return EncodedRow(
            ids=np.array(ids, dtype=np.int32),
            numeric=self._numeric(impression),
            position=min(impression.position, self.spec.max_position),
            num_unknown=ids.count(self.unknown_token_id),
        )

    def _ids(self, impression: Impression) -> list[int]:
        spec = self.spec
        sep = self.sep_token_id
        ids = [self.cls_token_id, *self._segment(impression.query)[: spec.max_query_tokens], sep]
        ids += self._segment(impression.item_text)[: spec.max_item_tokens]
        ids.append(sep)
        for text in impression.history[: spec.max_history_items]:
            room = spec.max_tokens - len(ids) - 1
            if room < 1:
                break
            ids += self._segment(text)[: min(room, spec.max_history_tokens)]
            ids.append(sep)
        return ids

    def _numeric(self, impression: Impression) -> Floats:
        values = [impression.numeric.get(name) for name in self.spec.numeric]
        numeric = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        numeric[~np.isfinite(numeric)] = np.nan
        limit = np.finfo(np.float32).max
        return np.clip(numeric, -limit, limit).astype(np.float32)

    def _tokenize(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids[: self._longest]
        return ids

    def _special(self, token: str) -> int:
        token_id = self._tokenizer.token_to_id(token)
        if token_id is None:
            message = f"the tokenizer in {self.tokenizer_dir} has no {token} token; Millstream reads BERT tokenizers"
            raise ValueError(message)
        return int(token_id)


class NumericStatistics:
    """Running mean and variance of every numeric feature (river), and how they clean a value.

    - Missing, NaN or infinite: value 0 (the mean) and missing flag 1.
    - Otherwise: (value - mean) / standard deviation, clipped to `MAX_SIGMA` on both sides, and flag 0. A feature that
      has not varied yet is divided by 1; one seen less than twice reads 0.
    - One wild value cannot spoil the statistics: after `TRUSTED_ROWS` rows a value joins them clipped to the same
      bounds.

    Only the trainer calls `update`; every version carries a copy.
    """

    MAX_SIGMA = 5.0
    TRUSTED_ROWS = 100

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._variances = [Var(ddof=0) for _ in self.names]

    def update(self, rows: Sequence[EncodedRow]) -> None:
        """Learn from the rows, in order."""
        for row in rows:
            for variance, value in zip(self._variances, row.numeric.tolist(), strict=True):
                if np.isfinite(value):
                    variance.update(self._bounded(variance, value))

    def standardise(self, rows: Sequence[EncodedRow]) -> Floats:
        """Return the cleaned values and the missing flags, float32 [B, 2F]."""
        if not self.names:
            return np.zeros((len(rows), 0), dtype=np.float32)
        raw = np.stack([row.numeric for row in rows]).astype(np.float64)
        missing = ~np.isfinite(raw)
        mean = np.array([variance.mean.get() for variance in self._variances])
        seen = np.array([variance.n >= 2 for variance in self._variances])
        scale = np.array([_scale(variance) for variance in self._variances])
        values = np.clip((raw - mean) / scale, -self.MAX_SIGMA, self.MAX_SIGMA)
        values = np.where(missing | ~seen, 0.0, values)
        return np.concatenate([values, missing], axis=1, dtype=np.float32)

    def to_json(self) -> dict[str, Any]:
        """Return the statistics as plain values.

        They are river's own sums, not the variance: learning on from them gives the same bits as never having stopped.
        """
        return {
            name: {"count": variance.n, "mean": variance.mean.get(), "squares": variance._S}  # noqa: SLF001
            for name, variance in zip(self.names, self._variances, strict=True)
        }

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> "NumericStatistics":
        """Return the statistics that `to_json` gave."""
        statistics = cls(tuple(state))
        for variance, entry in zip(statistics._variances, state.values(), strict=True):
            variance.mean = Mean._from_state(entry["count"], entry["mean"])  # noqa: SLF001
            variance._S = entry["squares"]  # noqa: SLF001
        return statistics

    def _bounded(self, variance: Var, value: float) -> float:
        if variance.n < self.TRUSTED_ROWS:
            return value
        reach = self.MAX_SIGMA * _scale(variance)
        mean = variance.mean.get()
        return float(min(max(value, mean - reach), mean + reach))


def _scale(variance: Var) -> float:
    return float(np.sqrt(variance.get())) or 1.0


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
