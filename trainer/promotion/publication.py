"""Publishing versions, moving aliases, and telling the world: the trainer's outgoing side."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

import structlog
from msgspec import UNSET

from scorer.model.bundle import ModelBundle
from scorer.registry.manifest import Learned
from scorer.registry.registry import ModelRegistry
from scorer.registry.version_store import ALIASES, RegistryError
from stream.events import Alias, GateResult, ModelRelease
from trainer.state.line_state import Knowledge
from trainer.state.plan import Plan

ReleaseReason = Literal["initialised", "warm_started", "promoted", "rolled_back"]
Value = TypeVar("Value")
Announce = Callable[[Sequence[ModelRelease]], None]


class Publisher:
    """Writes versions and aliases to the registry and announces what moved.

    The order is: version directory, alias files, announcement. Each step may be repeated: a version that is there is
    not written again, an alias that is known to point there is not announced again.

    Args:
        registry: Where versions are.
        announce: Delivers releases; returns when they are delivered.
        announced: Where each alias points to as far as the world knows.
        now_ms: Wall clock.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        announce: Announce,
        announced: Mapping[Alias, ModelRelease],
        now_ms: Callable[[], int],
    ) -> None:
        self.registry = registry
        self._announce = announce
        self._announced = dict(announced)
        self._now_ms = now_ms

    def publish(
        self,
        bundle: ModelBundle,
        *,
        parent: str | None,
        knowledge: Knowledge,
        gate: GateResult | None = None,
        plan: Plan | None = None,
    ) -> None:
        """Write a version; nobody serves it yet.

        Args:
            bundle: The version.
            parent: Version it was trained from.
            knowledge: What its weights have learned.
            gate: The judgement that lets it serve.
            plan: The plan it was judged on.
        """
        self.registry.publish(
            bundle,
            created_ms=self._now_ms(),
            parent=parent,
            plan={"judged_on": plan.number, "first": _keys(plan.first), "next": _keys(plan.next)} if plan else {},
            covered_offsets=_keys(knowledge.covered),
            learned=Learned(knowledge.rows, tuple(_keys(gap) for gap in knowledge.gaps)),
            gate=gate,
        )

    def knowledge_of(self, version: str) -> Knowledge:
        """Return what the weights of a version have learned.

        Versions of older releases do not say how many rows: none are counted, as in the state of such a line.

        Raises:
            RegistryError: the version does not exist or its manifest cannot be read.
        """
        manifest = self.registry.manifest(version)
        learned = manifest.learned or Learned()
        gaps = tuple({int(partition): place for partition, place in gap.items()} for gap in learned.gaps)
        covered = {int(partition): offset for partition, offset in manifest.covered_offsets.items()}
        return Knowledge(learned.rows, covered, gaps)

    def move(self, aliases: Mapping[Alias, str], reason: ReleaseReason) -> None:
        """Point aliases to versions and announce those that the world does not know yet."""
        for alias, version in aliases.items():
            self.registry.set_alias(alias, version)
        self._tell(aliases, reason)

    def announce_missing(self, reason: ReleaseReason) -> list[Alias]:
        """Announce what was published but not announced when the process ended, and return those aliases."""
        pointed = {}
        for alias in ALIASES:
            try:
                version = self.registry.alias(alias)
                if version is not None:
                    self.registry.manifest(version)
                    pointed[alias] = version
            except RegistryError as error:
                # A damaged old version is no reason not to learn; whoever serves the champion says so if it is that.
                structlog.get_logger(__name__).error("alias_unusable", alias=alias, message=str(error))
        return self._tell(pointed, reason)

    def _tell(self, aliases: Mapping[Alias, str], reason: ReleaseReason) -> list[Alias]:
        releases = [
            self._release(alias, version, reason)
            for alias, version in aliases.items()
            if alias not in self._announced or self._announced[alias].version != version
        ]
        if releases:
            self._announce(releases)
        for release in releases:
            self._announced[release.alias] = release
            structlog.get_logger(__name__).info("announced", alias=release.alias, version=release.version)
        return [release.alias for release in releases]

    def _release(self, alias: Alias, version: str, reason: ReleaseReason) -> ModelRelease:
        manifest = self.registry.manifest(version)
        return ModelRelease(
            alias=alias,
            version=version,
            digest=self.registry.digest(version),
            location=version,  # in the registry, wherever a reader has that
            reason=reason,
            created_ms=self._now_ms(),
            parent=manifest.parent,
            gate=manifest.gate,
            covered_offsets=manifest.covered_offsets,
            gaps=(manifest.learned.gaps if manifest.learned else ()) or UNSET,
        )


def _keys(by_partition: Mapping[int, Value]) -> dict[str, Value]:
    return {str(partition): value for partition, value in by_partition.items()}
