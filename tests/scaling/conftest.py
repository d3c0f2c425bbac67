import socket
import sys
from pathlib import Path

import pytest
from PIL import Image

from clothseg.scaling.cluster import joined, set_environment
from tests.scaling.two_nodes import BUCKET, ObjectStore, TwoNodes, contents, predict, start

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def s3():
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
        yield ObjectStore(files, f"s3://{BUCKET}")
    server.stop()


@pytest.fixture(scope="session")
def gs():
    """The same with a server that speaks as Google Cloud Storage does."""
    server_module = pytest.importorskip("gcp_storage_emulator.server", reason="gcp-storage-emulator is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = server_module.create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        # Read on import; it would ask a service that the server does not have.
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        gcsfs = pytest.importorskip("gcsfs", reason="gcsfs is not installed")
        yield ObjectStore(gcsfs.GCSFileSystem(use_listings_cache=False), f"gs://{BUCKET}")
    server.stop()


@pytest.fixture(params=["s3", "gs"])
def store(request):
    """Each kind of object store."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def two_nodes(s3, gs):
    """A cluster of two nodes, which this process has joined; its workers know the stores."""
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
