"""What a process loads before it does anything: seconds of its start and hundreds of megabytes of its memory."""

import subprocess
import sys

PROCESSES = (
    "scorer.scoring.agent",
    "scorer.serving.app",
    "scorer.evaluator.process",
    "trainer.process",
    "trainer.backtest.driver",
    "trainer.backtest.runs.job",
    "deploy.model_operations",
)


def test_no_process_loads_transformers():
    """Only a model line that begins from a name on the hub needs it."""
    slow = {"transformers", "huggingface_hub"}
    code = f"import sys, {', '.join(PROCESSES)}; print(sorted({slow} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
