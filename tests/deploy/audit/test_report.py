from dataclasses import fields, replace

from deploy.audit.report import AuditReport, named
from tests.deploy.recorded_run import complete_run, early_run

ABSENT = {"problems", "produced", "revised", "counted_from"}
ZERO = AuditReport(**{field.name: 0 for field in fields(AuditReport) if field.name not in ABSENT})


def test_nothing_at_all_is_exact():
    assert ZERO.checked().exact


def test_a_broken_law_becomes_a_problem_with_both_sides():
    report = AuditReport(**{field.name: getattr(ZERO, field.name) for field in fields(ZERO)} | {"labeled": 3}).checked()

    assert not report.exact
    assert "impressions = labeled + pending: 0 is not 3" in report.problems


def test_every_law_holds_on_a_complete_run():
    for run in (complete_run(), early_run()):
        assert all(left == right for _, left, right in run.conservation().report().laws())


def test_revised_labels_have_terms_and_laws_only_where_there_are_some():
    names = [name for name in complete_run().conservation().report().terms() if "revised" in name]
    assert names == []
    early = early_run().conservation().report()
    assert early.terms()["revised_joined_clicks"] == 2
    assert [law for law, _, _ in early.laws() if law.startswith("revised: ")] == [
        "revised: labeled = joined clicks",
        "revised: labeled = scored + refused + waiting",
        "revised: scored = trained + sampled out + failed + too late + before the line + waiting",
    ]


def test_a_broken_law_of_revised_labels_is_a_problem():
    report = early_run().conservation().report()
    assert report.revised is not None
    broken = replace(report, revised=replace(report.revised, scored=1)).checked()
    assert "revised: labeled = scored + refused + waiting: 2 is not 1" in broken.problems


def test_terms_are_the_counts_there_are():
    terms = complete_run().conservation().report().terms()
    assert list(terms)[:3] == ["records", "impressions", "clicks"]
    assert "produced" not in terms
    assert "problems" not in terms


def test_what_is_named_is_counted_and_the_first_are_listed():
    assert named("click", "lost", []) == []
    assert named("click", "lost", ["b", "a", "d", "c"]) == ["4 clicks lost: a, b, c, ..."]
