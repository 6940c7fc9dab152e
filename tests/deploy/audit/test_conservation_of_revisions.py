"""The conservation law where labels are revised: the join sends early negatives."""

from dataclasses import replace

from stream.events import encode
from tests.deploy.recorded_run import LINE, click, complete_run, early_run, impression


def test_without_revised_labels_the_report_has_no_term_for_them():
    assert complete_run().conservation().report().revised is None


def test_a_complete_early_run_is_exact_and_its_revised_labels_are_counted_apart():
    report = early_run().conservation().report()

    assert report.problems == ()
    counts = {"impressions": 4, "labeled": 4, "pending": 0, "scored": 4, "trained": 4, "sampled_out": 0}
    counts |= {"clicks": 3, "joined_clicks": 2, "further_clicks": 1}
    assert {name: getattr(report, name) for name in counts} == counts
    assert report.revised is not None
    revised = {"labeled": 2, "joined_clicks": 2, "scored": 2, "trained": 1, "sampled_out": 1, "waiting_to_train": 0}
    assert {name: getattr(report.revised, name) for name in revised} == revised


def test_a_click_that_revised_no_label_is_lost():
    run = early_run()
    run.records["labeled-impressions", 0].pop()
    run.records["weighted-examples", 0].pop()

    problems = run.conservation().report().problems

    assert any("lost by the label join: c0" in problem for problem in problems)
    assert any("further on an impression that no click joined: c1" in problem for problem in problems)


def test_a_click_whose_window_is_open_may_wait_for_its_revised_label():
    run = early_run()
    run.add("events", 1, encode(click("c9", "i3")))

    report = run.conservation().report()

    assert report.exact
    assert report.waiting_clicks == 1


def test_a_revised_label_without_a_click_breaks_its_law():
    run = early_run()
    run.revise("i2")
    run.settled.scorer.update({0: 3})

    problems = run.conservation().report().problems

    assert "revised: labeled = joined clicks: 3 is not 2" in problems


def test_a_revised_label_without_a_first_one_is_a_contradiction():
    run = early_run()
    run.records["events", 0].append((encode(impression("i4")), {}))
    run.records["events", 0].append((encode(click("c4", "i4")), {}))
    run.revise("i4", "c4")

    problems = run.conservation().report().problems

    assert problems == ("1 revised label without a first label: i4",)


def test_a_lost_revised_row_is_not_hidden_by_the_first_one():
    run = early_run()
    run.records["weighted-examples", 0].pop()
    run.decisions.remove((LINE, "i1", 1, "sampled_out"))

    problems = run.conservation().report().problems

    assert any("1 revised labeled impression neither scored" in problem for problem in problems)
    assert any("1 revised scored impression neither learned" in problem for problem in problems)


def test_a_revised_row_taught_twice_is_found_and_a_first_one_besides_is_not():
    run = early_run()
    run.decisions.append((LINE, "i0", 1, "trained"))

    problems = run.conservation().report().problems

    assert problems == ("1 revised impression decided twice by one model line: i0",)


def test_revised_labels_that_a_restart_sends_again_are_repeats():
    run = early_run()
    run.label("i0")
    run.revise("i0", "c0")

    report = run.conservation().report()

    assert report.exact
    assert report.revised is not None
    assert (report.repeated_labels, report.revised.repeated_labels) == (1, 1)


def test_a_positive_that_was_made_again_may_name_another_click():
    run = early_run()
    run.revise("i0", "c1")

    report = run.conservation().report()

    assert report.exact
    assert (report.joined_clicks, report.further_clicks) == (2, 1)


def test_a_revised_label_that_waits_counts_as_waiting():
    run = early_run()
    run.settled = replace(run.settled, trainer={0: 1, 1: 2})
    run.decisions.remove((LINE, "i0", 1, "trained"))

    report = run.conservation().report()

    assert report.exact
    assert report.waiting == 1


def test_the_last_label_of_an_impression_is_the_revised_one_and_none_while_it_may_come():
    found = early_run().conservation()

    assert [found.label(name) for name in ("i0", "i1", "i2", "i3")] == [1, 1, 0, None]
