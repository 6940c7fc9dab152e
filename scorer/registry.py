"""The model registry: immutable version directories, published atomically, and the aliases that point to them.

<root>/<line>-<number>/manifest.json         what it is, and the sha256 of every other file
                       config.json           architecture
                       frozen.safetensors    tensors that do not learn, hard-linked from the parent
                       trained.safetensors   tensors that do
                       statistics.json       of the numeric features
                       tokenizer.json
<root>/aliases/champion                      the name of a version
"""

import copy
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors.torch import load_file

from scorer.bundle import ModelBundle
from scorer.features import TOKENIZER_FILE, Featurizer, NumericStatistics
from scorer.golden import golden_z
from scorer.manifest import Manifest
from scorer.model import CtrBert, CtrConfig
from scorer.version_files import (
    CONFIG,
    FROZEN,
    MANIFEST,
    SHARED_FILES,
    STATISTICS,
    TRAINED,
    file_problems,
    sha256_of,
    sync,
    sync_tree,
    write_json,
    write_version_files,
)
from stream.events import Alias, GateResult

LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")
LEFTOVER_SECONDS = 3600
"""Age at which a half-written version is a crash's, not that of a process that is writing it."""

ALIASES: tuple[Alias, ...] = ("champion", "previous", "frozen")

_VERSION = re.compile(r"([0-9a-f]{8})-(\d{6})")


class RegistryError(ValueError):
    """A version that cannot be published, found or trusted; the message says what to do."""


def version_name(line: str, number: int) -> str:
    """Return the name of a version of a line."""
    return f"{line}-{number:06d}"


def parse_version(version: str) -> tuple[str, int]:
    """Return line and number of a version.

    Raises:
        RegistryError: it is not a version name (and so no path out of the registry either).
    """
    match = _VERSION.fullmatch(version)
    if match is None:
        message = f"{version!r} is not a version: 8 hex digits, a dash and 6 digits; see `millstream models list`"
        raise RegistryError(message)
    return match[1], int(match[2])


