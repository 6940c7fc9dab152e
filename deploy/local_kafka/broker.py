"""One real Apache Kafka on this machine, for the demo, the tests and a first try: KRaft, one node, loopback only."""

import base64
import signal
import socket
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from deploy.local_kafka.distribution import Distribution, LocalKafkaError, find_distribution
from stream.configuration.ports import KAFKA_PORT
from stream.process.signals import held_signals

START_SECONDS = 90.0
STOP_SECONDS = 20.0

_NODE = 1
# Measured at 1,000 events/s: see README. Kafka's defaults would keep 1 GiB of heap and a 128 MiB cleaner buffer.
_JVM_OPTIONS = (
    "-Xms64m",
    "-Xmx256m",
    "-XX:MaxMetaspaceSize=96m",
    "-XX:ReservedCodeCacheSize=64m",
    "-XX:MaxDirectMemorySize=64m",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-Xss512k",
    "-Djava.awt.headless=true",
)
_SERVER = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={node}@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
log.segment.bytes=134217728
log.index.size.max.bytes=2097152
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=8388608
num.network.threads=2
num.io.threads=4
background.threads=2
broker.session.timeout.ms=5000
"""
_LOGGING = """\
rootLogger.level=INFO
rootLogger.appenderRef.file.ref=file
appender.file.type=RollingFile
appender.file.name=file
appender.file.fileName={logs}/server.log
appender.file.filePattern={logs}/server.log.%i
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d %p %c{{1}} - %m%n
appender.file.policies.type=Policies
appender.file.policies.size.type=SizeBasedTriggeringPolicy
appender.file.policies.size.size=10MB
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=3
"""


@dataclass(frozen=True)
class KafkaStatus:
    """A running local Kafka.

    Attributes:
        pid: Its process.
        bootstrap: host:port where it answers.
        memory_bytes: Resident memory.
    """

    pid: int
    bootstrap: str
    memory_bytes: int


class LocalKafka:
    """A single-node Kafka that outlives the process which started it.

    As a context manager it is started on entry and stopped on exit.

    Args:
        home: Directory of its configuration, data, logs and pid file; created when missing.
        port: Port on 127.0.0.1.
    """

    def __init__(self, home: Path, port: int = KAFKA_PORT) -> None:
        self._home = home.absolute()
        self._port = port
        self._configuration = self._home / "server.properties"
        self._pid_file = self._home / "kafka.pid"
        # Kept so that the process is reaped when it was started and is stopped by the same Python process.
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def logs(self) -> Path:
        """Directory of the broker's logs."""
        return self._home / "logs"

    @property
    def bootstrap(self) -> str:
        """host:port to connect to."""
        return f"127.0.0.1:{self._port}"

    def start(self, *, quiet: bool = False) -> bool:
        """Start the broker and wait until it answers; return False if it was running already.

        Raises:
            LocalKafkaError: It cannot be started here, does not come up, or runs on another port.
        """
        if running := self._process():
            self._check_port(running)
            self._wait_until_ready(running)
            return False
        self._reap()
        _check_free(self._port)
        distribution = find_distribution(quiet=quiet)
        self._configure(distribution)
        try:
            with held_signals():
                self._child = self._launch(distribution)
                self._pid_file.write_text(f"{self._child.pid}\n")
            self._wait_until_ready(psutil.Process(self._child.pid))
        except BaseException:
            self.stop()
            raise
        return True

    def stop(self) -> bool:
        """Stop the broker, by force if it does not end in time; return False if none was running."""
        process = self._process()
        if process is None:
            self._reap()
            self._pid_file.unlink(missing_ok=True)
            return False
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)
        self._reap()
        self._pid_file.unlink(missing_ok=True)
        return True

    def status(self) -> KafkaStatus | None:
        """Return the running broker if it answers, else None."""
        process = self._process()
        if process is None:
            return None
        bootstrap = f"127.0.0.1:{self._configured_port()}"
        if not cluster_answers(bootstrap):
            return None
        return KafkaStatus(pid=process.pid, bootstrap=bootstrap, memory_bytes=process.memory_info().rss)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _process(self) -> psutil.Process | None:
        """Return our broker's process. A pid alone proves nothing: after a reboot it may be anyone's."""
        if self._child is not None and self._child.poll() is None:
            # What was just born may not show its command line yet.
            return psutil.Process(self._child.pid)
        try:
            process = psutil.Process(int(self._pid_file.read_text()))
            ours = str(self._configuration) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
        except (FileNotFoundError, ValueError, psutil.Error):
            return None
        return process if ours else None

    def _reap(self) -> None:
        """Collect the exit status of a broker that this Python process had started and that has ended."""
        if self._child is not None:
            self._child.wait()
            self._child = None

    def _configured_port(self) -> int:
        lines = dict(line.split("=", 1) for line in self._configuration.read_text().splitlines())
        return int(lines["advertised.listeners"].rsplit(":", 1)[1])

    def _check_port(self, running: psutil.Process) -> None:
        if (port := self._configured_port()) != self._port:
            message = (
                f"a local Kafka already runs on port {port} (pid {running.pid}), not on {self._port}; "
                "stop it with 'millstream kafka down' or use its port"
            )
            raise LocalKafkaError(message)

    def _configure(self, distribution: Distribution) -> None:
        """Write the configuration and, the first time, format the data directory."""
        data = self._home / "data"
        for directory in (self._home, self.logs, data):
            directory.mkdir(parents=True, exist_ok=True)
        settings = _SERVER.format(node=_NODE, port=self._port, controller_port=free_port(), data=data)
        self._configuration.write_text(settings)
        (self._home / "log4j2.properties").write_text(_LOGGING.format(logs=self.logs))
        if (data / "meta.properties").is_file():
            return
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # "=": one random id in 64 begins with "-", which the tool would read as an option of its own.
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", f"--config={self._configuration}"]
        done = subprocess.run(self._java(distribution, *tool), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            message = f"the data directory {data} could not be formatted: {_last_line(done.stderr or done.stdout)}"
            raise LocalKafkaError(message)

    def _launch(self, distribution: Distribution) -> subprocess.Popen[bytes]:
        with (self.logs / "console.log").open("ab") as console:
            return subprocess.Popen(
                self._java(distribution, "kafka.Kafka", str(self._configuration)),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in a terminal must not reach the broker before its clients
            )

    def _java(self, distribution: Distribution, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self._home / 'log4j2.properties'}"
        return [str(distribution.java), *_JVM_OPTIONS, logging, "-cp", distribution.class_path, *arguments]

    def _wait_until_ready(self, process: psutil.Process) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                message = f"Kafka ended while it was starting: {self._complaint()}; its logs are in {self.logs}"
                raise LocalKafkaError(message)
            if cluster_answers(self.bootstrap):
                return
            time.sleep(0.1)
        message = f"Kafka did not answer on {self.bootstrap} within {START_SECONDS:.0f} s; its logs are in {self.logs}"
        raise LocalKafkaError(message)

    def _complaint(self) -> str:
        return _last_line((self.logs / "console.log").read_text(errors="replace")) or "it said nothing"


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cluster_answers(bootstrap: str) -> bool:
    """Return whether a cluster without authentication answers an administrator there."""
    host, port = bootstrap.rsplit(":", 1)
    with socket.socket() as probe:  # the client would retry and log for a second where nothing listens
        if probe.connect_ex((host, int(port))) != 0:
            return False
    try:
        admin = KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=2_000, request_timeout_ms=5_000)
    except (KafkaError, OSError):
        return False
    try:
        return bool(admin.describe_cluster()["brokers"])
    except (KafkaError, OSError):
        return False
    finally:
        admin.close()


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            message = (
                f"port {port} is taken, so no local Kafka can start there; free it, choose another with --port, "
                f"or, if a Kafka runs there, set MILLSTREAM_KAFKA_BOOTSTRAP=127.0.0.1:{port}"
            )
            raise LocalKafkaError(message) from error


def _last_line(text: str) -> str:
    return text.strip().rsplit("\n", 1)[-1]
