import msgspec
import pytest

from scorer.serving.messages import RankRequest, ScoreRequest, candidates, request_schema
from stream.events import encode
from tests.doubles import tiny_impression


def test_an_impression_as_sent_to_kafka_is_a_row_to_score() -> None:
    impression = tiny_impression(5, numeric={"price": 2.0})
    request = msgspec.json.decode(b'{"impressions": [' + encode(impression) + b"]}", type=ScoreRequest)
    (row,) = request.impressions
    for field in ("item_text", "query", "history", "position", "numeric"):
        assert getattr(row, field) == getattr(impression, field)


def test_candidates_share_query_history_and_position() -> None:
    body = b'{"query": "hat", "history": ["red shoe"], "items": [{"item_id": "a", "item_text": "red hat"}]}'
    (candidate,) = candidates(msgspec.json.decode(body, type=RankRequest), 3)
    assert (candidate.query, candidate.history, candidate.position) == ("hat", ("red shoe",), 3)


def test_an_items_own_number_wins_over_the_shared_one() -> None:
    body = b'{"numeric": {"a": 1, "b": 2}, "items": [{"item_id": "x", "item_text": "t", "numeric": {"b": 5}}]}'
    (candidate,) = candidates(msgspec.json.decode(body, type=RankRequest), 1)
    assert candidate.numeric == {"a": 1.0, "b": 5.0}


@pytest.mark.parametrize("position", [-1, 10_001])
def test_a_position_out_of_range_is_refused(position: int) -> None:
    body = b'{"impressions": [{"item_text": "t", "position": %d}]}' % position
    with pytest.raises(msgspec.ValidationError, match="position"):
        msgspec.json.decode(body, type=ScoreRequest)


def test_the_schema_of_a_body_names_its_fields() -> None:
    schema = request_schema(ScoreRequest)["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["$defs"]["ScoreRow"]["properties"]) >= {"item_text", "query", "history", "position", "numeric"}
