"""The manifest: what a model version is, where it comes from, and the digest of everything in it."""

from collections.abc import Mapping
from hashlib import file_digest
from pathlib import Path
from typing import Any

import msgspec

from scorer.model.feature_spec import FeatureSpec
from scorer.model.settings import Precision
from stream.events import GateResult


class Learned(msgspec.Struct, frozen=True):
    """What taught the weights of a version.

    Attributes:
        rows: Rows of the stream, replayed ones included.
        gaps: Stretches of `weighted-examples` below the covered offsets whose learning was undone: first offset and the
            one after the last, by partition number.
    """

    rows: int = 0
    gaps: tuple[dict[str, tuple[int, int]], ...] = ()


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a version is and where it comes from.

    Attributes:
        version: Its name.
        line: Its model line.
        number: Its place in the line: 0 initialised, 1 warm-started, 1 + k after update k.
        parent: Version it was trained from; null for the first.
        created_ms: When it was published.
        files: sha256 of every other file.
        features: What it reads from an impression.
        precision: Arithmetic of the line.
        golden_z: Logits of the golden query, computed in fp32 by the publisher.
        libraries: Versions of the libraries that made it.
        plan: The plan of its last update, as the trainer describes it.
        covered_offsets: Next offset of `weighted-examples`, by partition number, that its plans had covered.
        learned: What taught its weights; null in versions of older releases.
        gate: The judgement that let it serve.
    """

    version: str
    line: str
    number: int
    parent: str | None
    created_ms: int
    files: dict[str, str]
    features: FeatureSpec
    precision: Precision
    golden_z: tuple[float, ...]
    libraries: dict[str, str]
    plan: dict[str, Any] = {}
    covered_offsets: dict[str, int] = {}
    learned: Learned | None = None
    gate: GateResult | None = None


def sha256_of(path: Path) -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def file_problems(directory: Path, digests: Mapping[str, str]) -> list[str]:
    """Return which files are missing or are not what was published, one line each."""
    problems = []
    for name, digest in digests.items():
        # A manifest is input too: it must not make us read outside its directory.
        try:
            found = sha256_of(directory / name) if Path(name).name == name else None
        except (OSError, ValueError):  # not there, not ours to read, or no name of a file at all
            found = None
        if found is None:
            problems.append(f"{name}: missing")
        elif found != digest:
            problems.append(f"{name}: sha256 is {found}, published as {digest}")
    return problems
