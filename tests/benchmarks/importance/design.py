"""The design of the benchmark: settings.toml, read once, with its digest."""

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream.simulator.settings import ShopSettings

HERE = Path(__file__).parent
SETTINGS = HERE / "settings.toml"
CHOSEN = HERE / "chosen.toml"
CACHE = HERE.parents[2] / ".bench" / "importance"

STREAMS = ("stationary", "sudden", "gradual", "recurring")
TABLE: dict[str, Any] = tomllib.loads(SETTINGS.read_text())
DIGEST = hashlib.sha256(SETTINGS.read_bytes()).hexdigest()[:12]


@dataclass(frozen=True)
class Scenario:
    """One stream to be learned, without its seed.

    Attributes:
        name: stationary, sudden, gradual, recurring, a secondary cell's name or a log's.
        stream: The kind of drift, or "log".
        shop: Settings of the shop that differ from the primary ones.
        flips: Share of labels that are wrong in what is learned.
        delay_rounds: Rounds after which a click is known; 0 when labels are complete.
    """

    name: str
    stream: str
    shop: tuple[tuple[str, float], ...] = ()
    flips: float = 0.0
    delay_rounds: int = 0

    def shop_settings(self, seed: int) -> ShopSettings:
        """Return the shop of a seed."""
        return ShopSettings(seed=seed, **(TABLE["shop"] | TABLE["streams"][self.stream] | dict(self.shop)))


def primary() -> list[Scenario]:
    """Return the four streams of the primary family."""
    return [Scenario(name, name) for name in STREAMS]


def secondary() -> list[Scenario]:
    """Return the cells beside the primary family."""
    return [
        Scenario(
            name,
            cell["stream"],
            shop=tuple(cell.get("shop", {}).items()),
            flips=cell.get("flips", 0.0),
            delay_rounds=cell.get("delay_rounds", 0),
        )
        for name, cell in TABLE["secondary"].items()
    ]


def logs() -> list[Scenario]:
    """Return the real logs."""
    return [Scenario(name, "log") for name, value in TABLE["logs"].items() if isinstance(value, dict)]
