from scorer.registry.digests import file_problems, sha256_of


def test_a_manifest_cannot_name_a_file_outside_its_directory(tmp_path):
    (tmp_path / "secret").write_text("x")
    (tmp_path / "v").mkdir()
    digest = sha256_of(tmp_path / "secret")
    assert file_problems(tmp_path / "v", {"../secret": digest}) == ["../secret: missing"]
