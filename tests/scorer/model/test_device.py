import pytest
import torch

from scorer.model.device import prepare_device, return_freed_memory
from scorer.model.settings import ModelSettings


@pytest.fixture(autouse=True)
def _same_threads_afterwards():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_torch_gets_the_threads_of_the_settings():
    prepare_device(ModelSettings(device="cpu", threads=2))
    assert torch.get_num_threads() == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused():
    assert prepare_device(ModelSettings(device="auto")) == torch.device("cpu")
    with pytest.raises(ValueError, match="device=cuda, but torch finds no GPU"):
        prepare_device(ModelSettings(device="cuda"))


def test_freed_memory_can_be_returned_at_any_time():
    tensor = torch.ones(1_000_000)
    return_freed_memory()
    assert tensor.sum() == 1_000_000
