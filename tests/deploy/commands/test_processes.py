import subprocess
import sys


def test_a_process_command_becomes_the_process_it_starts():
    code = "from deploy.commands.processes import become; become('platform', '--nonaliased', '--terse')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    expected = subprocess.run([sys.executable, "-m", "platform"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.split("-")[0] == expected.stdout.split("-")[0]
