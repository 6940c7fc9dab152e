import itertools
import json
import math

import numpy as np
import pytest
from river.stats import Var

from scorer.model.features import EncodedRow
from scorer.model.numeric_statistics import NumericStatistics


def row(*numeric):
    return EncodedRow(
        ids=np.array([2, 3], dtype=np.int32), numeric=np.array(numeric, np.float32), position=0, num_unknown=0
    )


def test_values_are_standardised_by_running_mean_and_deviation():
    statistics = NumericStatistics(("price",))
    statistics.update([row(1.0), row(2.0), row(3.0)])
    expected = np.array([[(3.0 - 2.0) / np.sqrt(2 / 3), 0.0]])
    np.testing.assert_allclose(statistics.standardise([row(3.0)]), expected, rtol=1e-6)


def test_a_missing_value_reads_as_the_mean_with_its_flag_set():
    statistics = NumericStatistics(("price",))
    statistics.update([row(1.0), row(3.0)])
    assert statistics.standardise([row(math.nan)]).tolist() == [[0.0, 1.0]]


def test_an_outlier_is_clipped_on_both_sides():
    statistics = NumericStatistics(("price",))
    statistics.update([row(1.0), row(3.0)])
    assert statistics.standardise([row(1e9), row(-1e9)])[:, 0].tolist() == [5.0, -5.0]


def test_a_feature_seen_less_than_twice_reads_zero():
    statistics = NumericStatistics(("price",))
    statistics.update([row(4.0)])
    assert statistics.standardise([row(9.0)]).tolist() == [[0.0, 0.0]]


def test_a_constant_feature_is_divided_by_one():
    statistics = NumericStatistics(("price",))
    statistics.update([row(4.0), row(4.0)])
    assert statistics.standardise([row(5.0)]).tolist() == [[1.0, 0.0]]


def test_one_wild_value_does_not_spoil_the_statistics():
    statistics = NumericStatistics(("price",))
    statistics.update([row(float(index % 2)) for index in range(1000)])
    statistics.update([row(3e38)])
    assert abs(statistics.standardise([row(1.0)])[0, 0] - 1.0) < 0.1


def test_statistics_go_on_from_json_to_the_last_bit():
    random = np.random.default_rng(0)
    statistics = NumericStatistics(("price", "age"))
    statistics.update([row(*values) for values in random.lognormal(size=(157, 2))])
    restored = NumericStatistics.from_json(json.loads(json.dumps(statistics.to_json())), statistics.names)
    more = [row(1.5, math.nan), row(0.1, 7.5)]
    restored.update(more)
    statistics.update(more)
    assert restored.to_json() == statistics.to_json()
    np.testing.assert_array_equal(restored.standardise(more), statistics.standardise(more))


@pytest.mark.parametrize("names", list(itertools.permutations(("rating", "price", "age"))))
def test_statistics_are_read_by_name_in_whatever_order_they_were_kept(names):
    statistics = NumericStatistics(names)
    statistics.update([row(1.0, 20.0, 300.0), row(2.0, 50.0, 100.0)])
    kept = json.loads(json.dumps(statistics.to_json(), sort_keys=True))
    restored = NumericStatistics.from_json(kept, names)
    np.testing.assert_array_equal(restored.standardise([row(1, 20, 300)]), statistics.standardise([row(1, 20, 300)]))
    assert list(restored.to_json().items()) == list(statistics.to_json().items())


def test_statistics_of_other_features_are_refused_by_name():
    with pytest.raises(ValueError, match=r"features \['price'\], the model reads \['age', 'price'\]"):
        NumericStatistics.from_json(NumericStatistics(("price",)).to_json(), ("price", "age"))


def test_statistics_are_the_same_bits_as_those_of_river():
    random = np.random.default_rng(1)
    values = random.lognormal(size=(150, 2)).astype(np.float32)
    values[random.random((150, 2)) < 0.2] = np.nan
    statistics = NumericStatistics(("price", "age"))
    statistics.update([row(*pair) for pair in values[:100]])
    for feature, entry in enumerate(statistics.to_json().values()):
        oracle = Var(ddof=0)
        for value in values[:100, feature]:
            if np.isfinite(value):
                oracle.update(float(value))
        assert (entry["count"], entry["mean"]) == (oracle.n, oracle.mean.get())
        assert entry["squares"] / entry["count"] == oracle.get()


def test_standardising_learns_nothing():
    statistics = NumericStatistics(("price",))
    statistics.update([row(1.0), row(2.0)])
    before = statistics.to_json()
    statistics.standardise([row(100.0)])
    assert statistics.to_json() == before
