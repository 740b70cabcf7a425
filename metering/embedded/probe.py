"""Ask a Kafka-protocol broker who it is, with two hand-made requests and no client library.

A client library's first look at a port is loud (errors logged while the server is still starting) and trusts any
answer. We ask for the cluster id, so another broker that took our port in the meantime is not mistaken for ours.
Protocol: https://kafka.apache.org/protocol (Metadata, request version 2).
"""

import socket
import struct
from dataclasses import dataclass

METADATA = 3
METADATA_VERSION = 2  # The first with a cluster id, and one without the later compact encodings.
CORRELATION = 1
TIMEOUT_SECONDS = 0.5


@dataclass(frozen=True)
class Reader:
    """Reads big-endian fields from the bytes of an answer, one after the other."""

    data: memoryview

    def integer(self, code: str) -> tuple[int, "Reader"]:
        """Read one integer by its `struct` code."""
        size = struct.calcsize(">" + code)
        return struct.unpack(">" + code, self.data[:size])[0], Reader(self.data[size:])

    def text(self) -> tuple[str | None, "Reader"]:
        """Read a text with a 16-bit length; -1 is null."""
        length, rest = self.integer("h")
        if length < 0:
            return None, rest
        return bytes(rest.data[:length]).decode(), Reader(rest.data[length:])


def cluster_id(port: int) -> str | None:
    """Return the cluster id of the broker at 127.0.0.1:`port`; None while none answers."""
    client = b"metering-probe"
    header = struct.pack(">hhih", METADATA, METADATA_VERSION, CORRELATION, len(client)) + client
    request = header + struct.pack(">i", 0)  # An empty list of topics: only brokers and cluster.
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", _receive(connection, 4))
            return _parse(Reader(memoryview(_receive(connection, size))))
    except (OSError, struct.error, UnicodeDecodeError):
        return None


def _parse(answer: Reader) -> str | None:
    correlation, answer = answer.integer("i")
    if correlation != CORRELATION:
        return None
    brokers, answer = answer.integer("i")
    for _ in range(brokers):
        _, answer = answer.integer("i")  # node id
        _, answer = answer.text()  # host
        _, answer = answer.integer("i")  # port
        _, answer = answer.text()  # rack
    return answer.text()[0]


def _receive(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise ConnectionResetError("the broker closed the connection in the middle of its answer")
        parts += part
    return bytes(parts)
