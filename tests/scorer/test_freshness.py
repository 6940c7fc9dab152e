from scorer.freshness import MAX_VERSIONS, FreshnessTracker


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
