import time
from contextlib import closing

import pytest
from kafka import KafkaProducer
from prometheus_client import CollectorRegistry, Counter

from stream.cluster.releases import ReleaseFollower, ReleasesUnavailableError, announce
from stream.events import Alias, ModelRelease
from stream.settings import KafkaSettings
from stream.topics import topic_name

pytestmark = pytest.mark.kafka


def release(number: int, alias: Alias = "champion") -> ModelRelease:
    return ModelRelease(
        alias=alias,
        version=f"0123abcd-{number:06d}",
        digest="0" * 64,
        location="registry",
        reason="promoted",
        created_ms=1_700_000_000_000 + number,
        covered_offsets={"0": number},
    )


def poll_until(follower: ReleaseFollower, num_releases: int) -> list[ModelRelease]:
    found: list[ModelRelease] = []
    deadline = time.monotonic() + 60
    while len(found) < num_releases and time.monotonic() < deadline:
        found += follower.poll(timeout_ms=200)
    return found


def test_a_new_follower_reads_all_releases_from_the_beginning_in_order(kafka: KafkaSettings) -> None:
    sent = [release(1), release(1, "frozen"), release(2)]
    announce(kafka, sent)
    with closing(ReleaseFollower(kafka)) as follower:
        assert poll_until(follower, 3) == sent


def test_every_follower_hears_every_release(kafka: KafkaSettings) -> None:
    with closing(ReleaseFollower(kafka)) as one, closing(ReleaseFollower(kafka)) as other:
        announce(kafka, [release(1)])
        assert poll_until(one, 1) == poll_until(other, 1) == [release(1)]


def test_catching_up_gives_the_last_release_of_each_alias(kafka: KafkaSettings) -> None:
    announce(kafka, [release(1), release(1, "frozen"), release(2)])
    with closing(ReleaseFollower(kafka)) as follower:
        assert follower.catch_up() == {"champion": release(2), "frozen": release(1, "frozen")}


def test_catching_up_on_an_empty_topic_returns_at_once(kafka: KafkaSettings) -> None:
    with closing(ReleaseFollower(kafka)) as follower:
        assert follower.catch_up() == {}


def test_polling_goes_on_where_catching_up_ended(kafka: KafkaSettings) -> None:
    announce(kafka, [release(1)])
    with closing(ReleaseFollower(kafka)) as follower:
        follower.catch_up()
        announce(kafka, [release(2)])
        assert poll_until(follower, 1) == [release(2)]


def test_a_record_that_is_no_release_is_counted_and_passed(kafka: KafkaSettings) -> None:
    producer = KafkaProducer(**kafka.client_options())
    producer.send(topic_name("model-releases", kafka), key=b"champion", value=b"{}").get(timeout=30)
    producer.close()
    announce(kafka, [release(1)])
    unusable = Counter("unusable", "Records", registry=CollectorRegistry())
    with closing(ReleaseFollower(kafka, unusable.inc)) as follower:
        assert follower.catch_up() == {"champion": release(1)}
    assert unusable.collect()[0].samples[0].value == 1


def test_a_missing_topic_is_refused_with_the_remedy(kafka: KafkaSettings) -> None:
    elsewhere = kafka.model_copy(update={"topic_prefix": "nowhere."})
    with pytest.raises(ReleasesUnavailableError, match="millstream topics apply"):
        ReleaseFollower(elsewhere)
