import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from clothseg.scaling.predict_command import Predict

BUCKET = "clothes"


@dataclass
class TwoNodes:
    """A Ray cluster of two raylets on this machine, one CPU slot each."""

    cluster: Any

    def workers(self):
        """Return the process ids of the copies of the model that run on it."""
        raylets = {
            info.process.pid for node in self.cluster.list_all_nodes() for info in node.all_processes.get("raylet", [])
        }
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


@pytest.fixture(scope="session")
def store():
    """The address of an S3 server on this machine, with one empty bucket, as clients find it."""
    server_module = pytest.importorskip("moto.server", reason="moto is not installed")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        files = s3fs.S3FileSystem(use_listings_cache=False)
        files.mkdir(BUCKET)
        yield files
    server.stop()


@pytest.fixture(scope="session")
def two_nodes(store):
    """A cluster of two nodes, which this process has joined."""
    if not sys.platform.startswith("linux"):
        pytest.skip("Ray's clusters of several nodes on one machine are for Linux")
    pytest.importorskip("ray", reason="Ray is not installed")
    from clothseg.scaling.cluster import joined

    for name, value in (("OMP_NUM_THREADS", "1"), ("RAY_DISABLE_MEMORY_MONITOR", "1")):
        os.environ.setdefault(name, value)
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    small = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 200_000_000, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=small)
    try:
        cluster.add_node(num_cpus=1, num_gpus=0, object_store_memory=200_000_000)
        with joined(cluster.address):
            yield TwoNodes(cluster)
    finally:
        cluster.shutdown()


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Twenty-four photos in two folders, all of one size, so that each worker compiles the network once."""
    folder = tmp_path_factory.mktemp("drawn") / "photos"
    rng = np.random.default_rng(0)
    for number in range(24):
        path = folder / "ab"[number % 2] / f"{number} кофта.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (8, 6, 3), np.uint8)
        Image.fromarray(cv2.resize(coarse, (240, 320), interpolation=cv2.INTER_CUBIC)).save(path)
    return folder


@pytest.fixture(scope="session")
def by_local_engine(photos, tmp_path_factory):
    """What the local engine writes for the photos, by path inside the output, without the journal."""
    output = tmp_path_factory.mktemp("local")
    assert predict(photos, output) == 0
    return contents(output)


OPTIONS = {"json": True, "cutouts": "tight", "soft_masks": True, "formats": ("coco", "cvat")}


def predict(*inputs, **options):
    """Run the command as the command line would, with all kinds of output."""
    from clothseg.prediction.outputs.options import Outputs

    *photos, output = map(str, inputs)
    options = {"precision": "fp32", "outputs": Outputs(**OPTIONS)} | options
    return Predict(tuple(photos), output=output, checkpoints_path=Path("none"), **options).run()


def contents(folder):
    """Return what a folder holds but for journals."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".clothseg")
    }
