"""The slot of the live model: a release is checked aside, then switched in between micro-batches."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
from torch import Tensor

from scorer.engine.engine import Engine, forward_rows
from scorer.engine.golden import golden_inputs, golden_problem, golden_z
from scorer.model.bundle import ModelBundle
from scorer.registry.manifest import Manifest
from scorer.registry.registry import ModelRegistry
from scorer.registry.version_files import SHARED_FILES
from scorer.registry.version_store import RegistryError
from scorer.settings import ScorerSettings
from stream.events import ModelRelease

SWAP_RESULTS = ("switched", "unchanged", "unreadable", "digest", "incompatible", "not_finite", "golden")
"""Everything that can become of a release: two good ends, and the step that refused it."""


class SwapError(ValueError):
    """A release that may not serve. `reason` is one of SWAP_RESULTS; the live version is untouched."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class StagedVersion:
    """A version that passed every check and can be switched in at once.

    Attributes:
        bundle: The version around the live model, whose tensors are not its own before the switch. Its precision is
            that of its line: another line's version may be shaped alike and computed otherwise.
        tensors: The tensors that differ between versions of a line, on the live model's device.
    """

    bundle: ModelBundle
    tensors: Mapping[str, Tensor]


class ModelSlot:
    """Holds the live version and the one before it.

    A release takes these steps; one that fails any of them leaves the live version serving, and is counted.

    `prepare`, aside, while the live version serves on:
        1. the manifest in the registry has the digest that the release names;
        2. same architecture, tokenizer, features and untrained tensors as the live version;
        3. every file read has the digest its manifest names;
        4. every trained tensor is finite;
        5. the golden query gives finite logits, and those that the publisher got;
        6. the version is warm: it has scored rows in the line's own precision, with finite results.
    A release of the version that served before is a rollback: it passed all this already and is still in memory.
    `switch`, which waits for the micro-batch that runs:
        7. keep the live tensors as `previous`;
        8. copy the new ones into the live ones, in place.

    Args:
        bundle: The first live version, loaded from the registry, its model on its device.
        settings: Of the engine.
    """

    def __init__(self, bundle: ModelBundle, settings: ScorerSettings) -> None:
        self.engine = Engine(bundle, settings)
        self.previous: StagedVersion | None = None
        self._lock = Lock()

    def prepare(self, release: ModelRelease, registry: ModelRegistry) -> StagedVersion:
        """Return the released version, checked and warm (steps 1 to 6).

        Raises:
            SwapError: it may not serve.
        """
        live = self.engine.bundle
        if (old := self.previous) and (old.bundle.version, old.bundle.digest) == (release.version, release.digest):
            return old
        try:
            _check_digest(release, registry)  # 1
            manifest = registry.manifest(release.version)
            _check_compatible(manifest, live)  # 2
            candidate = registry.load(release.version, sharing=live)  # 3
        except (RegistryError, OSError) as error:
            raise SwapError("unreadable", str(error)) from error
        trained = candidate.model.trainable_parameters()
        for name, parameter in trained.items():  # 4
            if not parameter.isfinite().all():
                message = f"version {release.version}: tensor {name} is not finite; the live version stays"
                raise SwapError("not_finite", message)
        if problem := golden_problem(golden_z(candidate), manifest.golden_z):  # 5
            raise SwapError("golden", f"version {release.version}: {problem}; the live version stays")
        rows = candidate.featurizer.encode(golden_inputs(candidate.featurizer.spec))
        z, hidden_norm = forward_rows(candidate, rows, max_batch_tokens=1)  # 6
        if not np.isfinite(z).all() or not np.isfinite(hidden_norm).all():
            message = f"version {release.version}: its scores in {candidate.precision} are not finite"
            raise SwapError("not_finite", message)
        tensors = {name: parameter.detach() for name, parameter in trained.items()}
        return StagedVersion(replace(candidate, model=live.model), tensors)

    def switch(self, staged: StagedVersion) -> None:
        """Make a staged version, or `previous`, the live one (steps 7 and 8)."""
        with self._lock:
            live = self.engine.bundle
            if staged.bundle.version == live.version:
                return
            state = live.model.state_dict()
            previous = StagedVersion(live, {name: state[name].clone() for name in staged.tensors})  # 7
            self.engine.replace(staged.bundle, staged.tensors)  # 8
            self.previous = previous


def _check_digest(release: ModelRelease, registry: ModelRegistry) -> None:
    digest = registry.digest(release.version)
    if digest != release.digest:
        message = (
            f"version {release.version}: its manifest has sha256 {digest}, the release names {release.digest}; "
            "is this process looking at the registry that the trainer writes?"
        )
        raise SwapError("digest", message)


def _check_compatible(manifest: Manifest, live: ModelBundle) -> None:
    different = [name for name in SHARED_FILES if manifest.files.get(name) != live.digests.get(name)]
    if manifest.features != live.featurizer.spec:
        different.append("features")
    if different:
        message = (
            f"version {manifest.version} differs from the live {live.version} in {', '.join(different)}: it belongs to "
            "another model line; restart this process to serve it"
        )
        raise SwapError("incompatible", message)
