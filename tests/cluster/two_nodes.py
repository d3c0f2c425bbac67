"""A Ray cluster of two nodes on this machine."""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.conftest import HANG_SECONDS

BUCKET = "clothes"
# The loopback device, so that nothing listens to the outside; Ray takes 127.0.0.1 itself for the outer address.
NODE = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 200_000_000, "node_ip_address": "127.0.0.2"}


@dataclass
class ObjectStore:
    """An object store with an empty bucket."""

    files: Any
    """Its file system of fsspec, for what the tests put there."""
    root: str
    """The bucket's address."""


def start(cluster, **options):
    """Start a node; where Ray gives up after its 30 seconds, which a busy machine may need, end it and try again."""
    deadline = time.monotonic() + HANG_SECONDS
    while True:
        before = psutil.Process().children()
        try:
            cluster.add_node(**NODE, **options)
            return
        except Exception as error:
            if "timed out during startup" not in str(error) or time.monotonic() > deadline:
                raise
            for process in set(psutil.Process().children()) - set(before):
                with contextlib.suppress(psutil.Error):
                    process.kill()


@dataclass
class TwoNodes:
    """A cluster of two raylets, one CPU slot each; this process has joined it at the first."""

    cluster: Any

    def workers(self):
        """Return the process ids of the copies of the model that run on it."""
        raylets = {node.all_processes["raylet"][0].process.pid for node in self.cluster.list_all_nodes()}
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                title = (path / "cmdline").read_bytes()
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent in raylets and b"Replica" in title:
                found.append(int(path.name))
        return sorted(found)

    def lose_one(self):
        """Kill all processes of the second node, as a machine that loses its power."""
        self.cluster.remove_node(next(iter(self.cluster.worker_nodes)), allow_graceful=False)
        return True

    def make_whole(self):
        """Put a node in the place of one that was lost."""
        import ray

        if not self.cluster.worker_nodes:
            start(self.cluster)
        deadline = time.monotonic() + HANG_SECONDS
        while ray.cluster_resources().get("CPU") != 2 and time.monotonic() < deadline:
            time.sleep(0.1)
