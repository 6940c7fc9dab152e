import os
import signal

import pytest

from trainer.state.failpoints import Failpoints


def test_without_a_setting_nothing_happens():
    for _ in range(3):
        Failpoints().pass_through("anywhere")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_the_process_is_killed_at_the_nth_pass_of_the_named_place():
    child = os.fork()
    if child == 0:
        failpoints = Failpoints("here:2")
        failpoints.pass_through("there")
        failpoints.pass_through("there")
        failpoints.pass_through("here")
        failpoints.pass_through("here")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
