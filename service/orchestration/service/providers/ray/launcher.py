"""What a job runs on its node: it picks a port, starts the engine, says where it listens, passes on what it prints.

Sent as text with the job and run by the node's own Python: the standard library alone, nothing newer than Python 3.9.
Each line that it writes begins with the job's token and the time, so that nothing an engine prints is taken for its:

    TOKEN TIME p ADDRESS PORT GPUS   where the engine listens; GPUS as CUDA_VISIBLE_DEVICES has them, or -
    TOKEN TIME o "TEXT"              a line of the engine's standard output, as a JSON string in ASCII
    TOKEN TIME e "TEXT"              a line of its standard error, or of this program's own
"""

import base64
import errno
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import IO, Any

LAUNCH = "ORCHESTRATION_RAY_LAUNCH"
LONGEST_LINE = 64 * 1024
"""Bytes; what is longer is passed on as several lines. Ray follows no log with lines of 4 MiB, escapes counted."""
NOT_FOUND = 127
NOT_EXECUTABLE = 126
# Below the ports that the kernel gives to outgoing connections, one of which could take it while the engine loads.
FIRST_PORT, LAST_PORT = 20000, 29999
LAST_WORDS_S = 5.0
"""How long the output is read on after the engine's end: a process that it left behind may hold it open for ever."""


class Output:
    """Whole lines on standard output, from several threads."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._lock = threading.Lock()

    def line(self, kind: str, text: str) -> None:
        """Write one; ``text`` must hold no newline."""
        data = f"{self._token} {time.time():.3f} {kind} {text}\n".encode("ascii")
        with self._lock:
            while data:
                data = data[os.write(1, data) :]

    def say(self, kind: str, text: str) -> None:
        """Pass a printed line on."""
        self.line(kind, json.dumps(text))

    def pump(self, stream: IO[bytes], kind: str) -> None:
        """Pass on what the engine prints, to the end."""
        while True:
            data = stream.readline(LONGEST_LINE)
            if not data:
                return
            self.say(kind, data.rstrip(b"\n").decode("utf-8", "replace"))


class LaunchError(Exception):
    """The engine cannot be started."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


def main() -> int:
    """Run the engine to its end; its exit status, or its signal, is this program's."""
    told = json.loads(base64.b64decode(os.environ.pop(LAUNCH)))
    out = Output(told["token"])
    # Ray sends the signal to every process of the job; this one only waits for the engine to heed it.
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    try:
        address = own_address()
        host = told["listen"] or address
        port = told["port"] or free_port(host)
        require(host, port)
        engine = start(told, host, port)
    except LaunchError as error:
        out.say("e", str(error))
        return error.status
    if asked:  # before there was an engine that could have heeded it
        engine.terminate()
    out.line("p", f"{address} {port} {os.environ.get('CUDA_VISIBLE_DEVICES') or '-'}")
    return follow(engine, out)


def start(told: dict[str, Any], host: str, port: int) -> "subprocess.Popen[bytes]":
    """The engine as a process of this one's group, which Ray ends as a whole."""

    def fill(text: str) -> str:
        return text.replace("{port}", str(port)).replace("{host}", host).replace("{model}", told["model"])

    command: list[str] = [fill(part) for part in told["command"]]
    given = {key: fill(value) for key, value in told["env"].items()}
    environment = {**os.environ, **given, **told["own"], "HOST": host, "PORT": str(port), "MODEL": told["model"]}
    if not told["gpus"]:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    try:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except FileNotFoundError:
        raise LaunchError(f"{command[0]!r} is not on this node; {told['hint']}", NOT_FOUND) from None
    except OSError as error:
        raise LaunchError(f"{command[0]!r} cannot be run on this node: {error.strerror}", NOT_EXECUTABLE) from None


def follow(engine: "subprocess.Popen[bytes]", out: Output) -> int:
    """Pass its output on until it ends; returns its status, or ends by its signal."""
    assert engine.stdout is not None
    assert engine.stderr is not None
    pumps = [
        threading.Thread(target=out.pump, args=(stream, kind), daemon=True)
        for stream, kind in ((engine.stdout, "o"), (engine.stderr, "e"))
    ]
    for pump in pumps:
        pump.start()
    status = engine.wait()
    for pump in pumps:
        pump.join(LAST_WORDS_S)
    if status < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the engine's core is the one that tells something
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def own_address() -> str:
    """This node's address towards the cluster's head, which is the one that the cluster knows it by."""
    host, _, port = os.environ.get("RAY_ADDRESS", "").rpartition(":")
    try:
        family, kind, _, _, head = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(head)  # sends nothing
            return str(probe.getsockname()[0])
    except (OSError, ValueError) as error:
        text = f"this node's own address cannot be told from RAY_ADDRESS {os.environ.get('RAY_ADDRESS')!r}: {error}"
        raise LaunchError(text) from None


def free_port(host: str) -> int:
    """A port that nobody listens on; by chance, so that two engines that start together do not choose the same."""
    ports = list(range(FIRST_PORT, LAST_PORT + 1))
    random.shuffle(ports)
    free = next((port for port in ports if not bind_error(host, port)), None)
    if free is None:
        raise LaunchError(f"no free port on {host} between {FIRST_PORT} and {LAST_PORT}")
    return free


def require(host: str, port: int) -> None:
    """Raises when an engine could not listen there."""
    number = bind_error(host, port)
    if number:
        raise LaunchError(f"port {port} on {host} cannot be used: {os.strerror(number)}")


def bind_error(host: str, port: int) -> int:
    """Why a server could not listen there (an errno); 0 when it could."""
    where: tuple[str, int] = (host, port)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
            probe.listen(1)
        except OSError as error:
            return error.errno or errno.EINVAL
    return 0


if __name__ == "__main__":
    sys.exit(main())
