from scorer.live.roles import ROLES, Roles
from stream.events import WeightedExample


def test_only_roles_that_are_played_are_asked_beside_the_live_one():
    roles = Roles("v3")
    assert roles.beside_live() == {}
    roles.frozen = "v0"
    assert roles.beside_live() == {"frozen": "v0"}


def test_what_each_role_said_has_its_place_in_an_example():
    assert set(ROLES) <= set(WeightedExample.__struct_fields__)
