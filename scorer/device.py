"""Where torch computes in this process."""

import torch

from scorer.settings import ModelSettings


def prepare_device(settings: ModelSettings) -> torch.device:
    """Set torch's CPU threads for this process and return the device its models go to.

    One thread by default: on a machine whose other cores are busy, a second thread makes a small model slower.

    Raises:
        ValueError: the settings ask for a GPU that is not there.
    """
    torch.set_num_threads(settings.threads)
    if settings.device == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if settings.device == "cuda":
        message = "model.device=cuda, but torch finds no GPU; set it to cpu or auto, or install a CUDA build of torch"
        raise ValueError(message)
    return torch.device("cpu")
