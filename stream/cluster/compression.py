"""The codecs of compressed topics: the cluster's owner chooses one, and every reader must have it."""

from types import ModuleType

import aiokafka.codec
import kafka.codec

CODECS = ("gzip", "snappy", "lz4", "zstd")
"""What `compression.type` of a topic, or a producer, may be."""

_CLIENTS: dict[str, ModuleType] = {"aiokafka": aiokafka.codec, "kafka-python": kafka.codec}
"""Faust reads with the first, every other reader with the second, and each brings packages of its own."""

_SAMPLE = b"millstream " * 100


def unreadable_codecs() -> list[tuple[str, str]]:
    """Return the (client, codec) pairs that cannot be read here; empty when all is well."""
    return [(client, codec) for client, module in _CLIENTS.items() for codec in CODECS if not _reads(module, codec)]


def _reads(module: ModuleType, codec: str) -> bool:
    """Return whether the client's codec gives back what it was given, not only whether it says that it is there."""
    if not getattr(module, f"has_{codec}")():
        return False
    packed = getattr(module, f"{codec}_encode")(_SAMPLE)
    return bytes(getattr(module, f"{codec}_decode")(packed)) == _SAMPLE
