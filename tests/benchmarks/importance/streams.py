"""Streams as arrays: the simulated shop's pages and real logs, words as numbers, made once and kept in .bench/.

Shape legend: N rows, W words of a row, F text fields of a row.
"""

import gzip
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stream.hashing import hash01, hash64
from stream.simulator.settings import ShopSettings
from stream.simulator.shop import Shop
from stream.simulator.words import WORDS
from tests.benchmarks.importance.design import CACHE, TABLE, Scenario
from trainer.plans.plan_rows import SELECTION_SALT

_ENGLISH = WORDS["english"]
_SHOP_WORDS = (*_ENGLISH.occasions, *(word for words in _ENGLISH.attributes for word in words), *_ENGLISH.brands)
_SHOP_FIELDS = (2, 5, 10)
"""Words of the query, of the item's title and of two liked titles."""

_START_MS = 1_700_000_000_000


@dataclass(frozen=True)
class Stream:
    """A stream of labeled rows, history first.

    Attributes:
        word_NW: Word numbers, 0 where a field is shorter; fields stand side by side.
        fields: Words of each field.
        first_words: Lowest word number of each field; those of a field are a range of their own.
        vocabulary: Number of word numbers.
        position_N: Place in the list.
        label_N: What is learned.
        truth_N: What is judged; differs from the label only where labels were flipped.
        probability_N: True probability of the label, NaN when nobody knows.
        draw_N: Number in [0, 1) of each row: the row is learned when it is below pi.
        history: Rows of the warm start.
    """

    word_NW: npt.NDArray[np.int32]
    fields: tuple[int, ...]
    first_words: tuple[int, ...]
    vocabulary: int
    position_N: npt.NDArray[np.int64]
    label_N: npt.NDArray[np.float64]
    truth_N: npt.NDArray[np.float64]
    probability_N: npt.NDArray[np.float64]
    draw_N: npt.NDArray[np.float64]
    history: int

    @property
    def num_rounds(self) -> int:
        """Whole rounds of live rows; a last, shorter one is left out."""
        return (len(self.label_N) - self.history) // TABLE["training"]["update_rows"]


def load(scenario: Scenario, seed: int, logs: Path | None, *, tuning: bool) -> Stream:
    """Return a scenario's stream for a seed; of a log, the part that is for choosing rates or the part that is not."""
    if scenario.stream != "log":
        return _of_shop(scenario, seed)
    if logs is None:
        message = "no folder of real logs; name one by --logs or BENCH_DATA"
        raise ValueError(message)
    return _of_log(scenario, seed, logs, tuning=tuning)


def _of_shop(scenario: Scenario, seed: int) -> Stream:
    rows = TABLE["rows"]
    settings = scenario.shop_settings(seed)
    arrays = _cached(
        f"{settings.model_dump_json()} {rows} {SELECTION_SALT}", lambda: _shop_arrays(settings, rows, f"s{seed}")
    )
    label_N = arrays["label"].astype(np.float64)
    flipped_N = arrays["flip"] < scenario.flips
    return Stream(
        word_NW=arrays["word"].astype(np.int32),
        fields=_SHOP_FIELDS,
        first_words=tuple(1 + field * len(_SHOP_WORDS) for field in range(len(_SHOP_FIELDS))),
        vocabulary=1 + len(_SHOP_FIELDS) * len(_SHOP_WORDS),
        position_N=arrays["position"].astype(np.int64),
        label_N=np.where(flipped_N, 1 - label_N, label_N),
        truth_N=label_N,
        probability_N=arrays["probability"],
        draw_N=arrays["draw"],
        history=rows["history"],
    )


