"""Where torch computes in this process."""

import ctypes
import os
import sys

import torch

from scorer.model.settings import ModelSettings

ONEDNN_CACHED_KERNELS = 64
"""Compiled kernels that oneDNN keeps, its default is 1,024: every new number of tokens compiles one, and in bf16 the
full cache took 700 MiB a process. Compiling again costs under a tenth of the time."""


def prepare_device(settings: ModelSettings) -> torch.device:
    """Set torch's CPU threads for this process and return the device its models go to.

    One thread by default: on a machine whose other cores are busy, a second thread makes a small model slower.

    Raises:
        ValueError: the settings ask for a GPU that is not there.
    """
    # Read once, at torch's first matrix product.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(ONEDNN_CACHED_KERNELS))
    torch.set_num_threads(settings.threads)
    if settings.device == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if settings.device == "cuda":
        message = "model.device=cuda, but torch finds no GPU; set it to cpu or auto, or install a CUDA build of torch"
        raise ValueError(message)
    return torch.device("cpu")


def return_freed_memory() -> None:
    """Give memory that torch has freed back to the system, where the C library is glibc; elsewhere nothing happens.

    Batches of ever new sizes leave glibc's heap full of holes: 20,000 rows took 450 MiB more without this.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
