"""The featurizer: model inputs become token ids, a position and numbers. Scorer and trainer use this one."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from scorer.model.feature_spec import FeatureSpec
from scorer.model.model_input import ModelInput

TOKENIZER_FILE = "tokenizer.json"

_CHARS_PER_TOKEN = 100
"""WordPiece reads a longer word as one unknown token, so that no token that counts lies beyond so many characters."""

_REMEMBERED_CHARS = 256
"""A longer text is tokenised each time: 50,000 whole descriptions would fill the memory."""

_WORD = re.compile("[^ \t\n\r\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
"""Between words lies what the tokenizer takes for space; it drops other control characters and joins what they part."""

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """One model input as numbers, before any version's statistics are applied.

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


class Featurizer:
    """Turns model inputs into encoded rows; token ids are kept per text, since a shop repeats its titles.

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

    def encode(self, inputs: Sequence[ModelInput]) -> list[EncodedRow]:
        """Return one row per input, in order. Pure but for the cache of token ids."""
        return [self._encode_one(each) for each in inputs]

    def _encode_one(self, row: ModelInput) -> EncodedRow:
        ids = self._ids(row)
        return EncodedRow(
            ids=np.array(ids, dtype=np.int32),
            numeric=self._numeric(row),
            position=min(row.position, self.spec.max_position),
            num_unknown=ids.count(self.unknown_token_id),
        )

    def _ids(self, row: ModelInput) -> list[int]:
        spec = self.spec
        sep = self.sep_token_id
        ids = [self.cls_token_id, *self._segment(row.query)[: spec.max_query_tokens], sep]
        ids += self._segment(row.item_text)[: spec.max_item_tokens]
        ids.append(sep)
        for text in row.history[: spec.max_history_items]:
            room = spec.max_tokens - len(ids) - 1
            if room < 1:
                break
            ids += self._segment(text)[: min(room, spec.max_history_tokens)]
            ids.append(sep)
        return ids

    def _numeric(self, row: ModelInput) -> Floats:
        values = [row.numeric.get(name) for name in self.spec.numeric]
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
