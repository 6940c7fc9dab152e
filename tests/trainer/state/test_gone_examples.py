import pytest

from stream.cluster.gone_records import GoneRange
from tests.trainer.rig import Rig, recorded_log
from trainer.state.checkpoint import load_latest
from trainer.state.failpoints import Failpoints
from trainer.state.gone_examples import skip_lost
from trainer.state.ledger import read_ledger

TOPIC = "millstream.weighted-examples"
RECORDS = recorded_log(300)
ENDS = {p: sum(record.partition == p for record in RECORDS) for p in (0, 1)}
HALF = {p: end // 2 for p, end in ENDS.items()}


def skip(rig, beginnings, ends=ENDS, write=lambda _: None):
    return skip_lost(rig.trainer_dir, TOPIC, beginnings, ends, write, keep=3)


def test_a_line_goes_on_at_what_is_left_and_remembers_what_is_gone(tmp_path):
    letters = []
    gone = skip(Rig(tmp_path, RECORDS), HALF, write=letters.extend)
    assert [letter.headers["millstream.reason"] for letter in letters] == [b"gone", b"gone"]
    assert gone == [GoneRange(TOPIC, partition, 0, HALF[partition] - 1) for partition in (0, 1)]
    rig = Rig(tmp_path, [record for record in RECORDS if record.offset >= HALF[record.partition]])
    rig.run_to_end()
    state = load_latest(rig.trainer_dir).state
    assert state.offsets == ENDS
    assert state.gone == tuple(gone)
    left = sum(len(record.rows) for record in rig.log.records)
    assert read_ledger(rig.trainer_dir).num_rows == left


def test_a_plan_that_cannot_be_repeated_is_dropped(tmp_path, monkeypatch):
    class CrashError(Exception):
        pass

    def crash(_self, name):
        if name == "plan_written":
            raise CrashError

    rig = Rig(tmp_path, RECORDS)
    with monkeypatch.context() as patched:
        patched.setattr(Failpoints, "pass_through", crash)
        with pytest.raises(CrashError):
            rig.run_to_end()
    skip(rig, HALF)
    again = Rig(tmp_path, [record for record in RECORDS if record.offset >= HALF[record.partition]])
    again.run_to_end()
    assert load_latest(again.trainer_dir).state.offsets == ENDS


def test_a_line_that_lost_nothing_stays_as_it_is(tmp_path):
    rig = Rig(tmp_path, RECORDS)
    before = rig.newest_checkpoint().name
    assert skip(rig, {0: 0, 1: 0}) == []
    assert rig.newest_checkpoint().name == before


def test_a_topic_made_anew_is_refused_with_the_remedy(tmp_path):
    rig = Rig(tmp_path, RECORDS)
    rig.run_to_end()
    with pytest.raises(ValueError, match=r"made anew.*millstream models init"):
        skip(rig, {0: 0, 1: 0}, {0: 0, 1: 0})
