import pytest

from trainer.failures import ENVIRONMENT, OUT_OF_MEMORY, Failed, attempt


def fail(error):
    raise error


def test_a_result_is_returned():
    assert attempt(lambda: 5) == 5


@pytest.mark.parametrize("error", [ValueError, ZeroDivisionError, RuntimeError, RecursionError, *OUT_OF_MEMORY])
def test_an_error_that_may_come_back_is_returned(error):
    failed = attempt(lambda: fail(error()))
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, error)


@pytest.mark.parametrize("error", ENVIRONMENT)
def test_an_error_of_the_machine_is_raised(error):
    with pytest.raises(error):
        attempt(lambda: fail(error()))
