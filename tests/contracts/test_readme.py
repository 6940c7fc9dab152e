"""What the READMEs show of commands, targets, settings and files is there."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from typer.main import get_command

from deploy.cli import app
from scorer.evaluator.metrics import QUANTILES, EvaluatorMetrics
from scorer.evaluator.score_window import COLUMNS, Quality, WindowQuality
from scorer.evaluator.state import Evaluation
from scorer.measures.auc import Interval
from scorer.measures.worth import Worth
from scorer.scoring.metrics import ScorerMetrics
from scorer.serving.metrics import ServiceMetrics
from stream.adapter.metrics import AdapterMetrics
from stream.configuration.millstream_settings import MillstreamSettings
from stream.join.metrics import JoinMetrics
from stream.play.metrics import ShopMetrics
from trainer.metrics import TrainerMetrics

ROOT = Path(__file__).parents[2]
PACKAGES = ("stream", "scorer", "trainer", "deploy")
PAGES = [ROOT / "README.md", *(ROOT / package / "README.md" for package in PACKAGES)]
MAX_FRONT_LINES = 150
"""The front page is read in one go."""
MAX_LINES = 150
"""Of a folder's page, what is held to the code aside."""


METRICS = {
    "stream": JoinMetrics,
    "adapter": AdapterMetrics,
    "scorer": ScorerMetrics,
    "service": ServiceMetrics,
    "evaluator": EvaluatorMetrics,
    "trainer": TrainerMetrics,
    "shop": ShopMetrics,
}
"""Metrics of each process."""

PARTS = {"GateMetrics", "GroupMetrics", "ModelMetrics", "ImportanceMetrics", "ProbeMetrics"}
"""Parts of the metrics of processes."""


def sources() -> Iterator[tuple[str, str]]:
    """Yield name and text of every module."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts), path.read_text()


def settings_groups() -> list[type[MillstreamSettings]]:
    """Return every group of settings there is, in the order of packages and modules."""
    return [
        getattr(import_module(module), name)
        for module, text in sources()
        for name in re.findall(r'^class (\w+)\(MillstreamSettings, group="\w+"\):', text, re.MULTILINE)
    ]


def settings_table(package: str) -> str:
    rows = [
        (
            f"`{group.model_config['env_prefix']}{name.upper()}`",
            shown(field.get_default(call_default_factory=True)),
            field.description or "",
        )
        for group in settings_groups()
        if group.__module__.partition(".")[0] == package
        for name, field in group.model_fields.items()
    ]
    return table(("variable", "default", "what it sets"), rows)


def shown(default: Any) -> str:
    """Return a default as one would write it in the environment; nothing stands for unset and for empty."""
    if isinstance(default, SecretStr) or default is None or default in ("", ()):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def metrics_table(package: str) -> str:
    rows = []
    for process in (process for process, kind in METRICS.items() if kind.__module__.partition(".")[0] == package):
        for family in shown_by(process).collect():
            labels = sorted({name for sample in family.samples for name in sample.labels} - {"le"})
            name = f"{family.name}_total" if family.type == "counter" else family.name
            rows.append((f"`{name}`", family.type, ", ".join(labels), family.documentation))
    return table(("metric", "type", "labels", "what it shows"), rows)


def shown_by(process: str) -> CollectorRegistry:
    """Return what a process shows once everything is known."""
    registry = CollectorRegistry()
    metrics = METRICS[process](registry)
    if isinstance(metrics, TrainerMetrics):
        metrics.show_lag({0: 1}, {0: 0})
    if isinstance(metrics, EvaluatorMetrics):
        quality = Quality(
            auc=0.7,
            auc_low=0.6,
            auc_high=0.8,
            auc_within_query=0.6,
            log_loss=0.4,
            normalized_entropy=0.9,
            calibration=1.0,
        )
        window = WindowQuality(
            num_rows=1,
            num_common=1,
            num_served=1,
            click_rate=0.1,
            roles=dict.fromkeys(COLUMNS, quality),
            live_on_all=quality,
            live_on_served=quality,
        )
        interval = Interval(0.1, 0.0, 0.2)
        worth = Worth(num_rows=1, num_spans=1, effective_rows=1.0, auc=interval, log_loss=interval)
        metrics.gauges.show(
            Evaluation(
                window=window,
                num_distinct=1,
                freshness=dict.fromkeys(QUANTILES, 1.0),
                num_waiting=0,
                mean_loss=0.4,
                mean_rate=0.1,
                worth={"all": worth, "recent": worth},
            )
        )
    return registry


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    escaped = ([cell.replace("|", r"\|") for cell in cells] for cells in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in escaped)


def block(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)


def code() -> list[str]:
    """Return every line of code that the pages show, in fences and in the text."""
    fence = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
    texts = [path.read_text() for path in PAGES]
    lines = [line for text in texts for body in fence.findall(text) for line in body.splitlines()]
    spans = [span for text in texts for span in re.findall(r"`([^`]+)`", fence.sub("", text))]
    return lines + [" ".join(span.split()) for span in spans]


def links(path: Path) -> list[str]:
    """Return what a page links within the project."""
    return [link for link in re.findall(r"\]\(([^)\s]+)", path.read_text()) if "://" not in link]


def anchors(path: Path) -> set[str]:
    """Return the names of a page's headings, as a link writes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def shown_commands() -> list[str]:
    """Return every `millstream ...` that a page shows, alternatives behind a bar as commands of their own."""
    found = []
    for line in code():
        for text in re.findall(r"(?<![\w./-])millstream ([a-z][^#&`]*)", line):
            first, *others = (part.strip() for part in text.split(" | "))
            found.append(first)
            found += [" ".join([*first.split()[:-1], other]) for other in others]
    return sorted(set(found))


