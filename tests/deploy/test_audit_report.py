from dataclasses import fields

from deploy.audit_report import AuditReport
from tests.deploy.recorded_run import complete_run

ZERO = AuditReport(**{field.name: 0 for field in fields(AuditReport) if field.name not in {"problems", "produced"}})


def test_nothing_at_all_is_exact():
    assert ZERO.checked().exact


def test_a_broken_law_becomes_a_problem_with_both_sides():
    report = AuditReport(**{field.name: getattr(ZERO, field.name) for field in fields(ZERO)} | {"labeled": 3}).checked()

    assert not report.exact
    assert "impressions = labeled + pending: 0 is not 3" in report.problems


def test_every_law_holds_on_a_complete_run():
    assert all(left == right for _, left, right in complete_run().conservation().report().laws())
