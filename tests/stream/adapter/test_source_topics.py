import os
import subprocess
import sys
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from stream.adapter.source_topics import check_source_topics
from stream.process.start import REFUSED
from stream.settings import KafkaSettings

MAPPING = Path("shop.toml")


def create(kafka: KafkaSettings, *names: str) -> list[str]:
    admin = KafkaAdminClient(**kafka.client_options())
    full = [f"{kafka.topic_prefix}{name}" for name in names]
    plan = {"num_partitions": 1, "replication_factor": 1}
    admin.create_topics(dict.fromkeys(full, plan), wait_for_metadata=True)
    admin.close()
    return full


@pytest.mark.kafka
def test_a_misspelt_source_topic_is_named_with_the_one_that_was_meant(kafka: KafkaSettings):
    [views, clicks] = create(kafka, "shop-views", "shop-clicks")

    assert check_source_topics(kafka, {views, clicks}, MAPPING) == []
    [problem] = check_source_topics(kafka, {views, f"{kafka.topic_prefix}shop-click"}, MAPPING)

    assert problem.topic == f"{kafka.topic_prefix}shop-click"
    assert f"near to it is {clicks}" in problem.remedy
    assert "MILLSTREAM_ADAPTER_MAPPING" in problem.remedy


@pytest.mark.kafka
def test_the_adapter_does_not_read_what_it_writes(kafka: KafkaSettings):
    [problem] = check_source_topics(kafka, {f"{kafka.topic_prefix}events"}, MAPPING)

    assert "Millstream itself" in problem.what


@pytest.mark.kafka
def test_an_adapter_without_its_source_topic_ends_with_one_line(kafka: KafkaSettings, tmp_path: Path):
    create(kafka, "views")
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(
        f'[[source]]\ntopic = "{kafka.topic_prefix}veiws"\nevent = "impression"\n'
        'fields = { impression_id = "id", event_time_ms = "ts", item_id = "sku", item_text = "title" }\n'
    )
    settings = {
        "MILLSTREAM_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "MILLSTREAM_KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
        "MILLSTREAM_KAFKA_PARTITIONS": str(kafka.partitions),
        "MILLSTREAM_HOME": str(tmp_path),
        "MILLSTREAM_METRICS_PORT": "0",
        "MILLSTREAM_ADAPTER_MAPPING": str(mapping),
    }
    command = [sys.executable, "-m", "stream", "adapter"]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == REFUSED
    [line] = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert f"near to it is {kafka.topic_prefix}views" in line
