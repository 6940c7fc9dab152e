import dataclasses

import pytest

from tests.doubles import tiny_bundle


def test_a_bundle_never_changes_under_a_reader(tmp_path):
    with pytest.raises(dataclasses.FrozenInstanceError):
        tiny_bundle(tmp_path).version = "00000000-000001"