def _shop_arrays(settings: ShopSettings, rows: dict[str, int], run: str) -> dict[str, npt.NDArray[np.generic]]:
    number_of = {word: number for number, word in enumerate(_SHOP_WORDS)}
    starts = np.cumsum([0, *_SHOP_FIELDS[:-1]])
    num_rows = rows["history"] + rows["live"]
    word_NW = np.zeros((num_rows, sum(_SHOP_FIELDS)), dtype=np.uint8)
    columns = np.zeros((3, num_rows))
    position_N = np.zeros(num_rows, dtype=np.int16)
    shop = Shop(settings, start_ms=_START_MS, history_rows=rows["history"], run=run)
    showings = (showing for page in shop for showing in page.showings)
    for row, showing in enumerate(islice(showings, num_rows)):
        impression = showing.impression
        position_N[row] = impression.position
        columns[:, row] = showing.label, showing.click_probability, hash01(impression.impression_id, SELECTION_SALT)
        texts = (impression.query, impression.item_text, " ".join(impression.history))
        for field, text in enumerate(texts):
            numbers = [1 + field * len(_SHOP_WORDS) + number_of[word] for word in text.split()]
            word_NW[row, starts[field] : starts[field] + len(numbers)] = numbers
    flip_N = np.random.default_rng([settings.seed, 3]).random(num_rows)
    names = dict(zip(("label", "probability", "draw"), columns, strict=True))
    return {"word": word_NW, "position": position_N, "flip": flip_N, **names}


def _of_log(scenario: Scenario, seed: int, logs: Path, *, tuning: bool) -> Stream:
    settings = TABLE["logs"][scenario.name]
    path, model = logs / settings["file"], TABLE["model"]
    fields = (model["log_item_words"], model["log_context_words"])
    arrays = _cached(
        f"{path.name} {path.stat().st_size} {settings['rows']} {model}", lambda: _log_arrays(path, settings["rows"])
    )
    warm = TABLE["logs"]["warm_rows"]
    boundary = warm + settings["tuning_rows"]
    used = slice(0, boundary if tuning else settings["rows"])
    label_N = arrays["label"][used].astype(np.float64)
    return Stream(
        word_NW=arrays["word"][used].astype(np.int32),
        fields=fields,
        first_words=(1, 1 + model["log_buckets"]),
        vocabulary=1 + len(fields) * model["log_buckets"],
        position_N=np.zeros(len(label_N), dtype=np.int64),
        label_N=label_N,
        truth_N=label_N,
        probability_N=np.full(len(label_N), np.nan),
        # A log's rows have no ids of their own; the draws of its seeds only have to differ.
        draw_N=np.random.default_rng([seed, 4]).random(len(label_N)),
        history=warm if tuning else boundary,
    )


def _log_arrays(path: Path, num_rows: int) -> dict[str, npt.NDArray[np.generic]]:
    model = TABLE["model"]
    fields = (("item", model["log_item_words"]), ("context", model["log_context_words"]))
    word_NW = np.zeros((num_rows, sum(size for _, size in fields)), dtype=np.uint16)
    label_N = np.zeros(num_rows, dtype=np.uint8)
    known: dict[tuple[str, str], list[int]] = {}
    for row, outcome in enumerate(islice(_outcomes(path), num_rows)):
        label_N[row] = outcome["label"]
        start = 0
        for number, (field, size) in enumerate(fields):
            key = (field, str(outcome[field]))
            if key not in known:
                known[key] = _buckets(key[1], field, 1 + number * model["log_buckets"])[:size]
            word_NW[row, start : start + len(known[key])] = known[key]
            start += size
    return {"word": word_NW, "label": label_N}


def _outcomes(path: Path) -> Iterator[dict[str, str | int]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _buckets(text: str, field: str, first: int) -> list[int]:
    buckets = TABLE["model"]["log_buckets"]
    return [first + hash64(word, field) % buckets for word in re.findall(r"\w+", text.lower())]


def _cached(key: str, make) -> dict[str, npt.NDArray[np.generic]]:
    path = CACHE / "streams" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            np.savez(file, **make())
        part.rename(path)
    with np.load(path) as arrays:
        return dict(arrays)
