from collections import Counter

import numpy as np
import pytest

from tests.trainer.rig import example
from trainer.replay_buffer import MAX_USES, ReplayBuffer
from trainer.settings import TrainerSettings


def buffer_of(num_rows, **settings):
    buffer = ReplayBuffer(TrainerSettings(**({"replay_share": 0.5, "replay_capacity": 20} | settings)))
    buffer.offer([example(index) for index in range(num_rows)], np.random.default_rng(0))
    return buffer


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
    assert len(buffer) == 0


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
