import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.model.feature_spec import FeatureSpec
from trainer.state.contract import Contract
from trainer.state.line_state import MAX_EARLIER, MAX_GAPS, Knowledge, LineState
from trainer.state.plan import Plan

LINE = "0badcafe"


def version(number):
    return f"{LINE}-{number:06d}"


def new_line(**changes):
    contract = Contract(pretrained="tiny", tokenizer_sha256="0" * 64, features=FeatureSpec(), partitions=1)
    state = LineState(line=LINE, contract=contract, offsets={0: 0}, champion=version(0), lineage=version(0))
    return msgspec.structs.replace(state, **changes)


def learn(state, num_rows):
    number, start = state.update + 1, state.offsets[0]
    plan = Plan(number=number, first={0: start}, next={0: start + 10}, num_rows=num_rows, newest_ms=number, seed=0)
    return state.learned(plan, num_rows)


def promote(state):
    return state.promoted(version(state.number), f"checkpoint-{state.update}")


def promoted_thrice():
    """Return a line whose versions 2, 3 and 4 have served, and what each of them knows."""
    state, known = new_line(), {version(0): Knowledge()}
    for num_rows in (100, 20, 3):
        state = promote(learn(state, num_rows))
        known[state.champion] = state.knowledge
    return state, known


def test_a_second_rollback_goes_further_back():
    state, known = promoted_thrice()
    assert state.champion == version(4)
    for expected in (3, 2, 0):
        target = state.served_before[-1]
        state = state.rolled_back(target, known[target].rows)
        assert state.champion == version(expected)
    assert state.served_before == ()


def test_what_was_rolled_back_from_is_not_gone_back_to_after_a_later_promotion():
    state, known = promoted_thrice()
    state = state.rolled_back(version(3), known[version(3)].rows).may_promote_again()
    state = promote(learn(state, 5))
    assert state.served_before == (version(0), version(2), version(3))
    assert state.previous == version(3)


def test_a_rollback_by_name_past_several_versions_forgets_them_all():
    state, known = promoted_thrice()
    state = state.rolled_back(version(2), known[version(2)].rows)
    assert (state.served_before, state.previous) == ((version(0),), version(4))


def test_a_rollback_leaves_the_weights_and_their_account_as_they_were():
    state, known = promoted_thrice()
    after = learn(state, 50).rolled_back(version(2), known[version(2)].rows)
    assert after.knowledge.rows == 173
    assert (after.base_rows, after.rows_since_champion, after.discarded_rows) == (100, 73, 0)
    assert (after.lineage, after.covered) == (version(4), {0: 40})


def test_restoring_after_a_rollback_discards_all_that_was_learned_since_that_version():
    state, known = promoted_thrice()
    state = learn(state, 50).rolled_back(version(2), known[version(2)].rows)
    restored = state.restored(version(2), known[version(2)])
    assert (restored.base_rows, restored.rows_since_champion, restored.discarded_rows) == (100, 0, 73)


def test_restored_weights_cover_no_more_than_their_version_did():
    state, known = promoted_thrice()
    restored = learn(state, 50).restored(version(2), known[version(2)])
    assert restored.covered == {0: 10}
    onward = learn(restored, 5)
    assert onward.covered == {0: 50}
    assert onward.gaps == ({0: (10, 40)},)


def test_restoring_the_same_version_again_widens_one_gap():
    state, known = promoted_thrice()
    for _ in range(3):
        state = learn(state, 5).restored(version(2), known[version(2)])
    assert state.gaps == ({0: (10, 60)},)


def test_a_version_promoted_after_a_gap_keeps_it():
    state, known = promoted_thrice()
    state = promote(learn(state.restored(version(2), known[version(2)]), 7))
    assert state.knowledge == Knowledge(107, {0: 40}, ({0: (10, 30)},))


def test_a_later_rollback_may_take_up_a_branch_that_was_discarded():
    state, known = promoted_thrice()
    state = promote(learn(state.restored(version(2), known[version(2)]), 7))
    back = state.rolled_back(version(4), known[version(4)].rows).restored(version(4), known[version(4)])
    assert (back.knowledge.rows, back.discarded_rows) == (123, 7)


def test_what_is_remembered_is_bounded():
    state = new_line()
    for _ in range(MAX_EARLIER + 10):
        state = promote(learn(state, 1))
        state = learn(state, 1).restored(state.champion, state.knowledge)
    assert len(state.served_before) == MAX_EARLIER
    assert len(state.gaps) == MAX_GAPS


@pytest.mark.parametrize(("previous", "earlier"), [(None, ()), (version(2), (version(2),)), (version(9), ())])
def test_a_state_of_an_older_release_goes_back_only_to_what_came_before(previous, earlier):
    fields = msgspec.to_builtins(new_line(champion=version(4), previous=previous))
    for name in ("earlier", "gaps", "base_rows"):
        del fields[name]
    state = msgspec.json.decode(msgspec.json.encode(fields), type=LineState)
    assert state.served_before == earlier
    assert learn(state, 5).restored(state.champion, Knowledge()).discarded_rows == 5


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("learned"), st.integers(0, 50)),
        st.tuples(st.sampled_from(["promoted", "held", "rolled_back", "restored", "resumed"]), st.integers(0, 50)),
    ),
    max_size=40,
)


@given(STEPS)
def test_no_sequence_of_transitions_loses_count_of_a_row(steps):
    state, known, ever = new_line(), {version(0): Knowledge()}, 0
    for name, value in steps:
        target = sorted(known)[value % len(known)]
        if name == "learned":
            state, ever = learn(state, value), ever + value
        elif name == "promoted" and version(state.number) not in known:
            state = promote(state)
            known[state.champion] = state.knowledge
        elif name == "held":
            state = state.held()
        elif name == "rolled_back":
            before = state
            state = state.rolled_back(target, known[target].rows)
            assert (state.champion, state.knowledge) == (target, before.knowledge)
        elif name == "restored":
            state = state.restored(target, known[target])
            assert (state.lineage, state.knowledge.rows) == (target, known[target].rows)
            assert state.covered == known[target].covered
        elif name == "resumed":
            state = state.may_promote_again()
        assert state.base_rows + state.rows_since_champion + state.discarded_rows == ever
        assert min(state.base_rows, state.rows_since_champion, state.discarded_rows) >= 0
        assert all(older < state.champion for older in state.served_before)
        assert list(state.served_before) == sorted(set(state.served_before))


@given(STEPS)
def test_weights_have_learned_what_their_knowledge_says_and_nothing_else(steps):
    # Each plan takes ten offsets; the set of learned ones is followed beside the state.
    state, holds = new_line(), frozenset()
    known = {version(0): (Knowledge(), holds)}
    for name, value in steps:
        target = sorted(known)[value % len(known)]
        if name == "learned":
            holds |= set(range(state.offsets[0], state.offsets[0] + 10))
            state = learn(state, value)
        elif name == "promoted" and version(state.number) not in known:
            state = promote(state)
            known[state.champion] = (state.knowledge, holds)
        elif name == "restored":
            knowledge, holds = known[target]
            state = state.restored(target, knowledge)
        knowledge = state.knowledge
        gone = {offset for gap in knowledge.gaps for start, stop in gap.values() for offset in range(start, stop)}
        assert holds == set(range(knowledge.covered.get(0, 0))) - gone