def find_command(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that the words name, and the words after its name."""
    # typer carries a click of its own, whose classes are not those of the package click.
    command: Any = get_command(app)
    while hasattr(command, "commands"):
        assert words, f"{command.name} needs one of {sorted(command.commands)}"
        assert words[0] in command.commands, f"{words[0]} is none of {sorted(command.commands)}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def test_the_front_page_is_read_in_one_go_and_the_others_in_a_sitting():
    front, *pages = PAGES
    assert len(front.read_text().splitlines()) <= MAX_FRONT_LINES
    held = re.compile(r"<!-- (\w+) -->\n.*?<!-- /\1 -->", re.DOTALL)
    long = {page.parent.name: len(held.sub("", page.read_text()).splitlines()) for page in pages}
    assert {name: lines for name, lines in long.items() if lines > MAX_LINES} == {}


def test_every_setting_says_what_it_sets():
    fields = [(group, name, field) for group in settings_groups() for name, field in group.model_fields.items()]
    assert [(group.__name__, name) for group, name, field in fields if not field.description] == []


def test_every_class_of_metrics_is_in_the_table():
    named = {name for _, text in sources() for name in re.findall(r"^class (\w+Metrics)\b", text, re.MULTILINE)}
    assert named == {kind.__name__ for kind in METRICS.values()} | PARTS


@pytest.mark.parametrize("process", METRICS)
def test_a_metric_is_named_after_its_process_and_says_what_it_shows(process: str):
    for family in shown_by(process).collect():
        assert family.name.startswith(f"millstream_{process}_")
        assert family.documentation
        assert family.samples, f"{family.name} shows no sample, so its labels are unknown"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.parent.name)
def test_every_file_and_heading_that_a_page_links_exists(path: Path):
    for link in links(path):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_pages_show_commands():
    assert "models init" in shown_commands()


@pytest.mark.parametrize("text", shown_commands())
def test_every_command_that_a_page_shows_exists(text: str):
    command, words = find_command(text.split())
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known


def test_a_command_that_does_not_exist_is_found_out():
    with pytest.raises(AssertionError, match="warm_start is none of"):
        find_command(["models", "warm_start"])


def test_every_make_target_and_variable_that_a_page_shows_exists():
    makefile = (ROOT / "Makefile").read_text()
    for line in code():
        for target, rest in re.findall(r"(?<![\w-])make ([a-z]+)([^#]*)", line):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
            for variable in re.findall(r"\b([A-Z][A-Z_]+)=", rest):
                assert f"$({variable})" in makefile, f"make {target} {variable}="


def test_every_variable_that_a_page_shows_is_read():
    known = {
        f"{group.model_config['env_prefix']}{name.upper()}"
        for group in settings_groups()
        for name in group.model_fields
    }
    known |= {name for _, text in sources() for name in re.findall(r'environ\.get\("(MILLSTREAM_\w+)"', text)}
    shown = {name for path in PAGES for name in re.findall(r"MILLSTREAM_[A-Z_]+[A-Z]", path.read_text())}
    assert shown <= known


def test_the_changelog_tells_of_this_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{version}]" in changelog or "## [Unreleased]" in changelog
