"""The foreign topics that a mapping names: whether they are there, and what else was perhaps meant."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from stream.cluster.admin import Problem, administered
from stream.settings import KafkaSettings
from stream.topics import topic_table

_NAMES_SHOWN = 5


def check_source_topics(kafka: KafkaSettings, names: Iterable[str], mapping: Path) -> list[Problem]:
    """Return what is wrong with the topics that a mapping reads; empty when all is well.

    A consumer group waits silently for a topic that is not there, and an operator learns of a misspelt name from labels
    that never come.

    Args:
        kafka: The cluster.
        names: Full names of the topics.
        mapping: The file that names them.

    Raises:
        ClusterError: The cluster cannot be reached or refuses.
    """
    with administered(kafka, "list its topics") as admin:
        present = {name for name in admin.list_topics() if not name.startswith("__")}
    ours = {topic.name for topic in topic_table(kafka).values()}
    problems = []
    for name in sorted(set(names)):
        if name in ours:
            remedy = f"name a topic of the shop in {mapping} (MILLSTREAM_ADAPTER_MAPPING)"
            problems.append(Problem(name, "the adapter would read what Millstream itself writes", remedy))
        elif name not in present:
            remedy = (
                f"create it, or correct it in {mapping} (MILLSTREAM_ADAPTER_MAPPING): {_there(name, present - ours)}"
            )
            problems.append(Problem(name, f"it does not exist at {kafka.bootstrap}", remedy))
    return problems


def _there(name: str, present: set[str]) -> str:
    """Return in words which topics exist, the nearest names first."""
    if not present:
        return "the cluster shows no topic of a shop"
    near = get_close_matches(name, present, n=_NAMES_SHOWN, cutoff=0.6)
    shown = near or sorted(present)[:_NAMES_SHOWN]
    more = "" if len(shown) == len(present) else f" and {len(present) - len(shown)} more"
    return f"{'near to it is' if near else 'there is'} {', '.join(shown)}{more}"
