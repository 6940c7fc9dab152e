"""How tastes change over time: the share of lists that are judged by the opposite tastes."""

from stream.simulator.settings import ShopSettings


def turned_share(settings: ShopSettings, elapsed_seconds: float) -> float:
    """Return the share of lists, 0 to 1, whose tastes are flipped at a moment of live traffic.

    Sudden: all from the turn on. Gradual: growing evenly around the turn; a list follows old or new tastes, never a
    mean of both, which would be no taste at all. Recurring: flipped and back again, each phase as long as the first.
    """
    if settings.drift == "none":
        return 0.0
    since_turn = elapsed_seconds - settings.turn_seconds
    if settings.drift == "gradual":
        return min(1.0, max(0.0, 0.5 + since_turn / settings.gradual_seconds))
    if settings.drift == "recurring" and settings.turn_seconds > 0:
        return float(int(max(0.0, elapsed_seconds) // settings.turn_seconds) % 2)
    return float(since_turn >= 0)
