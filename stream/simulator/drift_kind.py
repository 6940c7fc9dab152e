"""The kinds of drift, apart from the settings: a command line names them without reading any."""

from typing import Literal

DriftKind = Literal["none", "sudden", "gradual", "recurring"]
