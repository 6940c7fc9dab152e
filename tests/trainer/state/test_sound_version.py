import pytest

from scorer.registry.version_store import RegistryError
from tests.trainer.rig import Rig, recorded_log
from trainer.state.checkpoint import load_latest
from trainer.state.sound_version import load_sound_version


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path, recorded_log(300))
    rig.run_to_end()
    return rig


def damage(registry, version):
    path = registry.path(version) / "manifest.json"
    path.write_bytes(b"\xff" + path.read_bytes())


def test_a_damaged_version_does_not_keep_the_line_from_learning_on(rig):
    state = load_latest(rig.trainer_dir).state
    damage(rig.registry, state.lineage)
    base = load_sound_version(rig.registry, state)
    assert base.version != state.lineage
    assert base.version in rig.registry.versions()


def test_where_none_is_sound_the_first_is_named(rig):
    state = load_latest(rig.trainer_dir).state
    for version in rig.registry.versions():
        damage(rig.registry, version)
    with pytest.raises(RegistryError, match=state.lineage):
        load_sound_version(rig.registry, state)
