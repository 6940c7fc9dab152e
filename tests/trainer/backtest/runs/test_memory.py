import subprocess
import sys

SCRIPT = """
import numpy as np
from trainer.backtest.runs.memory import peak_memory_mib
before = peak_memory_mib()
np.ones(256 * 1024**2, dtype=np.uint8)
print(before, peak_memory_mib())
"""


def test_a_peak_stays_when_the_memory_was_given_back():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    assert 5 < before < after - 200
