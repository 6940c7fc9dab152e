"""Which code child processes run: ours, whatever lies in the directory they are started from."""

import os
from pathlib import Path


def safe_environment() -> dict[str, str]:
    """Return the variables that keep a file in the current directory, such as `stream.py`, from being imported.

    `python -m` and `python -c` put the current directory first on the path. Without it a clone that is not installed
    would not be found either, so its root is named.
    """
    safe = {"PYTHONSAFEPATH": "1"}
    root = Path(__file__).parents[1]
    if root.name != "site-packages":  # else its packages would come before the standard library
        present = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        paths = [str(root), *(path for path in present if path and path != str(root))]
        safe["PYTHONPATH"] = os.pathsep.join(paths)
    return safe
