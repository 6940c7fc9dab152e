import pytest
from kafka import KafkaProducer

from scorer.scoring.recent_examples import recent_examples
from stream.cluster.admin import ClusterError
from stream.events import RoleScore, WeightedExample
from stream.example_batch import encode_examples
from stream.settings import KafkaSettings
from stream.topics import topic_name
from tests.doubles import tiny_labeled

pytestmark = pytest.mark.kafka


def example(number: int) -> WeightedExample:
    return WeightedExample(
        labeled=tiny_labeled(number),
        live=RoleScore(version="v", z=0.0),
        hidden_norm=1.0,
        scored_ms=number,
        strategy="uniform",
        inclusion_probability=0.5,
        importance_weight=1.0,
    )


def write(kafka: KafkaSettings, *records: tuple[int, bytes]) -> None:
    producer = KafkaProducer(**kafka.client_options())
    for partition, value in records:
        producer.send(topic_name("weighted-examples", kafka), value=value, partition=partition).get(timeout=30)
    producer.close()


def batches(num_rows: int, *, rows_per_record: int) -> list[tuple[int, bytes]]:
    """Return records that take turns between two partitions; row k was scored at k ms."""
    starts = range(0, num_rows, rows_per_record)
    return [
        (turn % 2, encode_examples([example(number) for number in range(start, start + rows_per_record)])[0])
        for turn, start in enumerate(starts)
    ]


@pytest.mark.parametrize("rows_per_record", [1, 20])
def test_the_last_rows_of_all_partitions_are_found_in_the_order_of_their_scores(kafka, rows_per_record):
    write(kafka, *batches(400, rows_per_record=rows_per_record))
    assert [found.scored_ms for found in recent_examples(kafka, 150)] == list(range(250, 400))


def test_a_short_topic_gives_all_it_has_and_an_empty_one_nothing(kafka):
    assert recent_examples(kafka, 150) == []
    write(kafka, *batches(40, rows_per_record=10))
    assert [found.scored_ms for found in recent_examples(kafka, 150)] == list(range(40))


def test_a_quiet_partition_gives_what_it_has_and_the_others_the_rest(kafka):
    (_, quiet), *others = batches(100, rows_per_record=1)
    write(kafka, (0, quiet), *((1, value) for _, value in others))
    assert [found.scored_ms for found in recent_examples(kafka, 100)] == list(range(100))


def test_a_record_that_holds_no_examples_is_passed_over(kafka):
    write(kafka, *batches(40, rows_per_record=10), (0, b"not a batch"))
    assert [found.scored_ms for found in recent_examples(kafka, 150)] == list(range(40))


def test_a_topic_that_does_not_exist_is_named_with_the_remedy(kafka):
    with pytest.raises(ClusterError, match=r"topic nowhere\.weighted-examples does not exist.*topics apply"):
        recent_examples(kafka.model_copy(update={"topic_prefix": "nowhere."}), 150)
