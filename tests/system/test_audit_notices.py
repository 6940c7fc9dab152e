"""The audit of a real run says "not exact" when one label is deleted on purpose, and names it."""

import pytest
from kafka import KafkaAdminClient

from stream.cluster.admin import apply_topics
from stream.events import decode_labeled
from stream.topics import topic_name
from tests.system.pipeline import BurstShop, Pipeline

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

ROWS = 60
VICTIM = "impression-17"


@pytest.fixture(scope="module")
def labeled(pipeline: Pipeline, shop: BurstShop) -> Pipeline:
    """A run in which the join has labeled everything and nobody has read the labels."""
    pipeline.command("models", "init")
    pipeline.start("stream")
    shop.show(ROWS)
    shop.close()
    pipeline.drain()
    pipeline.stop("stream")
    return pipeline


def delete_label(pipeline: Pipeline, impression_id: str) -> None:
    """Make the topic of labels anew, without this one."""
    kept: dict[int, list[bytes]] = {}
    for record in pipeline.records("labeled-impressions"):
        if decode_labeled(record.value).impression.impression_id != impression_id:
            kept.setdefault(record.partition, []).append(record.value)
    topic = topic_name("labeled-impressions", pipeline.kafka)
    admin = KafkaAdminClient(**pipeline.kafka.client_options())
    admin.delete_topics([topic])
    pipeline.wait_until(lambda: topic not in admin.list_topics(), "the topic is gone")
    admin.close()
    apply_topics(pipeline.kafka)
    for partition, values in kept.items():
        pipeline.write("labeled-impressions", partition, values)


def test_one_deleted_label_is_named(labeled: Pipeline, shop: BurstShop):
    before = labeled.audit(shop.ledger)
    assert before.problems == ()
    assert (before.impressions, before.labeled, before.waiting_to_score) == (ROWS, ROWS, ROWS)

    delete_label(labeled, VICTIM)
    labeled.start("scorer", "trainer")
    labeled.drain()

    after = labeled.audit(shop.ledger)
    assert not after.exact
    assert (after.impressions, after.labeled, after.scored) == (ROWS, ROWS - 1, ROWS - 1)
    loss = f"1 impression neither labeled nor pending: lost by the label join: {VICTIM}"
    assert loss in after.problems
    printed = labeled.command("audit", "--ledger", str(shop.ledger), status=1)
    assert loss in printed
    assert printed.endswith("NOT exact")
