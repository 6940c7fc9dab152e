"""Who shops: a group, and the items one liked lately."""

from collections import deque
from dataclasses import dataclass, field


@dataclass
class User:
    """One pseudonymous user.

    Attributes:
        user_id: Pseudonym.
        group: Index into `Words.occasions`.
        liked: Titles of the items clicked most recently, newest first, bounded.
        clicked: Clicks that have not happened yet at the time of the last list: (elapsed seconds, title).
    """

    user_id: str
    group: int
    liked: deque[str]
    clicked: list[tuple[float, str]] = field(default_factory=list)

    def history_at(self, elapsed_seconds: float) -> tuple[str, ...]:
        """Return the liked titles at a moment; a click counts from when it happens, not from when it is drawn."""
        due = sorted(click for click in self.clicked if click[0] <= elapsed_seconds)
        for click in due:
            self.clicked.remove(click)
            self.liked.appendleft(click[1])
        return tuple(self.liked)
