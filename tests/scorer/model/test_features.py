import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from scorer.model.feature_spec import FeatureSpec
from scorer.model.features import TOKENIZER_FILE, Featurizer
from tests.doubles import VOCABULARY, tiny_impression, write_tiny_tokenizer

SPEC = FeatureSpec(numeric=("price",), max_query_tokens=3, max_item_tokens=4, max_history_tokens=2, max_tokens=16)


@pytest.fixture
def featurizer(tmp_path):
    return Featurizer(write_tiny_tokenizer(tmp_path), SPEC)


def tokens(row):
    return " ".join(VOCABULARY[index] for index in row.ids)


def test_a_row_is_query_item_and_history_between_separators(featurizer):
    impression = tiny_impression(query="hat", item_text="red scarf", history=("blue shoe", "lamp"))
    (encoded,) = featurizer.encode([impression])
    assert tokens(encoded) == "[CLS] hat [SEP] red scarf [SEP] blue shoe [SEP] lamp [SEP]"


def test_segments_encoded_apart_equal_the_joint_encoding(tmp_path):
    directory = write_tiny_tokenizer(tmp_path)
    featurizer = Featurizer(directory, FeatureSpec())
    joint = Tokenizer.from_file(str(directory / TOKENIZER_FILE))
    for index in range(16):
        impression = tiny_impression(index, query="Winter hats for abc")
        text = " [SEP] ".join([impression.query, impression.item_text, *impression.history])
        assert featurizer.encode([impression])[0].ids.tolist() == joint.encode(text).ids


def test_a_cached_text_gives_the_same_ids(featurizer):
    first, second = featurizer.encode([tiny_impression(), tiny_impression()])
    assert first.ids.tolist() == second.ids.tolist()


def test_a_cached_text_is_cut_by_the_limit_of_its_place(featurizer):
    long = "red blue green black red"
    impression = tiny_impression(query=long, item_text=long, history=(long,))
    assert (
        tokens(featurizer.encode([impression])[0])
        == "[CLS] red blue green [SEP] red blue green black [SEP] red blue [SEP]"
    )


def test_history_fills_what_is_left_of_the_row(featurizer):
    impression = tiny_impression(query="", item_text="hat", history=("red blue",) * 5)
    (encoded,) = featurizer.encode([impression])
    assert len(encoded.ids) == SPEC.max_tokens
    assert tokens(encoded).endswith("[SEP] red blue [SEP]")


def test_history_beyond_the_limit_is_not_read(tmp_path):
    featurizer = Featurizer(write_tiny_tokenizer(tmp_path), FeatureSpec(max_history_items=1))
    (encoded,) = featurizer.encode([tiny_impression(query="", item_text="hat", history=("red", "blue"))])
    assert tokens(encoded) == "[CLS] [SEP] hat [SEP] red [SEP]"


def test_a_text_cannot_forge_a_separator(featurizer):
    (encoded,) = featurizer.encode([tiny_impression(query="[SEP]", item_text="hat", history=())])
    assert tokens(encoded).count("[SEP]") == 2


def test_unknown_tokens_are_counted(featurizer):
    (encoded,) = featurizer.encode([tiny_impression(query="日本", item_text="red hat", history=())])
    assert encoded.num_unknown == 2


def test_a_deep_position_counts_as_the_deepest(featurizer):
    assert featurizer.encode([tiny_impression(position=5_000)])[0].position == SPEC.max_position


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_missing(featurizer, value):
    (encoded,) = featurizer.encode([tiny_impression(numeric={"price": value})])
    assert math.isnan(encoded.numeric[0])


def test_an_absent_feature_is_missing_and_an_unlisted_one_is_ignored(featurizer):
    (encoded,) = featurizer.encode([tiny_impression(numeric={"weight": 3.0})])
    assert encoded.numeric.shape == (1,)
    assert math.isnan(encoded.numeric[0])


def test_a_number_too_large_for_float32_stays_finite(featurizer):
    assert np.isfinite(featurizer.encode([tiny_impression(numeric={"price": 1e300})])[0].numeric).all()


def test_a_directory_without_a_tokenizer_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"tokenizer\.json is missing"):
        Featurizer(tmp_path, SPEC)


WORD = st.text("abcdefgh é,.ßñ日本", min_size=1, max_size=100)
SPACE = st.sampled_from([" ", "\n", "\t ", "\u3000", "\u00a0", " " * 10_000])


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(parts=st.lists(st.tuples(WORD, SPACE), min_size=1, max_size=200))
def test_of_a_long_text_the_same_tokens_are_read_as_without_the_cut(featurizer, parts):
    text = "".join(word + space for word, space in parts) * 2
    whole = featurizer._tokenizer.encode(text, add_special_tokens=False).ids
    assert featurizer._tokenize(text) == whole[: featurizer._longest]


@pytest.mark.parametrize("text", ["a" * 4_000_000, " " * 4_000_000 + "red hat", "red," * 1_000_000, "\x00" * 4_000_000])
def test_of_an_endless_text_only_the_beginning_reaches_the_tokenizer(featurizer, text, monkeypatch):
    read = []
    tokenizer = featurizer._tokenizer

    class Watched:
        def encode(self, text, **arguments):
            read.append(len(text))
            return tokenizer.encode(text, **arguments)

    monkeypatch.setattr(featurizer, "_tokenizer", Watched())
    featurizer.encode([tiny_impression(item_text=text, query="", history=())])
    assert max(read) <= 2 * featurizer._max_chars


def test_long_texts_are_not_remembered(featurizer):
    before = featurizer._remembered.cache_info().currsize
    featurizer.encode([tiny_impression(item_text="hat " * 100, query="hat", history=())])
    assert featurizer._remembered.cache_info().currsize == before + 1
