import msgspec

from scorer.model.feature_spec import FeatureSpec
from scorer.registry.manifest import Manifest, file_problems, sha256_of

GOLDEN = b"""{
  "version": "0123abcd-000002", "line": "0123abcd", "number": 2, "parent": "0123abcd-000001", "created_ms": 5,
  "files": {"config.json": "aa"}, "features": {"numeric": ["price"], "max_position": 9}, "precision": "fp32",
  "golden_z": [0.5], "libraries": {"torch": "2.9"}, "covered_offsets": {"0": 17},
  "gate": {"decision": "promote", "reason": "no evidence of harm"}
}"""


def test_a_manifest_of_the_first_release_still_decodes():
    manifest = msgspec.json.decode(GOLDEN, type=Manifest)
    assert (manifest.number, manifest.covered_offsets, manifest.gate.decision) == (2, {"0": 17}, "promote")
    assert manifest.features == FeatureSpec(numeric=("price",), max_position=9)


def test_a_manifest_survives_json():
    manifest = msgspec.json.decode(GOLDEN, type=Manifest)
    assert msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest) == manifest


def test_a_manifest_cannot_name_a_file_outside_its_directory(tmp_path):
    (tmp_path / "secret").write_text("x")
    (tmp_path / "v").mkdir()
    digest = sha256_of(tmp_path / "secret")
    assert file_problems(tmp_path / "v", {"../secret": digest}) == ["../secret: missing"]
