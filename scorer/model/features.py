"""The featurizer: impressions become token ids, a position and numbers. Scorer and trainer use this one."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from scorer.model.feature_spec import FeatureSpec
from stream.events import Impression

TOKENIZER_FILE = "tokenizer.json"

_CHARS_PER_TOKEN = 100
"""WordPiece reads a longer word as one unknown token, so that no token that counts lies beyond so many characters."""

_REMEMBERED_CHARS = 256
"""A longer text is tokenised each time: 50,000 whole descriptions would fill the memory."""

_WORD = re.compile("[^ \t\n\r\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
"""Between words lies what the tokenizer takes for space; it drops other control characters and joins what they part."""

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int32]


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
        cached_segments: Texts whose ids are kept, long ones excepted; the least recently used one leaves first.

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
        self._max_chars = _CHARS_PER_TOKEN * (self._longest + 1)
        self._remembered: Callable[[str], list[int]] = lru_cache(maxsize=cached_segments)(self._tokenize)

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

    def _segment(self, text: str) -> list[int]:
        return self._remembered(text) if len(text) <= _REMEMBERED_CHARS else self._tokenize(text)

    def _tokenize(self, text: str) -> list[int]:
        beginning = _beginning(text, self._max_chars)
        ids: list[int] = self._tokenizer.encode(beginning, add_special_tokens=False).ids[: self._longest]
        return ids

    def _special(self, token: str) -> int:
        token_id = self._tokenizer.token_to_id(token)
        if token_id is None:
            message = f"the tokenizer in {self.tokenizer_dir} has no {token} token; Millstream reads BERT tokenizers"
            raise ValueError(message)
        return int(token_id)


def _beginning(text: str, max_chars: int) -> str:
    """Return what is read of a text: of a long one the first words, so many characters without the space between."""
    if len(text) <= max_chars:
        return text
    words: list[str] = []
    room = max_chars
    for word in _WORD.finditer(text):
        words.append(text[word.start() : min(word.end(), word.start() + room)])
        room -= len(words[-1])
        if room == 0:
            break
    return " ".join(words)


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
