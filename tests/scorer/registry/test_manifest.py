import msgspec

from scorer.model.feature_spec import FeatureSpec
from scorer.registry.manifest import Manifest

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
