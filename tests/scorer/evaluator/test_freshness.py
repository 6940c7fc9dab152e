import random

from scorer.evaluator.freshness import MAX_VERSIONS, FreshnessTracker


def test_a_row_is_fresh_when_a_version_that_covers_it_first_scores() -> None:
    tracker = FreshnessTracker()
    tracker.add_rows(0, 7, [1_000, 3_000])
    tracker.add_release("v2", {"0": 8})
    assert tracker.add_score("v2", 10_000) == [9.0, 7.0]
    assert tracker.num_waiting == 0


def test_rows_beyond_the_covered_offset_go_on_waiting() -> None:
    tracker = FreshnessTracker()
    tracker.add_rows(0, 7, [1_000])
    tracker.add_rows(0, 8, [2_000])
    tracker.add_release("v2", {"0": 8})
    assert tracker.add_score("v2", 10_000) == [9.0]
    assert tracker.num_waiting == 1


def test_partitions_are_covered_apart() -> None:
    tracker = FreshnessTracker()
    tracker.add_rows(0, 5, [1_000])
    tracker.add_rows(1, 5, [2_000])
    tracker.add_release("v2", {"1": 6})
    assert tracker.add_score("v2", 10_000) == [8.0]


def test_a_version_counts_from_its_first_score_even_if_its_release_is_seen_later() -> None:
    tracker = FreshnessTracker()
    tracker.add_rows(0, 5, [1_000])
    assert tracker.add_score("v2", 4_000) == []
    assert tracker.add_score("v2", 6_000) == []
    assert tracker.add_release("v2", {"0": 6}) == [3.0]


def test_a_row_counts_once_when_versions_alternate() -> None:
    tracker = FreshnessTracker()
    tracker.add_rows(0, 5, [1_000])
    tracker.add_release("v1", {"0": 5})
    tracker.add_release("v2", {"0": 6})
    settled = [tracker.add_score(version, 4_000) for version in ("v1", "v2", "v1", "v2")]
    assert settled == [[], [3.0], [], []]


def test_a_skipped_version_leaves_its_rows_to_the_next() -> None:
    tracker = FreshnessTracker()
    tracker.add_rows(0, 5, [1_000])
    tracker.add_release("v2", {"0": 6})
    tracker.add_release("v3", {"0": 9})
    assert tracker.add_score("v3", 9_000) == [8.0]


def test_rolling_back_settles_nothing_again() -> None:
    tracker = FreshnessTracker()
    tracker.add_rows(0, 5, [1_000])
    tracker.add_release("v2", {"0": 6})
    tracker.add_score("v2", 4_000)
    tracker.add_rows(0, 6, [5_000])
    tracker.add_release("v1", {"0": 5})
    assert tracker.add_score("v1", 9_000) == []
    assert tracker.num_waiting == 1


def test_waiting_rows_are_bounded_and_the_oldest_are_given_up() -> None:
    tracker = FreshnessTracker(max_waiting=2)
    tracker.add_rows(0, 1, [1_000, 2_000, 3_000])
    tracker.add_release("v2", {"0": 2})
    assert tracker.num_given_up == 1
    assert tracker.add_score("v2", 4_000) == [2.0, 1.0]


def test_remembered_versions_are_bounded() -> None:
    tracker = FreshnessTracker()
    for number in range(MAX_VERSIONS + 5):
        tracker.add_score(f"v{number}", number)
    assert len(tracker.snapshot()["scored_versions"]) == MAX_VERSIONS


def test_a_restored_tracker_settles_what_the_original_would() -> None:
    tracker = FreshnessTracker()
    tracker.add_rows(0, 5, [1_000])
    tracker.add_rows(1, 3, [2_000])
    tracker.add_score("v2", 4_000)
    restored = FreshnessTracker.restore(tracker.snapshot())
    assert restored.add_release("v2", {"0": 6, "1": 4}) == [3.0, 2.0]


