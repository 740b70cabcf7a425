"""Run one server and end it when the starter closes our standard input, or dies.

This file is a program of its own (``python -I -S guard.py ORDER``; standard library only, nothing of ours), so it
starts in some 20 ms. The starter keeps the other end of our standard input: the kernel closes that when the starter
ends in any way, SIGKILL included. So the ordinary stop and the stop after a crash are one path, and no embedded
server outlives the process it serves. (The kernel's "signal at the parent's death" would be no substitute: it fires
when the *thread* that forked ends, and we start servers from short-lived threads.)

ORDER is a JSON object: ``argv``, ``stop_signal``, ``stop_seconds``, ``keep_fds``, and optionally ``uid`` with ``gid``
(drop to this account), ``remove`` (a folder to delete after the stop).

On standard output: one line, ``started PID`` or ``failed REASON``. Standard error is the server's log.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import Any


class ServerEnded(Exception):
    """The server ended by itself."""


def main(order: dict[str, Any]) -> int:
    """Start the server, wait for its end or for the end of our input; return the server's exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Only the starter decides. A handler, not SIG_IGN: the server must not inherit a deaf ear through exec.
        signal.signal(number, lambda *_: None)
    try:
        server = start(order)
    except OSError as error:
        say(f"failed {error}")
        return 127
    say(f"started {server.pid}")
    asked = False
    try:
        signal.signal(signal.SIGCHLD, lambda *_: raise_if_ended(server.pid))
        if server.poll() is None:
            os.read(0, 1)
            asked = True
    except ServerEnded:
        pass
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if asked:
        end(server, order["stop_signal"], order["stop_seconds"])
        if order.get("remove"):
            shutil.rmtree(order["remove"], ignore_errors=True)
    return server.wait()


def start(order: dict[str, Any]) -> "subprocess.Popen[bytes]":
    """Start the server under its account, its output going to our standard error."""
    account = {"user": order["uid"], "group": order["gid"], "extra_groups": []} if "uid" in order else {}
    return subprocess.Popen(
        order["argv"],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        stderr=sys.stderr,
        pass_fds=order["keep_fds"],
        **account,
    )


def say(line: str) -> None:
    """Tell the starter."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def end(server: "subprocess.Popen[bytes]", stop_signal: int, stop_seconds: float) -> None:
    """Ask the server to stop; kill it when it has not within the time allowed."""
    server.send_signal(stop_signal)
    try:
        server.wait(stop_seconds)
    except subprocess.TimeoutExpired:
        server.kill()


def raise_if_ended(pid: int) -> None:
    """Break off the blocking read when the server ends; SIGCHLD also comes when it is only halted, or goes on."""
    if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
        raise ServerEnded


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