class ModelRegistry:
    """A directory of versions.

    Args:
        root: The directory; made when missing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "aliases").mkdir(parents=True, exist_ok=True)

    def publish(
        self,
        bundle: ModelBundle,
        *,
        created_ms: int,
        parent: str | None = None,
        plan: Mapping[str, Any] | None = None,
        covered_offsets: Mapping[str, int] | None = None,
        gate: GateResult | None = None,
    ) -> str:
        """Write the bundle as an immutable version and return its digest (sha256 of its manifest).

        It appears whole or not at all. Publishing the same content again is a no-op that returns the digest of what is
        there, so that a restarted trainer may repeat its last step.

        Raises:
            RegistryError: the version exists with other content, or its scores are not finite.
        """
        line, number = parse_version(bundle.version)
        with tempfile.TemporaryDirectory(prefix=".publishing-", dir=self.root) as name:
            directory = Path(name) / bundle.version
            directory.mkdir()
            files = write_version_files(bundle, directory, self.path(parent) if parent else None)
            if self.path(bundle.version).exists():
                return self._published_digest(bundle.version, files)
            manifest = Manifest(
                version=bundle.version,
                line=line,
                number=number,
                parent=parent,
                created_ms=created_ms,
                files=files,
                features=bundle.featurizer.spec,
                precision=bundle.precision,
                golden_z=_finite_golden_z(bundle),
                libraries={library: library_version(library) for library in LIBRARIES},
                plan=dict(plan or {}),
                covered_offsets=dict(covered_offsets or {}),
                gate=gate,
            )
            write_json(directory / MANIFEST, manifest)
            sync_tree(directory)
            directory.rename(self.path(bundle.version))
        sync(self.root)
        return self.digest(bundle.version)

    def load(
        self,
        version: str,
        *,
        verify: bool = True,
        sharing: ModelBundle | None = None,
        device: torch.device | str = "cpu",
        cached_segments: int = 50_000,
    ) -> ModelBundle:
        """Return a version, ready to score.

        Args:
            version: Its name.
            verify: Whether to compare every file that is read with its digest.
            sharing: A loaded version. What is equal is not read again but shared: tensors that do not learn, and the
                featurizer with its cache.
            device: Where the model goes when nothing is shared; else it goes where the shared one is.
            cached_segments: Size of the featurizer's cache when it is not shared.

        Raises:
            RegistryError: it does not exist or a file is not what was published.
        """
        manifest = self.manifest(version)
        directory = self.path(version)
        shared = _shared_files(manifest, sharing)
        unshared = {name: digest for name, digest in manifest.files.items() if name not in shared}
        if verify:
            _refuse(version, file_problems(directory, unshared))
        if sharing is not None and {CONFIG, FROZEN} <= shared:
            model = copy_with_shared_tensors(sharing.model)
            model.load_state_dict(sharing.model.state_dict() | load_file(directory / TRAINED))
        else:
            model = CtrBert(msgspec.json.decode((directory / CONFIG).read_bytes(), type=CtrConfig)).to(device)
            model.load_state_dict(load_file(directory / FROZEN) | load_file(directory / TRAINED))
        if sharing is not None and TOKENIZER_FILE in shared and sharing.featurizer.spec == manifest.features:
            featurizer = sharing.featurizer
        else:
            featurizer = Featurizer(directory, manifest.features, cached_segments=cached_segments)
        return ModelBundle(
            model=model,
            featurizer=featurizer,
            statistics=NumericStatistics.from_json(msgspec.json.decode((directory / STATISTICS).read_bytes())),
            version=version,
            precision=manifest.precision,
            digests=manifest.files,
            digest=self.digest(version),
        )

    def path(self, version: str) -> Path:
        """Return where a version is, whether or not it exists.

        Raises:
            RegistryError: it is not a version name.
        """
        parse_version(version)
        return self.root / version

    def manifest(self, version: str) -> Manifest:
        """Return the manifest of a version.

        Raises:
            RegistryError: the version does not exist or its manifest cannot be read.
        """
        return _read_manifest(version, self.path(version))

    def digest(self, version: str) -> str:
        """Return the sha256 of a version's manifest, which names the digest of everything else in it."""
        self.manifest(version)
        return sha256_of(self.path(version) / MANIFEST)

    def versions(self) -> list[str]:
        """Return every version, oldest first within its line."""
        return sorted(path.name for path in self.root.iterdir() if _VERSION.fullmatch(path.name))

    def verify(self, version: str) -> list[str]:
        """Return what is wrong with a version, one line each; an empty list means it can be trusted."""
        try:
            manifest = self.manifest(version)
        except RegistryError as error:
            return [str(error)]
        directory = self.path(version)
        problems = file_problems(directory, manifest.files)
        if not problems:
            problems += [
                f"{name}: tensor {key} has values that are not finite"
                for name in (FROZEN, TRAINED)
                for key, tensor in load_file(directory / name).items()
                if tensor.is_floating_point() and not tensor.isfinite().all()
            ]
        return problems

    def prune(self, keep: int, protected: Iterable[str] = ()) -> list[str]:
        """Remove all but the newest `keep` versions and return the names of those removed.

        Whatever an alias points to, and whatever is protected, stays; so does a version whose manifest cannot be read,
        for somebody to look at. What a crash left half-written or half-removed goes.
        """
        for leftover in self.root.glob(".*ing-*"):
            if time.time() - leftover.stat().st_mtime > LEFTOVER_SECONDS:
                shutil.rmtree(leftover)
        created = {version: self.manifest(version).created_ms for version in self.versions() if self._readable(version)}
        by_age = sorted(created, key=lambda version: (created[version], version))
        kept = {*by_age[len(by_age) - min(keep, len(by_age)) :], *protected, *(self.alias(name) for name in ALIASES)}
        doomed = [version for version in by_age if version not in kept]
        for version in doomed:
            # The rename makes the removal atomic: a reader finds the whole version or none.
            grave = self.root / f".removing-{version}"
            self.path(version).rename(grave)
            shutil.rmtree(grave)
        return doomed

    def set_alias(self, alias: Alias, version: str) -> None:
        """Point an alias to an existing version, atomically.

        Raises:
            RegistryError: the alias is not one of ours or the version does not exist.
        """
        self.manifest(version)
        path = self._alias_path(alias)
        temporary = path.with_suffix(".new")
        temporary.write_text(version)
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)

    def alias(self, alias: Alias) -> str | None:
        """Return the version an alias points to, or None."""
        path = self._alias_path(alias)
        return path.read_text().strip() if path.is_file() else None

    def _readable(self, version: str) -> bool:
        try:
            self.manifest(version)
        except RegistryError:
            return False
        return True

    def _alias_path(self, alias: Alias) -> Path:
        if alias not in ALIASES:
            message = f"alias {alias!r} is not one of {', '.join(ALIASES)}"
            raise RegistryError(message)
        return self.root / "aliases" / alias

    def _published_digest(self, version: str, files: Mapping[str, str]) -> str:
        published = self.manifest(version).files
        different = sorted(name for name in {*files, *published} if files.get(name) != published.get(name))
        if different:
            message = (
                f"version {version} exists with other content ({', '.join(different)}); versions never change: "
                f"publish under another number, or start a new line with `millstream models init`"
            )
            raise RegistryError(message)
        return self.digest(version)


def _finite_golden_z(bundle: ModelBundle) -> tuple[float, ...]:
    answers = golden_z(bundle)
    for answer in answers:
        if not math.isfinite(answer):
            message = f"version {bundle.version} answers the golden query with {answer}; go back to an earlier version"
            raise RegistryError(message)
    return answers


def _shared_files(manifest: Manifest, sharing: ModelBundle | None) -> set[str]:
    digests = sharing.digests if sharing else {}
    return {name for name in SHARED_FILES if digests.get(name) == manifest.files.get(name)}


def copy_with_shared_tensors(model: CtrBert) -> CtrBert:
    """Return a copy whose trained tensors are its own; those that do not learn are shared with the original."""
    trained = model.trainable_parameters()
    shared = {id(parameter): parameter for name, parameter in model.named_parameters() if name not in trained}
    return copy.deepcopy(model, memo=dict(shared))


def _read_manifest(version: str, directory: Path) -> Manifest:
    try:
        return msgspec.json.decode((directory / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        message = f"version {version} is not in {directory.parent}; see `millstream models list`"
        raise RegistryError(message) from error
    except msgspec.DecodeError as error:
        message = f"version {version}: its {MANIFEST} cannot be read ({error}); restore the directory from a copy"
        raise RegistryError(message) from error


def _refuse(version: str, problems: list[str]) -> None:
    if problems:
        message = f"version {version} is not what was published ({'; '.join(problems)}); serve another version"
        raise RegistryError(message)
