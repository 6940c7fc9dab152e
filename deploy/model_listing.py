"""What `millstream models list` and `show` print: reads manifests alone, so that nothing waits for torch."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scorer.registry.settings import RegistrySettings
from scorer.registry.version_store import MANIFEST, ListedVersion, RegistryError, VersionStore

_EMPTY = "no versions yet; start a model line with 'millstream models init'"
_COLUMNS = ("version", "parent", "published (UTC)", "gate", "AUC live → candidate", "aliases")


def print_versions(console: Console | None = None) -> None:
    """Print a table of all versions, the one published first first; damaged ones are said to be so."""
    listed = _store().listed()
    console = console or Console(highlight=False, soft_wrap=True)
    if not listed:
        console.print(_EMPTY)
        return
    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for entry in listed:
        # As it stands: a manifest may hold anything, brackets that read like markup too.
        table.add_row(*map(Text, _cells(entry)))
    # A name that is cut or broken cannot be copied into the next command: the table takes the width it needs.
    wide = console.options.update(max_width=10_000)
    console.width = console.measure(table, options=wide).maximum
    console.print(table)


def versions_json() -> str:
    """Return all versions, the one published first first, as one JSON object."""
    store = _store()
    return _pretty(msgspec.json.encode({"registry": str(store.root), "versions": [_fields(e) for e in store.listed()]}))


def manifest_json(version: str | None) -> str:
    """Return the manifest of a version, by default of the champion, as indented JSON with what later releases put in.

    Raises:
        RegistryError: The version does not exist or its manifest cannot be read; or nothing serves.
    """
    store = _store()
    version = version or store.alias("champion")
    if version is None:
        message = f"no version in {store.root} serves; start a model line with 'millstream models init'"
        raise RegistryError(message)
    known = msgspec.to_builtins(store.manifest(version))
    return _pretty(msgspec.json.encode(known | msgspec.json.decode((store.path(version) / MANIFEST).read_bytes())))


def _store() -> VersionStore:
    return VersionStore(RegistrySettings().root())


def _pretty(raw: bytes) -> str:
    return msgspec.json.format(raw, indent=2).decode()


def _cells(entry: ListedVersion) -> tuple[str, ...]:
    manifest = entry.manifest
    gate = manifest.gate if manifest else None
    judged = gate is not None and gate.auc_live is not None and gate.auc_candidate is not None
    verdict = f"{gate.decision}: {gate.reason}" if gate else "-"
    return (
        entry.version,
        (manifest.parent if manifest else None) or "-",
        _moment(entry.created_ms),
        verdict if manifest else "DAMAGED; 'millstream models verify' says how",
        f"{gate.auc_live:.4f} → {gate.auc_candidate:.4f}" if gate and judged else "-",
        ", ".join(entry.aliases),
    )


def _fields(entry: ListedVersion) -> dict[str, Any]:
    manifest = entry.manifest
    return {
        "version": entry.version,
        "parent": manifest.parent if manifest else None,
        "created_ms": entry.created_ms,
        "covered_offsets": manifest.covered_offsets if manifest else None,
        "gate": manifest.gate if manifest else None,
        "aliases": entry.aliases,
        "problem": entry.problem,
    }


def _moment(time_ms: int) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):  # a manifest may say anything
        return f"{time_ms} ms"
