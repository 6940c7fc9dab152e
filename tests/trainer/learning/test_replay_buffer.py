from collections import Counter

import numpy as np
import pytest

from tests.trainer.rig import example
from trainer.learning.replay_buffer import MAX_USES, ReplayBuffer
from trainer.settings import TrainerSettings


def buffer_of(num_rows, **settings):
    buffer = ReplayBuffer(TrainerSettings(**({"replay_share": 0.5, "replay_capacity": 20} | settings)))
    buffer.offer([example(index) for index in range(num_rows)], np.random.default_rng(0))
    return buffer


def kept(buffer):
    """Return every row the buffer holds, used up or not."""
    copy = buffer_of(0, replay_capacity=10_000)
    state, rows = buffer.snapshot()
    copy.restore(state | {"num_uses": [0] * len(state["num_uses"])}, rows)
    return copy.draw(10_000, np.random.default_rng(0))


def ids(examples):
    return [one.labeled.impression.impression_id for one in examples]


def test_nothing_is_kept_or_replayed_by_default():
    buffer = ReplayBuffer(TrainerSettings())
    buffer.offer([example(1)], np.random.default_rng(0))
    assert len(buffer) == 0
    assert buffer.draw(100, np.random.default_rng(0)) == []


@pytest.mark.parametrize("kind", ["reservoir", "recency"])
def test_the_buffer_never_holds_more_than_its_capacity(kind):
    assert len(buffer_of(500, replay_kind=kind)) == 20


def test_replayed_rows_are_at_most_the_share_of_the_update():
    drawn = buffer_of(500, replay_share=0.2).draw(40, np.random.default_rng(0))
    assert len(drawn) == 10
    assert len(drawn) / (40 + len(drawn)) <= 0.2


def test_no_row_is_replayed_more_than_twice():
    buffer = buffer_of(20)
    random = np.random.default_rng(0)
    uses = Counter(one for _ in range(50) for one in ids(buffer.draw(7, random)))
    assert set(uses.values()) == {MAX_USES}
    assert len(uses) == 20


def test_no_row_is_replayed_twice_in_one_update():
    drawn = ids(buffer_of(20).draw(15, np.random.default_rng(0)))
    assert len(set(drawn)) == len(drawn) == 15


def test_recency_keeps_the_newest():
    buffer = buffer_of(500, replay_kind="recency")
    assert set(ids(buffer.draw(1000, np.random.default_rng(0)))) == {f"impression-{index}" for index in range(480, 500)}


def test_a_reservoir_keeps_an_even_sample_of_the_past():
    means = []
    for seed in range(30):
        buffer = ReplayBuffer(TrainerSettings(replay_share=0.5, replay_capacity=20))
        random = np.random.default_rng(seed)
        buffer.offer([example(index) for index in range(200)], random)
        means += [int(one.removeprefix("impression-")) for one in ids(buffer.draw(1000, random))]
    assert np.mean(means) == pytest.approx(100, abs=12)


def test_a_reservoir_that_is_drawn_from_still_keeps_an_even_sample_of_the_past():
    buffer = ReplayBuffer(TrainerSettings(replay_share=0.5, replay_capacity=200))
    random = np.random.default_rng(0)
    for start in range(0, 5_000, 50):
        buffer.draw(50, random)
        buffer.offer([example(index) for index in range(start, start + 50)], random)
    places = [int(one.labeled.impression.impression_id.removeprefix("impression-")) for one in kept(buffer)]
    assert len(places) == 200
    assert np.mean([place < 2_500 for place in places]) == pytest.approx(0.5, abs=0.12)


def test_a_buffer_that_an_older_release_left_half_empty_fills_with_an_even_sample():
    buffer = buffer_of(0)
    state, rows = buffer_of(10).snapshot()
    buffer.restore(state | {"num_offered": 200}, rows)
    buffer.offer([example(index) for index in range(200, 220)], np.random.default_rng(0))
    assert 10 <= len(buffer) < 15


def test_a_restored_buffer_draws_the_same_rows():
    buffer = buffer_of(100)
    buffer.draw(5, np.random.default_rng(1))
    restored = buffer_of(0)
    restored.restore(*buffer.snapshot())
    draws = [ids(one.draw(8, np.random.default_rng(2))) for one in (buffer, restored)]
    assert draws[0] == draws[1]
    assert restored.snapshot() == buffer.snapshot()


def test_an_empty_buffer_survives_a_checkpoint():
    restored = buffer_of(0)
    restored.restore(*buffer_of(0).snapshot())
    assert len(restored) == 0
