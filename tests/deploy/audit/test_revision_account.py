from deploy.audit.revision_account import Reached, RevisionAccount

LINE = "00000000"


def test_an_id_is_open_while_any_of_its_copies_is():
    reached = Reached()
    assert [reached.add("a", is_open=False), reached.add("a", is_open=True), reached.add("b", is_open=False)] == [
        True,
        False,
        True,
    ]
    assert reached.repeats == 1
    assert reached.without() == (["a"], ["b"])


def test_ids_with_an_outcome_neither_wait_nor_are_lost():
    reached = Reached()
    for name in ("a", "b", "c"):
        reached.add(name, is_open=False)
    assert reached.without(["a"], ["c"]) == ([], ["b"])


def test_every_label_ends_in_one_term():
    account = RevisionAccount()
    for name in ("trained", "sampled_out", "failed", "late", "unlearned", "unscored", "refused"):
        account.take_label(name, is_open=name == "unscored", is_refused=name == "refused")
        if name not in {"unscored", "refused"}:
            account.take_score(name, is_open=name == "unlearned")
        account.take_decision(LINE, name, name)

    assert account.counts() == {
        "labeled": 7,
        "scored": 5,
        "refused": 1,
        "waiting_to_score": 1,
        "trained": 1,
        "sampled_out": 1,
        "failed": 1,
        "too_late": 1,
        "before_line": 0,
        "waiting_to_train": 1,
        "repeated_labels": 0,
        "repeated_scores": 0,
    }
    assert account.lost() == []
    assert account.contradictions() == []


def test_problems_bear_the_adjective_of_the_revision():
    account = RevisionAccount("revised")
    account.take_label("a", is_open=False, is_refused=False)
    account.take_score("b", is_open=False)

    assert account.lost() == [
        "1 revised labeled impression neither scored nor waiting: lost by the scorer: a",
        "1 revised scored impression neither learned, sampled out nor waiting: lost by the trainer: b",
    ]
    assert account.contradictions() == ["1 revised score without a label: b"]


def test_a_second_decision_of_one_line_is_a_contradiction_and_of_another_is_not():
    account = RevisionAccount()
    account.take_label("a", is_open=False, is_refused=False)
    account.take_score("a", is_open=False)
    account.take_decision(LINE, "a", "trained")
    account.take_decision("11111111", "a", "sampled_out")
    assert account.contradictions() == []
    account.take_decision(LINE, "a", "sampled_out")
    assert account.contradictions() == ["1 impression decided twice by one model line: a"]
