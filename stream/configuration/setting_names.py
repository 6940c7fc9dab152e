"""Every setting there is, by name: what is misspelt is refused, and what holds can be told from where."""

import os
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from importlib import import_module
from typing import Literal

from stream.configuration.millstream_settings import MillstreamSettings
from stream.configuration.settings_file import read_settings_file, settings_file

Origin = Literal["default", "environment", "file"]

GROUPS = {
    "kafka": "stream.settings:KafkaSettings",
    "join": "stream.settings:JoinSettings",
    "adapter": "stream.settings:AdapterSettings",
    "metrics": "stream.settings:MetricsSettings",
    "shop": "stream.simulator.settings:ShopSettings",
    "evaluator": "scorer.evaluator.settings:EvaluatorSettings",
    "service": "scorer.serving.settings:ServiceSettings",
    "model": "scorer.model.settings:ModelSettings",
    "registry": "scorer.registry.settings:RegistrySettings",
    "scorer": "scorer.settings:ScorerSettings",
    "importance": "scorer.importance.settings:ImportanceSettings",
    "trainer": "trainer.settings:TrainerSettings",
    "gate": "trainer.settings:GateSettings",
}
"""Class of each group. By name: all processes share one file and environment, so each must know what others read."""

_OTHERS = ("MILLSTREAM_CONFIG", "MILLSTREAM_HOME", "MILLSTREAM_FAILPOINT")


def settings_groups() -> dict[str, type[MillstreamSettings]]:
    """Return the class of each group of settings."""
    classes = {group: name.split(":") for group, name in GROUPS.items()}
    return {group: getattr(import_module(module), name) for group, (module, name) in classes.items()}


def variable(group: type[MillstreamSettings], field: str) -> str:
    """Return the name that a field has in the environment."""
    return f"{group.model_config['env_prefix']}{field.upper()}"


def origin(group: type[MillstreamSettings], field: str) -> Origin:
    """Return where the value of a field comes from."""
    if variable(group, field) in {name.upper() for name in os.environ}:
        return "environment"
    return "file" if field in read_settings_file().get(group.table, {}) else "default"


def check_settings() -> None:
    """Refuse variables that begin with `MILLSTREAM_`, tables and fields of the settings file that nothing reads.

    Raises:
        ValueError: There are some, each named with what was probably meant; or a setting has a wrong value.
    """
    for error in setting_errors():
        raise error


def setting_errors() -> Iterator[ValueError]:
    """Yield everything that is wrong with the settings: first what is unknown, then each group with a wrong value."""
    try:
        problems = [*_unknown_variables(), *_unknown_fields()]
    except ValueError as error:  # the file cannot be read, so no group can
        yield error
        return
    if problems:
        yield ValueError("; ".join(problems))
    for group in settings_groups().values():
        try:
            group()
        except ValueError as error:
            yield error


def _unknown_variables() -> Iterator[str]:
    known = {variable(group, field) for group in settings_groups().values() for field in group.model_fields}
    known.update(_OTHERS)
    for name in sorted(os.environ):
        if name.upper().startswith("MILLSTREAM_") and name.upper() not in known and not _is_service_link(name):
            yield f"{name} is no setting; {_remedy(name.upper(), known, 'unset it')}"


def _is_service_link(name: str) -> bool:
    """Return whether Kubernetes set the variable: it tells every pod the addresses of the services around it."""
    if "KUBERNETES_SERVICE_HOST" not in os.environ:
        return False
    services = [other.removesuffix("_SERVICE_HOST") for other in os.environ if other.endswith("_SERVICE_HOST")]
    return any(name.startswith((f"{service}_SERVICE_", f"{service}_PORT")) for service in services)


def _unknown_fields() -> Iterator[str]:
    groups = settings_groups()
    for table, fields in read_settings_file().items():
        if table not in groups:
            yield f"[{table}] in {settings_file()} is no group of settings; {_remedy(table, groups, 'remove it')}"
            continue
        known = groups[table].model_fields
        for field in fields.keys() - known.keys():
            yield f"{field} of [{table}] in {settings_file()} is no setting; {_remedy(field, known, 'remove it')}"


def _remedy(name: str, known: Collection[str], otherwise: str) -> str:
    near = get_close_matches(name, known, n=1) or get_close_matches(name.lower(), known, n=1)
    return f"do you mean {near[0]}?" if near else f"{otherwise}, or see 'millstream config' for those there are"
