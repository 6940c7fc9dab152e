from dataclasses import replace

import pytest

from deploy.audit.conservation import Settled
from stream.cluster.gone_records import GoneRange, gone_letter
from stream.events import encode
from tests.deploy.recorded_run import LINE, PREFIX, click, complete_run, impression, labeled_impression


def test_a_complete_run_is_exact_and_every_term_is_counted():
    report = complete_run().conservation().report()

    assert report.problems == ()
    assert report.exact
    counts = {
        "records": 13,
        "impressions": 6,
        "clicks": 5,
        "duplicates": 1,
        "dead_lettered": 1,
        "labeled": 5,
        "pending": 1,
        "scored": 5,
        "waiting_to_score": 0,
        "trained": 2,
        "sampled_out": 2,
        "waiting_to_train": 1,
        "joined_clicks": 2,
        "further_clicks": 1,
        "late_clicks": 1,
        "orphaned_clicks": 1,
        "waiting_clicks": 0,
    }
    assert {name: getattr(report, name) for name in counts} == counts


def test_a_missing_label_is_lost_and_named():
    run = complete_run()
    run.records["labeled-impressions", 1] = [
        entry for entry in run.records["labeled-impressions", 1] if b"i3" not in entry[0]
    ]

    report = run.conservation().report()

    assert not report.exact
    assert any("lost by the label join: i3" in problem for problem in report.problems)
    assert any(problem.startswith("impressions = labeled + pending") for problem in report.problems)


def test_an_unlabeled_impression_that_is_not_committed_is_pending():
    run = complete_run()
    run.settled = replace(run.settled, join={0: 0, 1: 0})
    run.records["labeled-impressions", 1].pop()

    report = run.conservation().report()

    assert report.pending == 2


def test_a_labeled_impression_the_scorer_passed_without_a_score_is_lost():
    run = complete_run()
    run.records["weighted-examples", 0].pop()

    report = run.conservation().report()

    assert any("lost by the scorer: i4" in problem for problem in report.problems)


def test_a_labeled_impression_the_scorer_has_not_come_to_waits():
    run = complete_run()
    run.records["weighted-examples", 0].pop()
    run.settled = replace(run.settled, scorer={0: 2, 1: 2})

    report = run.conservation().report()

    assert report.exact
    assert report.waiting_to_score == 1
    assert report.waiting == 1


def test_a_labeled_impression_with_a_dead_letter_is_refused_not_lost():
    run = complete_run()
    run.records["weighted-examples", 0].pop()
    run.dead_letter(f"{PREFIX}labeled-impressions", 0, 2, b"", "malformed")

    report = run.conservation().report()

    assert report.exact
    assert report.refused == 1


def test_a_scored_impression_the_trainer_passed_without_a_decision_is_lost():
    run = complete_run()
    run.decisions.pop()

    report = run.conservation().report()

    assert any("lost by the trainer: i3" in problem for problem in report.problems)


def test_without_a_trainer_everything_scored_waits():
    run = complete_run()
    run.decisions.clear()
    run.settled = Settled(join=run.settled.join, scorer=run.settled.scorer, trainer={})

    report = run.conservation().report()

    assert report.exact
    assert report.waiting_to_train == report.scored == 5


def test_an_id_taught_twice_is_found():
    run = complete_run()
    run.decisions.append((LINE, "i0", 0, "trained"))

    report = run.conservation().report()

    assert report.problems == ("1 impression decided twice by one model line: i0",)


def test_another_model_line_may_learn_the_same_id():
    run = complete_run()
    run.decisions.append(("11111111", "i0", 0, "trained"))

    assert run.conservation().report().exact


def test_repeats_late_rows_and_replays_are_no_second_lesson():
    run = complete_run()
    run.decisions += [(LINE, "i0", 0, outcome) for outcome in ("repeat", "replayed", "late")]

    report = run.conservation().report()

    assert report.exact
    assert report.too_late == 0


def test_a_row_only_counted_late_is_a_term_of_its_own():
    run = complete_run()
    run.decisions[-1] = (LINE, "i3", 0, "late")

    report = run.conservation().report()

    assert report.exact
    assert (report.trained, report.too_late) == (1, 1)


def test_a_repeated_label_is_counted_apart():
    run = complete_run()
    run.label("i2")

    report = run.conservation().report()

    assert report.exact
    assert (report.labeled, report.repeated_labels) == (5, 1)


def test_a_click_that_only_a_repeated_label_knows_makes_the_first_label_wrong():
    run = complete_run()
    run.records["events", 0].insert(0, (encode(click("c9", "i2")), {}))
    run.settled = replace(run.settled, join={0: 0, 1: 0})
    run.records["dead-letters", 0].clear()
    run.label("i2", "c9")

    report = run.conservation().report()

    assert any("only in a repeated label" in problem and "c9" in problem for problem in report.problems)


