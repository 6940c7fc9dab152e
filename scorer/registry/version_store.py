"""What is in a model registry, for those who only look: needs no torch, and makes nothing.

<root>/<line>-<number>/manifest.json         what it is, and the sha256 of every other file
                       config.json           architecture
                       frozen.safetensors    tensors that do not learn, hard-linked from the parent
                       trained.safetensors   tensors that do
                       statistics.json       of the numeric features
                       tokenizer.json
<root>/aliases/champion                      the name of a version
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

from scorer.registry.manifest import Manifest, sha256_of
from stream.codec import UndecodableError, decoded, from_json, text_of
from stream.events import Alias, ModelRelease

MANIFEST = "manifest.json"

ALIASES: tuple[Alias, ...] = ("champion", "previous", "frozen")

_VERSION = re.compile(r"([0-9a-f]{8})-(\d{6})", re.ASCII)


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


@dataclass(frozen=True)
class ListedVersion:
    """A version directory as a list shows it.

    Attributes:
        version: Its name.
        created_ms: When it was published; when its directory last changed if the manifest cannot be read.
        manifest: Its manifest; None if that cannot be read.
        problem: Why not.
        aliases: What points to it.
    """

    version: str
    created_ms: int
    manifest: Manifest | None
    problem: str | None
    aliases: tuple[Alias, ...]


class VersionStore:
    """A directory of versions; need not exist.

    Args:
        root: The directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

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
        path = self.path(version) / MANIFEST
        try:
            manifest = from_json(path.read_bytes(), Manifest, "a manifest")
        except FileNotFoundError as error:
            message = f"version {version} is not in {self.root}; see `millstream models list`"
            if path.parent.is_dir():
                message = (
                    f"version {version}: its {MANIFEST} is missing; restore it from a copy, or remove the directory"
                )
            elif not self.root.is_dir():
                message = (
                    f"version {version}: there is no registry in {self.root}; mount it there, or set "
                    "MILLSTREAM_REGISTRY_DIRECTORY to where it is"
                )
            raise RegistryError(message) from error
        except (UndecodableError, OSError) as error:
            message = f"version {version}: {path} cannot be read ({error}); restore the directory from a copy"
            raise RegistryError(message) from error
        if manifest.version != version:
            message = (
                f"version {version}: {path} is that of {manifest.version[:40]!r}; a version keeps its name: "
                "remove the directory, or give it the name it had"
            )
            raise RegistryError(message)
        return manifest

    def digest(self, version: str) -> str:
        """Return the sha256 of a version's manifest, which names the digest of everything else in it."""
        self.manifest(version)
        return sha256_of(self.path(version) / MANIFEST)

    def versions(self) -> list[str]:
        """Return the name of every version, readable or not, in the order of its line."""
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if _VERSION.fullmatch(path.name) and path.is_dir())

    def listed(self) -> list[ListedVersion]:
        """Return every version, the one published first first; damaged ones too."""
        aliases: dict[Alias, str | None] = {}
        for alias in ALIASES:
            with suppress(RegistryError):  # doctor says what is wrong with it
                aliases[alias] = self.alias(alias)
        listed = [
            self._listed(version, tuple(alias for alias in aliases if aliases[alias] == version))
            for version in self.versions()
        ]
        return sorted(listed, key=lambda entry: (entry.created_ms, entry.version))

    def alias(self, alias: Alias) -> str | None:
        """Return the version an alias points to, or None.

        Raises:
            RegistryError: the alias is not one of ours, or its file cannot be read.
        """
        path = self._alias_path(alias)
        try:
            return text_of(path, "the name of a version") if path.is_file() else None
        except (OSError, UndecodableError) as error:
            message = f"{path} cannot be read ({error}); write the name of a version into it"
            raise RegistryError(message) from error

    def aliases(self) -> Iterator[tuple[Alias, str]]:
        """Yield every alias that points somewhere, and where."""
        for alias in ALIASES:
            if version := self.alias(alias):
                yield alias, version

    def _alias_path(self, alias: Alias) -> Path:
        if alias not in ALIASES:
            message = f"alias {alias!r} is not one of {', '.join(ALIASES)}"
            raise RegistryError(message)
        return self.root / "aliases" / alias

    def _listed(self, version: str, aliases: tuple[Alias, ...]) -> ListedVersion:
        try:
            manifest = self.manifest(version)
        except RegistryError as error:
            changed_ms = int(self.path(version).stat().st_mtime * 1000)
            return ListedVersion(version, changed_ms, None, str(error), aliases)
        return ListedVersion(version, manifest.created_ms, manifest, None, aliases)


def released_root(release: ModelRelease, root: Path) -> Path:
    """Return the registry that holds a released version.

    Args:
        release: The release. Its location is relative: the version is in whatever directory this process has the
            registry in. The first releases named the trainer's own path, which counts where the version is there.
        root: Where this process has the registry.

    Raises:
        RegistryError: the location is neither a path nor a file:// URI.
    """
    try:
        named = decoded(release.location, _path, "a path or file:// URI")
        found = named.is_absolute() and (named / release.version / MANIFEST).is_file()
    except (UndecodableError, OSError) as error:
        message = f"registry location {release.location[:200]!r}: {error}; mount the registry and publish there"
        raise RegistryError(message) from error
    return named if found else root


def _path(location: str) -> Path:
    parts = urlparse(location)
    if parts.scheme not in {"", "file"}:
        message = f"it has the scheme {parts.scheme[:20]}"
        raise ValueError(message)
    return Path(unquote(parts.path))
