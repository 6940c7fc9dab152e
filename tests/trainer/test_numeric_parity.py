import numpy as np
import pytest

from scorer.engine.golden import golden_z
from tests.doubles import tiny_labeled
from tests.trainer.rig import START_MS, Rig, example
from trainer.plans.example_record import ExampleRecord

NAMES = ("rating", "price", "age")


def log_with_numbers(num_records: int) -> list[ExampleRecord]:
    def row(index: int) -> object:
        numbers = {"rating": 1.0 + index % 5, "price": 10.0 * index, "age": 0.01 * index}
        return example(index, labeled=tiny_labeled(index, numeric=numbers))

    return [
        ExampleRecord(0, number, START_MS + number, tuple(row(8 * number + k) for k in range(8)))
        for number in range(num_records)
    ]


@pytest.mark.parametrize("numeric", [NAMES, tuple(sorted(NAMES)), ("price", "rating", "age")])
def test_the_scorer_reads_numbers_as_the_trainer_learned_them(tmp_path, numeric):
    # A line of `models init` without a warm start, restarted between its updates.
    log = log_with_numbers(20)
    Rig(tmp_path, log[:8], numeric=numeric).run_to_end()
    rig = Rig(tmp_path, log)
    rig.run_to_end()
    learned = rig.trainer.line.candidate()
    rig.registry.publish(learned, created_ms=1)
    served = rig.registry.load(learned.version)
    rows = learned.featurizer.encode([row.labeled.impression for record in log for row in record.rows])
    np.testing.assert_array_equal(served.statistics.standardise(rows), learned.statistics.standardise(rows))
    np.testing.assert_array_equal(golden_z(served), golden_z(learned))
    mean = {name: sums["mean"] for name, sums in served.statistics.to_json().items()}
    assert tuple(mean) == numeric
    # Their ranges tell the three apart.
    assert mean["age"] < 1 < mean["rating"] < 6 < mean["price"]
