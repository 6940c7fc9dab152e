import os
import socket
from pathlib import Path

import pytest

from deploy.doctor import (
    DEFAULT_PORTS,
    Finding,
    examine,
    examine_adapter,
    examine_cluster,
    examine_codecs,
    examine_disk,
    examine_local_kafka,
    examine_model,
    examine_ports,
    examine_strategy,
)
from deploy.local_kafka.broker import free_port
from scorer.registry.registry import ModelRegistry
from scorer.settings import ScorerSettings
from stream.settings import AdapterSettings, JoinSettings, KafkaSettings
from tests.doubles import tiny_bundle
from trainer.settings import TrainerSettings

GIB = 2**30


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    registry = ModelRegistry(tmp_path / "registry")
    bundle = tiny_bundle(tmp_path / "tokenizer")
    registry.publish(bundle, created_ms=1_700_000_000_000)
    registry.set_alias("champion", bundle.version)
    return registry


def states(findings: list[Finding]) -> dict[str, str]:
    return {finding.subject: finding.state for finding in findings}


def test_a_disk_that_is_nearly_full_fails(tmp_path: Path):
    [finding] = examine_disk(tmp_path, lambda _: (10 * GIB, 10 * GIB, GIB // 8))

    assert finding.state == "fail"
    assert "MILLSTREAM_HOME" in finding.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_directory_without_the_right_to_write_fails(tmp_path: Path):
    tmp_path.chmod(0o500)
    [finding] = examine_disk(tmp_path / "home", lambda _: (10 * GIB, GIB, 9 * GIB))
    tmp_path.chmod(0o700)

    assert finding.state == "fail"
    assert "the right to write" in finding.remedy


def test_a_full_disk_is_a_warning_that_names_the_setting(tmp_path: Path):
    [finding] = examine_disk(tmp_path / "not" / "there", lambda _: (10 * GIB, 9 * GIB, GIB))

    assert finding.state == "warn"
    assert "1.0 GiB free" in finding.what
    assert "MILLSTREAM_HOME" in finding.remedy


def test_room_enough_is_ok(tmp_path: Path):
    [finding] = examine_disk(tmp_path, lambda _: (10 * GIB, 0, 10 * GIB))

    assert (finding.state, finding.remedy) == ("ok", "")


def test_a_named_cluster_needs_no_java():
    [finding] = examine_local_kafka(named=True)

    assert finding.state == "ok"


def test_a_cluster_that_does_not_answer_fails_with_the_remedy():
    [finding] = examine_cluster(KafkaSettings(bootstrap=f"127.0.0.1:{free_port()}"), JoinSettings())

    assert (finding.state, finding.subject) == ("fail", "cluster")
    assert "millstream kafka up" in finding.remedy


@pytest.mark.kafka
def test_a_mapping_whose_topic_is_missing_fails_with_what_to_correct(kafka: KafkaSettings, tmp_path: Path):
    mapping = tmp_path / "mapping.toml"
    fields = "{ click_id = 'id', impression_id = 'view', event_time_ms = 'ts' }"
    mapping.write_text(f"[[source]]\ntopic = 'shop.clicks'\nevent = 'click'\nfields = {fields}\n")

    [finding] = examine_adapter(kafka, AdapterSettings(mapping=mapping))

    assert (finding.state, finding.subject) == ("fail", "adapter")
    assert "shop.clicks: it does not exist" in finding.what
    assert str(mapping) in finding.remedy


def test_an_adapter_that_is_not_configured_is_no_finding():
    assert list(examine_adapter(KafkaSettings(), AdapterSettings())) == []


def test_every_codec_is_ok_when_the_locked_packages_are_there():
    [finding] = examine_codecs()

    assert finding.state == "ok"
    assert "lz4" in finding.what


def test_a_missing_codec_fails_with_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kafka.codec.zstd", None)

    [finding] = examine_codecs()

    assert finding.state == "fail"
    assert "kafka-python[zstd]" in finding.remedy


@pytest.mark.kafka
def test_a_cluster_with_its_topics_is_ok(kafka: KafkaSettings):
    assert states(list(examine_cluster(kafka, JoinSettings()))) == {"cluster": "ok", "topics": "ok"}


@pytest.mark.kafka
def test_a_retention_too_short_for_the_window_fails(kafka: KafkaSettings):
    _, finding = examine_cluster(kafka, JoinSettings(window_seconds=300_000))

    assert finding.state == "fail"
    assert "shorter than the attribution window" in finding.what
    assert "MILLSTREAM_KAFKA_RETENTION_HOURS" in finding.remedy


def test_a_champion_as_published_is_ok(registry: ModelRegistry):
    [finding] = examine_model(registry.root)

    assert finding.state == "ok"


def test_a_champion_with_a_changed_file_fails(registry: ModelRegistry):
    [version] = registry.versions()
    (registry.path(version) / "config.json").write_text("{}")

    [finding] = examine_model(registry.root)

    assert finding.state == "fail"
    assert "config.json" in finding.what
    assert "rollback" in finding.remedy


@pytest.mark.parametrize("present", [True, False])
def test_no_champion_fails_and_says_how_to_begin(tmp_path: Path, present: bool):
    if present:
        ModelRegistry(tmp_path / "registry")

    [finding] = examine_model(tmp_path / "registry")

    assert finding.state == "fail"
    assert "millstream models init" in finding.remedy


def test_a_taken_port_is_named_with_the_setting_that_moves_it():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        [finding] = examine_ports({"service": port, "stream": free_port()})

    assert finding.state == "warn"
    assert f"service {port} is taken" in finding.what
    assert "MILLSTREAM_SERVICE_PORT" in finding.remedy


def test_the_whole_examination_goes_from_the_ground_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    monkeypatch.setenv("MILLSTREAM_KAFKA_BOOTSTRAP", f"127.0.0.1:{free_port()}")

    subjects = [finding.subject for finding in examine()]

    assert list(dict.fromkeys(subjects)) == [
        "settings",
        "disk",
        "java",
        "codecs",
        "cluster",
        "model",
        "strategy",
        "ports",
    ]
    assert len(set(DEFAULT_PORTS.values())) == len(DEFAULT_PORTS)


def test_a_cluster_that_does_not_answer_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    monkeypatch.setenv("MILLSTREAM_KAFKA_BOOTSTRAP", f"127.0.0.1:{free_port()}")
    asked = []
    for part in ("examine_adapter", "examine_producers", "examine_releases"):
        monkeypatch.setattr(f"deploy.doctor.{part}", lambda *_, part=part: asked.append(part) or iter(()))

    examine()

    assert asked == []


@pytest.mark.parametrize(
    ("join", "scorer", "trainer", "setting"),
    [
        ({}, {"strategy": "delay_fnw"}, {}, "MILLSTREAM_JOIN_EARLY_NEGATIVE=true"),
        ({"early_negative": True}, {}, {}, "MILLSTREAM_SCORER_STRATEGY=delay_fnw"),
        ({}, {"strategy": "rho_ref", "frozen_share": 0.25}, {}, "MILLSTREAM_SCORER_FROZEN_SHARE=1"),
        ({}, {"strategy": "recency"}, {}, "MILLSTREAM_TRAINER_REPLAY_SHARE"),
    ],
)
def test_a_strategy_without_what_it_needs_is_a_warning(join, scorer, trainer, setting):
    [finding] = examine_strategy(JoinSettings(**join), ScorerSettings(**scorer), TrainerSettings(**trainer))

    assert finding.state == "warn"
    assert setting in finding.remedy


def test_a_strategy_with_what_it_needs_is_ok():
    settings = ScorerSettings(strategy="delay_fnw")
    [finding] = examine_strategy(JoinSettings(early_negative=True), settings, TrainerSettings())

    assert finding.state == "ok"


def test_every_wrong_setting_is_a_finding_and_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    monkeypatch.setenv("MILLSTREAM_KAFKA_BOOTSTRAP", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("MILLSTREAM_JOIN_WINDOW", "5")
    monkeypatch.setenv("MILLSTREAM_GATE_MIN_CLICKS", "none")
    monkeypatch.setenv("MILLSTREAM_TRAINER_SEED", "-1")
    findings = examine()

    failed = [finding.what for finding in findings if finding.subject == "settings"]
    assert [what.split("=")[0].split(" ")[0] for what in failed] == [
        "MILLSTREAM_JOIN_WINDOW",
        "MILLSTREAM_TRAINER_SEED",
        "MILLSTREAM_GATE_MIN_CLICKS",
    ]
    assert {"disk", "cluster", "model", "ports"} <= states(findings).keys()


def test_a_part_that_breaks_is_a_finding_and_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    monkeypatch.setenv("MILLSTREAM_KAFKA_BOOTSTRAP", f"127.0.0.1:{free_port()}")
    (tmp_path / "registry").write_text("a file where a directory should be")
    monkeypatch.setattr("deploy.doctor.connect_admin", lambda _: 1 / 0)
    findings = examine()

    assert Finding("fail", "cluster", "division by zero") in findings
    assert states(findings)["ports"] in {"ok", "warn"}
