"""A Ray cluster of two nodes on this machine, and the command run on it."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clothseg.prediction.outputs.options import Outputs
from clothseg.scaling.predict_command import Predict

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
    """Start a node; Ray gives it 30 seconds and no more, which a machine that is busy otherwise may exceed."""
    for left in (2, 1, 0):
        try:
            cluster.add_node(**NODE, **options)
            return
        except Exception as error:
            if "timed out during startup" not in str(error) or not left:
                raise


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
        deadline = time.monotonic() + 60
        while ray.cluster_resources().get("CPU") != 2 and time.monotonic() < deadline:
            time.sleep(0.1)


def predict(*inputs, **options):
    """Run the command as the command line would, with all kinds of output.

    Args:
        inputs: photos, and last the output.
        options: other fields of the command.
    """
    *photos, output = map(str, inputs)
    outputs = Outputs(json=True, cutouts="tight", soft_masks=True, formats=("coco", "cvat"))
    options = {"precision": "fp32", "outputs": outputs, "checkpoints_path": Path("none")} | options
    return Predict(tuple(photos), output=output, **options).run()


def contents(folder):
    """Return what a folder holds but for journals, by path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    by_name = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    return {name: content for name, content in by_name.items() if not name.startswith(".clothseg")}
