"""A real Redis Cluster for tests: three primaries on loopback, each a process of its own, that can be killed and started again."""

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from socket import create_server
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from livermore import valkey

SLOTS = 16_384
PASSWORD = "a-cluster's"
QUOTED = "a-cluster%27s"
PATIENCE = 20.0


def free_ports(count: int) -> list[int]:
    """Ports that are free together with the one 10,000 above it, which a node talks to the others on."""
    held, found = [], []
    while len(found) < count:
        first = create_server(("127.0.0.1", 0))
        port = first.getsockname()[1]
        held.append(first)
        if port > 50_000:
            continue
        with suppress(OSError):
            held.append(create_server(("127.0.0.1", port + 10_000)))
            found.append(port)
    for one in held:
        one.close()
    return found


def node_command(port: int, directory: Path, *, password: str, keeps: bool) -> list[str]:
    """How to start a node. ``keeps``: whether it has its memory when it is started again after a kill; its slots it always has."""
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "cluster-enabled": "yes",
        "cluster-node-timeout": "2000",
        "cluster-config-file": f"nodes-{port}.conf",
        "dir": str(directory),
        "save": "",
        "appendonly": "yes" if keeps else "no",
        "appendfsync": "no",
        "requirepass": password,
        "loglevel": "warning",
    }
    return [valkey.program(), *(word for name, value in options.items() for word in (f"--{name}", value))]


def form(ports: Sequence[int], password: str) -> None:
    """Make running nodes one cluster, each with a share of the slots."""
    share = -(-SLOTS // len(ports))
    for place, port in enumerate(ports):
        with redis.Redis(port=port, password=password) as node:
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", place * share, min(SLOTS, (place + 1) * share) - 1)
            node.execute_command("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
            if place:
                node.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0])


def is_whole(node: redis.Redis, nodes: int) -> bool:
    """Whether a node sees all the others, and all slots served."""
    info = node.execute_command("CLUSTER INFO")
    return info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == nodes


class RedisCluster:
    """``url`` is its REDIS_URL. Nodes keep what they hold (``keeps``) or come back empty."""

    def __init__(self, directory: Path, *, nodes: int = 3, keeps: bool = True) -> None:
        self._directory, self._keeps = directory, keeps
        self.ports = free_ports(nodes)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        return f"redis+cluster://:{QUOTED}@" + ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def node(self, port: int) -> redis.Redis:
        """A client of one node alone."""
        return redis.Redis(port=port, password=PASSWORD, socket_timeout=5, retry=Retry(NoBackoff(), 0))

    def start(self, port: int) -> None:
        directory = self._directory / str(port)
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "log").open("ab") as log:
            command = node_command(port, directory, password=PASSWORD, keeps=self._keeps)
            self._processes[port] = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)
        self._wait(port, "it does not answer", lambda node: bool(node.ping()))

    def _wait(self, port: int, complaint: str, ready: Callable[[redis.Redis], bool]) -> None:
        ends = time.monotonic() + PATIENCE
        with self.node(port) as node:
            while True:
                with suppress(redis.RedisError):
                    if ready(node):
                        return
                if time.monotonic() > ends:
                    raise AssertionError(f"{complaint}: {(self._directory / str(port) / 'log').read_text()[-2000:]}")
                time.sleep(0.02)

    def make(self) -> None:
        """Start all nodes and make them one cluster."""
        for port in self.ports:
            self.start(port)
        form(self.ports, PASSWORD)
        for port in self.ports:
            self._wait(port, "the cluster did not form", self.is_whole)

    def is_whole(self, node: redis.Redis) -> bool:
        return is_whole(node, len(self.ports))

    def kill(self, port: int) -> None:
        """kill -9."""
        process = self._processes.pop(port)
        process.kill()
        process.wait()

    def __enter__(self) -> Self:
        self.make()
        return self

    def __exit__(self, *_: object) -> None:
        for port in list(self._processes):
            self.kill(port)
