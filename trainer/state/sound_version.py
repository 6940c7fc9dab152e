"""The versions that a line is loaded with: any sound one to start from, and the frozen one as its anchor."""

from typing import Any

import structlog

from scorer.model.bundle import ModelBundle
from scorer.registry.registry import ModelRegistry
from scorer.registry.version_store import RegistryError, parse_version
from trainer.state.line_state import LineState


def load_sound_version(registry: ModelRegistry, state: LineState, **options: Any) -> ModelBundle:
    """Return the version that the weights descend from, or the newest other of the line where that is damaged.

    What a line has learned is in its checkpoint; of a version it takes only what all of the line share.

    Args:
        registry: Where the versions are.
        state: Of the line.
        options: Of `ModelRegistry.load`.

    Raises:
        RegistryError: no version of the line can be loaded; says what is wrong with the first.
    """
    of_line = [version for version in registry.versions() if parse_version(version)[0] == state.line]
    refused: RegistryError | None = None
    for version in dict.fromkeys([state.lineage, *reversed(of_line)]):
        try:
            return registry.load(version, **options)
        except RegistryError as error:
            structlog.get_logger(__name__).error("version_damaged", version=version, message=str(error))
            refused = refused or error
    assert refused is not None
    raise refused


def load_anchor(registry: ModelRegistry, bundle: ModelBundle) -> ModelBundle | None:
    """Return the frozen version; None, with a warning, where it cannot be loaded or is of another line.

    Args:
        registry: Where the versions are.
        bundle: One of the line, loaded; what is equal is shared.
    """
    version, problem = registry.alias("frozen"), "it is of another line"
    if version is not None and parse_version(version)[0] == parse_version(bundle.version)[0]:
        try:
            return registry.load(version, sharing=bundle)
        except RegistryError as error:
            problem = str(error)
    structlog.get_logger(__name__).warning("no_anchor", frozen=version, message=problem)
    return None
