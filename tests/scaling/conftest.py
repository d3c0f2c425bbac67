import sys
from pathlib import Path

import pytest
from PIL import Image

from clothseg.scaling.cluster import joined, set_environment
from tests.scaling.two_nodes import BUCKET, TwoNodes, contents, predict, start

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def store():
    """An S3 server on this machine with an empty bucket; its address stands where clients look for it."""
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
    """A cluster of two nodes, which this process has joined; its workers know the store."""
    if not sys.platform.startswith("linux"):
        pytest.skip("Ray starts several nodes on one machine on Linux only")
    set_environment()
    pytest.importorskip("ray.data", reason="Ray is not installed")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    cluster = cluster_utils.Cluster()
    try:
        start(cluster, include_dashboard=False)
        start(cluster)
        with joined(cluster.address):
            yield TwoNodes(cluster)
    finally:
        cluster.shutdown()


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Twenty-four parts of a drawn photo, in two folders, all of one size: each worker compiles the network once."""
    folder = tmp_path_factory.mktemp("drawn") / "photos"
    with Image.open(ROOT / "docs" / "pictures" / "before.jpg") as whole:
        for number in range(24):
            path = folder / "ab"[number % 2] / f"{number} кофта.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            left, top = 4 * number, 8 * number
            whole.crop((left, top, left + 352, top + 512)).save(path, quality=90)
    return folder


@pytest.fixture(scope="session")
def by_local_engine(photos, tmp_path_factory):
    """What the local engine writes for the photos, by path inside the output."""
    output = tmp_path_factory.mktemp("local")
    assert predict(photos, output) == 0
    found = contents(output)
    assert len(found) > 24 * 5, "the model finds garments, so that there is more than masks and overlays"
    return found
