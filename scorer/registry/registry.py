"""The model registry: immutable version directories, published atomically (see `scorer.registry.version_store`)."""

import copy
import math
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import msgspec
import structlog
import torch
from safetensors.torch import load_file

from scorer.engine.golden import golden_z
from scorer.model.bundle import ModelBundle
from scorer.model.ctr_bert import CtrBert, CtrConfig
from scorer.model.features import TOKENIZER_FILE, Featurizer
from scorer.model.numeric_statistics import NumericStatistics
from scorer.registry.manifest import Learned, Manifest, file_problems
from scorer.registry.version_files import (
    CONFIG,
    FROZEN,
    SHARED_FILES,
    STATISTICS,
    TRAINED,
    sync_tree,
    write_json,
    write_version_files,
)
from scorer.registry.version_store import MANIFEST, RegistryError, VersionStore, parse_version
from stream.codec import UndecodableError, decoded
from stream.disk.durable_files import storing, sync, write_durably
from stream.events import Alias, GateResult

LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")
LEFTOVER_SECONDS = 3600
"""Age at which a half-written version is a crash's, not that of a process that is writing it."""


class ModelRegistry(VersionStore):
    """A directory of versions that can be published and loaded; only publishing makes it."""

    def publish(
        self,
        bundle: ModelBundle,
        *,
        created_ms: int,
        parent: str | None = None,
        plan: Mapping[str, Any] | None = None,
        covered_offsets: Mapping[str, int] | None = None,
        learned: Learned | None = None,
        gate: GateResult | None = None,
    ) -> str:
        """Write the bundle as an immutable version and return its digest (sha256 of its manifest).

        It appears whole or not at all. Publishing the same content again is a no-op that returns the digest of what is
        there, so that a restarted trainer may repeat its last step.

        Raises:
            RegistryError: the version exists with other content, or its scores are not finite.
            StorageError: it cannot be written; nothing of it is left.
        """
        line, number = parse_version(bundle.version)
        num_bytes = sum(tensor.nbytes for tensor in bundle.model.state_dict().values())
        with self._new_directory(bundle.version, num_bytes) as directory:
            files = write_version_files(bundle, directory, self.path(parent) if parent else None)
            if self.path(bundle.version).exists() and not self._set_aside_unreadable(bundle.version):
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
                learned=learned,
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
        shared = _shared_files(manifest, sharing)
        unshared = {name: digest for name, digest in manifest.files.items() if name not in shared}
        if verify and (problems := file_problems(self.path(version), unshared)):
            message = f"version {version} is not what was published ({'; '.join(problems)}); serve another version"
            raise RegistryError(message)
        try:
            return decoded(
                manifest,
                lambda manifest: self._load(manifest, shared, sharing, device, cached_segments),
                "a version that can be loaded",
                self.path(version),
            )
        except UndecodableError as error:
            raise RegistryError(f"{error}; serve another version") from error

    def verify(self, version: str) -> list[str]:
        """Return what is wrong with a version, one line each; an empty list means it can be trusted."""
        try:
            directory, manifest = self.path(version), self.manifest(version)
            if problems := file_problems(directory, manifest.files):
                return problems
            return [problem for name in (FROZEN, TRAINED) for problem in decoded(directory / name, _not_finite, name)]
        except (RegistryError, UndecodableError) as error:
            return [str(error)]

    def prune(self, keep: int, protected: Iterable[str] = ()) -> list[str]:
        """Remove all but the newest `keep` versions and return the names of those removed.

        Whatever an alias points to, and whatever is protected, stays; so does a version whose manifest cannot be read,
        for somebody to look at, and one that cannot be removed. What a crash left half-written or half-removed goes.
        """
        for leftover in self.root.glob(".*ing-*"):
            if leftover.is_dir() and time.time() - leftover.stat().st_mtime > LEFTOVER_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)
        try:
            pointed_to = [version for _, version in self.aliases()]
        except RegistryError as error:
            structlog.get_logger(__name__).warning("registry_not_pruned", message=str(error))
            return []
        created = {version: self.manifest(version).created_ms for version in self.versions() if self._readable(version)}
        by_age = sorted(created, key=lambda version: (created[version], version))
        kept = {*by_age[len(by_age) - min(keep, len(by_age)) :], *protected, *pointed_to}
        doomed = [version for version in by_age if version not in kept]
        return [version for version in doomed if self._remove(version)]

    def set_alias(self, alias: Alias, version: str) -> None:
        """Point an alias to an existing version, atomically.

        Raises:
            RegistryError: the alias is not one of ours or the version does not exist.
        """
        self.manifest(version)
        path = self._alias_path(alias)
        with storing(path):
            path.parent.mkdir(exist_ok=True)
        write_durably(path, version.encode())

    @contextmanager
    def _new_directory(self, version: str, num_bytes: int) -> Iterator[Path]:
        """Give a directory of the version's name in which to write it, removed in the end unless it was moved away."""
        with storing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        with (
            storing(self.path(version), num_bytes),
            tempfile.TemporaryDirectory(prefix=".publishing-", dir=self.root) as name,
        ):
            directory = Path(name) / version
            directory.mkdir()
            yield directory

    def _load(
        self,
        manifest: Manifest,
        shared: set[str],
        sharing: ModelBundle | None,
        device: torch.device | str,
        cached_segments: int,
    ) -> ModelBundle:
        directory = self.path(manifest.version)
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
        sums = msgspec.json.decode((directory / STATISTICS).read_bytes(), type=dict[str, dict[str, float]])
        bundle = ModelBundle(
            model=model,
            featurizer=featurizer,
            statistics=NumericStatistics.from_json(sums, manifest.features.numeric),
            version=manifest.version,
            precision=manifest.precision,
            digests=manifest.files,
            digest=self.digest(manifest.version),
        )
        if tuple(sums) != manifest.features.numeric:
            bundle = _with_the_publisher_s_statistics(bundle, sums, manifest)
        return bundle

    def _remove(self, version: str) -> bool:
        """Remove a version and return whether it is gone: a link, or a directory that is not ours, stays."""
        path = self.path(version)
        try:
            if path.is_symlink():
                message = "it is a link to another place; remove it by hand"
                raise OSError(message)
            # The rename makes the removal atomic: a reader finds the whole version or none.
            grave = Path(tempfile.mkdtemp(prefix=f".removing-{version}-", dir=self.root))
            path.rename(grave / version)
            shutil.rmtree(grave)
        except OSError as error:
            structlog.get_logger(__name__).warning("version_not_removed", version=version, message=str(error))
            return not path.exists()
        return True

    def _set_aside_unreadable(self, version: str) -> bool:
        """Move a directory out of the way of a version of the same name that is to be published, if it holds none."""
        if self._readable(version):
            return False
        aside = Path(tempfile.mkdtemp(prefix=f".unreadable-{version}-", dir=self.root))
        self.path(version).rename(aside / version)
        structlog.get_logger(__name__).error("unreadable_version_set_aside", version=version, kept_in=str(aside))
        return True

    def _readable(self, version: str) -> bool:
        try:
            self.manifest(version)
        except RegistryError:
            return False
        return True

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


