import random
import string

import pyarrow as pa
import pytest
from msgspec.structs import replace

from stream.events import EventError, Impression, LabeledImpression, RoleScore, Served, WeightedExample
from stream.example_batch import MAX_BATCH_BYTES, SCHEMA, decode_examples, encode_examples


def example(number: int, text: str = "red shoe") -> WeightedExample:
    shown = Impression(impression_id=f"i{number}", event_time_ms=1_700_000_000_000, item_id="x", item_text=text)
    return WeightedExample(
        labeled=LabeledImpression(
            impression=shown, label=number % 2, label_due_ms=1, source_partition=0, source_offset=number
        ),
        live=RoleScore(version="v", z=0.5),
        hidden_norm=1.0,
        scored_ms=2,
        strategy="full",
        inclusion_probability=1.0,
        importance_weight=1.0,
    )


def test_examples_come_back_in_their_order():
    examples = [example(number) for number in range(100)]
    (raw,) = encode_examples(examples)
    assert decode_examples(raw) == examples


def test_every_field_comes_back_and_so_does_what_is_missing():
    bare = example(0)
    shown = replace(
        bare.labeled.impression,
        query="shoe",
        user_id="u",
        history=("hat", ""),
        position=3,
        numeric={"price": 1.5, "rating": None},
        served=Served(model_version="v", score=0.25),
    )
    labeled = replace(bare.labeled, impression=shown, label=1, kind="cart", click_ids=("k",), revision=1)
    score = RoleScore(version="w", z=-1.0)
    full = replace(
        bare, labeled=labeled, frozen=score, control=score, logit_offset=0.1, mean_score=0.2, mean_sigmoid=0.3
    )
    (raw,) = encode_examples([full, bare, full])
    assert decode_examples(raw) == [full, bare, full]


def test_nothing_is_no_record():
    assert encode_examples([]) == []


def test_a_large_batch_is_split_and_keeps_its_order():
    dice = random.Random(1)  # random letters: they do not compress away
    examples = [example(n, "".join(dice.choices(string.ascii_letters, k=20_000))) for n in range(60)]
    records = encode_examples(examples)
    assert len(records) > 1
    assert all(len(raw) <= MAX_BATCH_BYTES for raw in records)
    assert [row for raw in records for row in decode_examples(raw)] == examples


def reason(raw: bytes | None) -> str:
    with pytest.raises(EventError) as caught:
        decode_examples(raw)
    return caught.value.reason


def with_schema(schema: pa.Schema) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema):
        pass
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("raw", [None, b"", b"not arrow", encode_examples([example(0)])[0][:200]])
def test_bytes_that_are_no_batch_are_malformed(raw):
    assert reason(raw) == "malformed"


def test_a_batch_whose_version_is_no_number_is_malformed():
    assert reason(with_schema(SCHEMA.with_metadata({"millstream.schema_version": "one"}))) == "malformed"


def test_a_batch_of_an_unknown_version_is_refused():
    assert reason(with_schema(SCHEMA.with_metadata({"millstream.schema_version": "2"}))) == "unknown_version"
    assert reason(with_schema(SCHEMA.remove_metadata())) == "unknown_version"
