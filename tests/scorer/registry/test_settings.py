from scorer.registry.settings import RegistrySettings


def test_the_registry_stands_in_the_state_directory_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    assert RegistrySettings().root() == tmp_path / "registry"
    assert RegistrySettings(directory=tmp_path / "here").root() == tmp_path / "here"
