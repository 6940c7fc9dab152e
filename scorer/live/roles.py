"""Which version plays which part: one serves, the others are compared with it."""

from dataclasses import dataclass, fields
from typing import Generic, TypeVar

Model = TypeVar("Model")


@dataclass
class Roles(Generic[Model]):
    """The model in each role. A further role is a field here, and one of `WeightedExample` for what it said.

    Attributes:
        live: Serves, and scores every row.
        frozen: The version that never changes, which is also the strategies' reference; None until there is one.
        control: The one that learns from rows drawn uniformly, if one runs.
    """

    live: Model
    frozen: Model | None = None
    control: Model | None = None

    def beside_live(self) -> dict[str, Model]:
        """Return who plays the other roles at this moment."""
        found = {role: getattr(self, role) for role in ROLES if role != "live"}
        return {role: model for role, model in found.items() if model is not None}


ROLES = tuple(field.name for field in fields(Roles))
