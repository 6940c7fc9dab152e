"""What the shop shows at one moment, with what only the shop knows."""

from dataclasses import dataclass

from stream.events import Click, Impression


@dataclass(frozen=True, kw_only=True)
class Showing:
    """One impression and its future.

    Attributes:
        impression: What is shown.
        clicks: Its clicks to come, in time order; late ones too.
        click_probability: Probability of a click in time, given all that can be seen; who is a bot cannot.
        label: 1 if a click will come in time.
    """

    impression: Impression
    clicks: tuple[Click, ...]
    click_probability: float
    label: int


@dataclass(frozen=True, kw_only=True)
class Page:
    """The list shown for one query.

    Attributes:
        elapsed_seconds: Seconds of live traffic; negative in the shop's history.
        turned: Whether this list is judged by flipped tastes.
        showings: The list, first position first.
    """

    elapsed_seconds: float
    turned: bool
    showings: tuple[Showing, ...]
