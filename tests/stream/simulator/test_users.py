from collections import deque

from stream.simulator.users import User


def user() -> User:
    return User(user_id="user-1", group=0, liked=deque(["red hat", "blue coat"], maxlen=2))


def test_a_click_enters_the_history_when_it_happens():
    shopper = user()
    shopper.clicked.append((5.0, "green scarf"))
    assert shopper.history_at(4.9) == ("red hat", "blue coat")
    assert shopper.history_at(5.0) == ("green scarf", "red hat")


def test_the_newest_click_comes_first_whatever_the_order_of_drawing():
    shopper = user()
    shopper.clicked += [(5.0, "green scarf"), (4.0, "pink skirt")]
    assert shopper.history_at(6.0) == ("green scarf", "pink skirt")


def test_a_click_is_taken_once():
    shopper = user()
    shopper.clicked.append((5.0, "green scarf"))
    shopper.history_at(6.0)
    assert shopper.history_at(7.0) == ("green scarf", "red hat")
