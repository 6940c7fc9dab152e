from stream.hashing import hash01, hash64


def test_a_hash_never_changes():
    assert hash64("impression-1", "selection") == 17689993305053551795
    assert hash01("impression-1", "selection") == 0.9589764586296544


def test_shares_are_uniform():
    numbers = [hash01(f"impression-{i}", "selection") for i in range(20_000)]
    assert all(0 <= number < 1 for number in numbers)
    for share in (0.1, 0.5, 0.9):
        assert abs(sum(number < share for number in numbers) / len(numbers) - share) < 0.02


def test_salts_are_independent():
    both = sum(hash01(f"i{i}", "selection") < 0.5 and hash01(f"i{i}", "frozen") < 0.5 for i in range(20_000))
    assert abs(both / 20_000 - 0.25) < 0.02


def test_salt_and_text_do_not_run_into_each_other():
    assert hash64("bc", "a") != hash64("c", "ab")
