"""Bytes that were written once decode for ever. Files under `bytes/` are never changed; a new version adds new ones."""

from pathlib import Path

import pytest

from stream.events import (
    Click,
    GateResult,
    Impression,
    LabeledImpression,
    ModelRelease,
    RoleScore,
    Served,
    WeightedExample,
    decode_event,
    decode_labeled,
    decode_release,
    encode,
)
from stream.example_batch import SCHEMA, decode_examples, encode_examples

BYTES = Path(__file__).parent / "bytes"

IMPRESSION = Impression(
    impression_id="imp-1",
    event_time_ms=1_767_225_600_123,
    item_id="sku-7",
    item_text="Rød sko, størrelse 42",
    query="røde sko",
    user_id="u-9",
    history=("blue hat", "grüne Lampe"),
    position=3,
    numeric={"price": 19.5, "stock": None},
    served=Served(model_version="0a1b2c3d-000004", score=0.125),
)
CLICK = Click(click_id="clk-1", impression_id="imp-1", event_time_ms=1_767_225_603_456, kind="cart")
LABELED = LabeledImpression(
    impression=IMPRESSION,
    label=1,
    label_due_ms=1_767_227_400_150,
    source_partition=2,
    source_offset=41,
    kind="cart",
    click_ids=("clk-1", "clk-2"),
    window_cut=True,
)
RELEASE = ModelRelease(
    alias="champion",
    version="0a1b2c3d-000006",
    digest="ab" * 32,
    location="file:///registry",
    reason="promoted",
    created_ms=1_767_227_402_000,
    parent="0a1b2c3d-000005",
    gate=GateResult(
        decision="promote",
        reason="no evidence of harm",
        num_rows=900,
        num_clicks=120,
        auc_candidate=0.71,
        auc_live=0.7,
        auc_difference_low=-0.005,
        auc_difference_high=0.02,
        log_loss_candidate=0.3,
        log_loss_live=0.31,
        calibration_candidate=1.02,
    ),
    covered_offsets={"0": 10, "1": 12},
)
EXAMPLES = [
    WeightedExample(
        labeled=LABELED,
        live=RoleScore(version="0a1b2c3d-000005", z=-1.25),
        frozen=RoleScore(version="0a1b2c3d-000001", z=-2.5),
        control=RoleScore(version="0a1b2c3d-000003", z=0.5),
        hidden_norm=4.75,
        scored_ms=1_767_227_401_000,
        strategy="gradnorm_is",
        inclusion_probability=0.625,
        importance_weight=0.8,
        logit_offset=0.25,
        mean_score=1.5,
        mean_sigmoid=0.2,
    ),
    WeightedExample(
        labeled=LabeledImpression(
            impression=Impression(
                impression_id="imp-2", event_time_ms=1_767_225_600_123, item_id="sku-8", item_text="hat"
            ),
            label=0,
            label_due_ms=1_767_227_400_150,
            source_partition=2,
            source_offset=42,
        ),
        live=RoleScore(version="0a1b2c3d-000005", z=0.0),
        hidden_norm=1.0,
        scored_ms=1_767_227_401_000,
        strategy="full",
        inclusion_probability=1.0,
        importance_weight=1.0,
    ),
]

CASES = [
    ("impression.v1.json", decode_event, IMPRESSION),
    ("click.v1.json", decode_event, CLICK),
    ("labeled_impression.v1.json", decode_labeled, LABELED),
    ("model_release.v1.json", decode_release, RELEASE),
    ("weighted_examples.v1.arrow", decode_examples, EXAMPLES),
]


@pytest.mark.parametrize(("name", "decode", "event"), CASES, ids=[name for name, _, _ in CASES])
def test_old_bytes_decode_to_the_same_event(name, decode, event):
    assert decode((BYTES / name).read_bytes()) == event


@pytest.mark.parametrize(("name", "event"), [(name, event) for name, _, event in CASES if name.endswith("json")])
def test_version_1_is_still_written_as_it_was(name, event):
    assert encode(event) == (BYTES / name).read_bytes()


def test_every_file_of_bytes_is_tested():
    assert {path.name for path in BYTES.iterdir()} == {name for name, _, _ in CASES}


def test_weighted_examples_round_trip_and_keep_their_columns():
    (raw,) = encode_examples(EXAMPLES)
    assert decode_examples(raw) == EXAMPLES
    assert len(SCHEMA) == 33
    assert SCHEMA.metadata == {b"millstream.schema_version": b"1"}


@pytest.mark.parametrize("name", ["impression.v1.json", "click.v1.json"])
def test_an_unknown_field_of_a_newer_producer_is_ignored(name):
    raw = (BYTES / name).read_bytes()
    assert decode_event(raw[:-1] + b',"from_the_future":[1]}') == decode_event(raw)
