"""Apache Kafka for tests and benchmarks: one node, KRaft, on loopback; needs `java` (17 or newer) and `mvn`.

The jars come once from the Maven repository into a cache folder; then a start takes some 3 s.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Final

from metering.embedded.broker import create_topic, wait_for_cluster
from metering.embedded.errors import EmbeddedError, log_tail
from metering.embedded.process import EmbeddedServer, GuardedProcess, free_port, port_is_free, remove_folder

VERSION: Final = "4.4.0"
START_SECONDS: Final = 60
STOP_SECONDS: Final = 20
DOWNLOAD_SECONDS: Final = 600
PORTS_TRIED: Final = 5
FORMAT_SECONDS: Final = 60

POM: Final = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>metering</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.5</version>
    </dependency>
  </dependencies>
</project>
"""

SERVER_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={folder}/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
# A killed broker is registered until its session ends, and only then may it come back.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# Deletes and rolls by time are tried by tests, which do not want to wait minutes for the check.
log.retention.check.interval.ms=1000
log.segment.delete.delay.ms=100
"""


def missing() -> str | None:
    """Say what this machine lacks to run Apache Kafka; None if nothing."""
    absent = [program for program in ("java", "mvn") if shutil.which(program) is None]
    return f"Apache Kafka {VERSION} needs {' and '.join(absent)} on the PATH" if absent else None


class ApacheKafka(EmbeddedServer):
    """One Apache Kafka node on 127.0.0.1, with a temporary folder that is deleted at the stop.

    `kill` is a crash; `open` or `start` brings it back on its data, at the same address. It stops with this
    process, however that ends. Attributes: `port` (None until the first start).
    """

    def __init__(self, heap_mb: int = 512) -> None:
        """Describe the node. heap_mb: the most that the Java heap may take."""
        super().__init__()
        self.port: int | None = None
        self._heap_mb = heap_mb
        self._folder: Path | None = None
        self._cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")

    @property
    def bootstrap(self) -> str:
        """Address for Kafka clients, `127.0.0.1:port`."""
        if self.port is None:
            raise EmbeddedError("Apache Kafka has no address yet: start it first")
        return f"127.0.0.1:{self.port}"

    async def create_topic(self, name: str, partitions: int, **configs: str) -> None:
        """Make a topic whose records carry the time of their appending; `configs` adds or replaces settings.

        A setting's dots are written as underscores: `retention_ms="1000"`.
        """
        settings = {key.replace("_", "."): value for key, value in configs.items()}
        await create_topic(self.bootstrap, name, partitions, {"message.timestamp.type": "LogAppendTime"} | settings)

    def _open(self) -> GuardedProcess:
        if (reason := missing()) is not None:
            raise EmbeddedError(f"{reason}: install a JDK and Maven")
        jars = ensure_jars()
        if self._folder is not None:
            assert self.port is not None
            return self._run(self._folder, jars, self.port)
        folder = Path(tempfile.mkdtemp(prefix="metering-kafka-"))
        try:
            process = self._first_run(folder, jars)
        except BaseException:
            remove_folder(folder)
            raise
        self._folder = folder
        return process

    def _first_run(self, folder: Path, jars: Path) -> GuardedProcess:
        for _ in range(PORTS_TRIED):
            port, controller = free_port(), free_port()
            properties = SERVER_PROPERTIES.format(port=port, controller=controller, folder=folder)
            (folder / "server.properties").write_text(properties)
            remove_folder(folder / "data")
            _format(folder, jars, self._cluster)
            try:
                process = self._run(folder, jars, port)
            except EmbeddedError:
                if port_is_free(port) and port_is_free(controller):
                    raise  # The ports were not the reason.
                continue
            self.port = port
            return process
        raise EmbeddedError(f"{PORTS_TRIED} pairs of free ports were taken by other programs before Kafka started")

    def _run(self, folder: Path, jars: Path, port: int) -> GuardedProcess:
        log = folder / "log"
        process = GuardedProcess(
            [
                *_java(jars),
                f"-Xmx{self._heap_mb}m",
                "-Dorg.apache.logging.log4j.level=WARN",
                "kafka.Kafka",
                str(folder / "server.properties"),
            ],
            log=log,
            stop_signal=signal.SIGTERM,
            stop_seconds=STOP_SECONDS,
            remove=folder,
            env=os.environ,
        )
        wait_for_cluster(process, port, self._cluster, log, START_SECONDS)
        return process

    def _close(self) -> None:
        if self._folder is not None:
            remove_folder(self._folder)
            self._folder = None
            self.port = None


def ensure_jars(cache: Path | None = None) -> Path:
    """Return the folder of Kafka's jars, fetched by Maven if it is absent; other processes wait meanwhile.

    cache: default `$XDG_CACHE_HOME/metering` or `~/.cache/metering`.

    Errors: `EmbeddedError` with what Maven said.
    """
    if cache is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metering"
    jars = cache / f"kafka-{VERSION}"
    if jars.exists():
        return jars
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"kafka-{VERSION}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.exists():
            with tempfile.TemporaryDirectory(dir=cache) as made:
                _fetch(Path(made)).rename(jars)
    return jars


def _fetch(folder: Path) -> Path:
    (folder / "pom.xml").write_text(POM)
    said = folder / "mvn.log"
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={folder / 'jars'}"]
    with said.open("wb") as output:
        ended = subprocess.run(
            ["mvn", "-q", "-B", "-f", str(folder / "pom.xml"), *goal],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=DOWNLOAD_SECONDS,
        )
    if ended.returncode != 0:
        raise EmbeddedError(f"mvn could not fetch the jars of Kafka:{log_tail(said.read_text(errors='replace'))}")
    return folder / "jars"


def _format(folder: Path, jars: Path, cluster: str) -> None:
    """Write the cluster's id into the empty data folder, as KRaft wants it before the first start."""
    quick = ["-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(folder / "server.properties")]
    ended = subprocess.run(
        [*_java(jars), *quick, *tool], capture_output=True, text=True, timeout=FORMAT_SECONDS, stdin=subprocess.DEVNULL
    )
    if ended.returncode != 0:
        raise EmbeddedError(f"Kafka could not format {folder}:{log_tail(ended.stdout + ended.stderr)}")


def _java(jars: Path) -> list[str]:
    java = shutil.which("java")
    assert java is not None
    return [java, "-cp", f"{jars}/*"]
