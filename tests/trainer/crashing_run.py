"""A trainer over one recorded log, as a process that a failpoint may kill: `python -m tests.trainer.crashing_run DIR`.

Run it again in the same directory until it exits 0; the digest of the final checkpoint is printed.
"""

import os
import sys
from pathlib import Path

import torch

from tests.trainer.rig import Rig, recorded_log
from trainer.failpoints import Failpoints
from trainer.settings import TrainerSettings

NUM_ROWS = 400


def settings() -> TrainerSettings:
    """Return settings under which everything that could go wrong takes part: replay, warm-up, several plans."""
    return TrainerSettings(update_rows=64, batch_rows=8, warmup_steps=4, replay_share=0.25, replay_capacity=50)


def main(directory: Path) -> None:
    """Run to the end of the log and print the digest."""
    torch.set_num_threads(1)
    failpoints = Failpoints(os.environ.get("MILLSTREAM_FAILPOINT", ""))
    rig = Rig(directory, recorded_log(NUM_ROWS), settings=settings(), failpoints=failpoints, numeric=())
    rig.run_to_end()
    print(rig.checkpoint_digest())  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