def test_a_settled_click_without_an_outcome_is_lost():
    run = complete_run()
    run.records["dead-letters", 0].pop()

    report = run.conservation().report()

    assert any("without an outcome" in problem and "c4" in problem for problem in report.problems)


def test_an_unusable_record_without_a_dead_letter_is_named_by_its_place():
    run = complete_run()
    run.records["dead-letters", 1].pop()

    report = run.conservation().report()

    assert any("without a dead letter: events/1/3" in problem for problem in report.problems)


def test_a_sound_event_that_was_refused_counts_as_dead_lettered():
    run = complete_run()
    value = encode(impression("i9"))
    run.dead_letter(f"{PREFIX}events", 1, run.add("events", 1, value), value, "future_time")

    report = run.conservation().report()

    assert report.exact
    assert (report.impressions, report.dead_lettered) == (6, 2)


def test_a_label_outweighs_the_dead_letter_of_a_click_read_again():
    run = complete_run()
    run.dead_letter(f"{PREFIX}events", 0, 4, encode(click("c0", "i0")), "unmatched_click")

    report = run.conservation().report()

    assert report.exact
    assert (report.joined_clicks, report.orphaned_clicks) == (2, 1)


@pytest.mark.parametrize(("impression_id", "late", "orphaned"), [("nobody", 1, 2), ("i2", 2, 1)])
def test_what_had_no_match_after_a_restart_is_late_or_orphaned_in_hindsight(impression_id, late, orphaned):
    run = complete_run()
    value = encode(click("c9", impression_id))
    run.dead_letter(f"{PREFIX}events", 0, run.add("events", 0, value), value, "unmatched_click")

    report = run.conservation().report()

    assert report.exact
    assert (report.late_clicks, report.orphaned_clicks) == (late, orphaned)


def test_a_label_of_an_impression_nobody_sent_is_a_contradiction():
    run = complete_run()
    run.add("labeled-impressions", 0, encode(labeled_impression("i8")))

    report = run.conservation().report()

    assert any("without an impression in events: i8" in problem for problem in report.problems)


def test_a_dead_letter_of_a_foreign_topic_is_none_of_the_law():
    run = complete_run()
    run.dead_letter("shop.views", 0, 0, b"x", "unmappable")

    assert run.conservation().report().exact


def test_many_lost_ids_are_counted_and_the_first_are_named():
    run = complete_run()
    run.records["labeled-impressions", 0].clear()
    run.records["labeled-impressions", 1].clear()

    problems = run.conservation().report().problems

    assert any(problem.startswith("5 impressions") and problem.endswith("i0, i1, i2, ...") for problem in problems)


def test_what_retention_deleted_is_not_missed_and_the_rest_is_counted_from_where_it_begins():
    run = complete_run()
    run.deleted = {("events", 0): 1, ("labeled-impressions", 0): 1, ("dead-letters", 0): 0}
    run.start = {0: 2, 1: 0}

    report = run.conservation().report()

    assert report.problems == ()
    assert report.counted_from == {0: 2}
    assert (report.impressions, report.labeled, report.scored, report.pending) == (4, 3, 3, 1)
    # Both clicks of i0 are older than the count; the late and the orphaned one have their letters.
    assert (report.clicks, report.joined_clicks, report.late_clicks, report.orphaned_clicks) == (3, 1, 1, 1)


def test_what_is_counted_after_retention_is_still_proved():
    run = complete_run()
    run.start = {0: 2, 1: 0}
    run.records["labeled-impressions", 0].pop()
    run.records["weighted-examples", 0].pop()

    report = run.conservation().report()

    assert any("lost by the label join: i4" in problem for problem in report.problems)


def test_rows_before_the_start_of_the_line_are_an_outcome_and_no_loss():
    run = complete_run()
    run.decisions = [decision for decision in run.decisions if decision[1] not in {"i0", "i2"}]
    run.settled = replace(run.settled, line_start={0: 1, 1: 0})

    report = run.conservation().report()

    assert report.problems == ()
    assert (report.before_line, report.trained, report.waiting_to_train) == (2, 1, 1)


def test_a_row_before_the_line_that_an_older_line_decided_counts_as_decided():
    run = complete_run()
    run.settled = replace(run.settled, line_start={0: 1, 1: 1})

    assert run.conservation().report().before_line == 0


def test_a_range_that_retention_took_unread_is_lost_and_counts_once():
    run = complete_run()
    for last in (89, 94):
        letter = gone_letter(GoneRange(f"{PREFIX}events", 0, 10, last), "join")
        run.add("dead-letters", 0, letter.value, letter.headers)

    report = run.conservation().report()

    assert report.gone == 85
    assert report.problems == (
        f"85 records of {PREFIX}events/0, offsets 10 to 94, were deleted by retention before the join read them: lost",
    )