def _with_the_publisher_s_statistics(
    bundle: ModelBundle, sums: Mapping[str, Mapping[str, float]], manifest: Manifest
) -> ModelBundle:
    """Return the bundle as it was published.

    The first releases sorted the statistics by name. Those of a warm-started line had been kept by position, under the
    names of others; those of any other line bear their own names. The golden query tells them apart.
    """
    by_position = NumericStatistics.from_json(sums, bundle.statistics.names, by_position=True)
    candidates = (bundle, replace(bundle, statistics=by_position))

    def distance(candidate: ModelBundle) -> float:
        answers = zip(golden_z(candidate), manifest.golden_z, strict=False)
        return max((abs(found - published) for found, published in answers), default=0.0)

    return min(candidates, key=distance)


def _shared_files(manifest: Manifest, sharing: ModelBundle | None) -> set[str]:
    digests = sharing.digests if sharing else {}
    return {name for name in SHARED_FILES if digests.get(name) == manifest.files.get(name)}


def copy_with_shared_tensors(model: CtrBert) -> CtrBert:
    """Return a copy whose trained tensors are its own; those that do not learn are shared with the original."""
    trained = model.trainable_parameters()
    shared = {id(parameter): parameter for name, parameter in model.named_parameters() if name not in trained}
    return copy.deepcopy(model, memo=dict(shared))


def _not_finite(path: Path) -> list[str]:
    return [
        f"{path.name}: tensor {key} has values that are not finite"
        for key, tensor in load_file(path).items()
        if tensor.is_floating_point() and not tensor.isfinite().all()
    ]