def test_a_row_read_after_its_version_served_is_not_credited_to_the_next_version() -> None:
    tracker = FreshnessTracker()
    tracker.add_release("v2", {"0": 8, "1": 8})
    tracker.add_score("v2", 11_000)
    tracker.add_release("v3", {"0": 16, "1": 16})
    tracker.add_score("v3", 71_000)
    assert tracker.add_rows(1, 7, [1_000]) == [10.0]
    assert tracker.add_rows(1, 8, [2_000]) == [69.0]
    assert tracker.add_rows(1, 16, [3_000]) == []
    assert tracker.num_waiting == 1


def test_an_earlier_score_in_a_partition_that_is_read_later_counts() -> None:
    tracker = FreshnessTracker()
    tracker.add_release("v2", {"1": 8})
    tracker.add_score("v2", 11_000)
    tracker.add_score("v2", 6_000)
    assert tracker.add_rows(1, 7, [1_000]) == [5.0]


def test_partitions_read_in_any_order_settle_their_rows_as_if_read_by_time() -> None:
    """Each partition's rows come in order; how the partitions take turns changes nothing once versions are known."""
    releases = {f"v{number}": {"0": 10 * number, "1": 10 * number} for number in range(1, 9)}
    served_ms = {version: 1_000 * (10 * number + 5) for number, version in enumerate(releases, start=1)}
    expected = sorted(served_ms[f"v{offset // 10 + 1}"] / 1_000 - offset for offset in range(80) for _ in range(2))
    for seed in range(20):
        tracker, dice, settled = FreshnessTracker(), random.Random(seed), []
        for version, covered in releases.items():
            settled += tracker.add_release(version, covered)
            settled += tracker.add_score(version, served_ms[version])
        unread = [iter(range(80)), iter(range(80))]
        left = [80, 80]
        while any(left):
            partition = dice.choice([number for number in (0, 1) if left[number]])
            left[partition] -= 1
            offset = next(unread[partition])
            settled += tracker.add_rows(partition, offset, [1_000 * offset])
        assert sorted(settled) == expected


def test_what_was_served_when_is_bounded() -> None:
    tracker = FreshnessTracker()
    for number in range(MAX_VERSIONS + 5):
        tracker.add_release(f"v{number}", {"0": number + 1})
        tracker.add_score(f"v{number}", number)
    assert len(tracker.snapshot()["served_offsets"]) == MAX_VERSIONS


def test_a_restored_tracker_knows_what_was_served_without_reading_the_releases_again() -> None:
    tracker = FreshnessTracker()
    for version, covered, scored_ms in (("v2", 8, 11_000), ("v3", 16, 71_000)):
        tracker.add_release(version, {"1": covered})
        tracker.add_score(version, scored_ms)
    restored = FreshnessTracker.restore(tracker.snapshot())
    assert restored.add_score("v2", 90_000) == []
    assert restored.add_rows(1, 7, [1_000]) == [10.0]


def test_a_snapshot_from_before_served_offsets_were_kept_is_restored() -> None:
    tracker = FreshnessTracker()
    tracker.add_rows(0, 5, [1_000])
    tracker.add_score("v2", 4_000)
    old = {name: array for name, array in tracker.snapshot().items() if not name.startswith("served_")}
    assert FreshnessTracker.restore(old).add_release("v2", {"0": 6}) == [3.0]  # type: ignore[arg-type]


def test_rows_whose_learning_was_undone_are_never_fresh() -> None:
    tracker = FreshnessTracker()
    for offset in range(4):
        tracker.add_rows(0, offset, [1_000])
    tracker.add_release("v6", {"0": 5}, [{"0": (1, 3)}])
    assert tracker.add_score("v6", 10_000) == [9.0, 9.0]
    assert (tracker.num_waiting, tracker.num_given_up) == (0, 2)
    assert tracker.add_rows(0, 2, [1_000]) == []
    assert tracker.add_rows(0, 4, [2_000]) == [8.0]
