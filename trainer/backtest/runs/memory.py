"""How much memory a process has taken at most."""

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_memory_mib() -> float:
    """Return the largest resident size of this process so far, in MiB."""
    if _STATUS.is_file():
        # Unlike getrusage, this does not count the parent from whose image the process began.
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
