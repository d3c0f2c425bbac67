import shutil
import socket
import sys

import cv2
import numpy as np
import pytest

from clothseg.cluster.cluster import joined, set_environment
from clothseg.cluster.predict_command import Predict
from clothseg.encoding import encode_jpeg
from clothseg.prediction.outputs import Outputs
from clothseg.settings import ModelOptions
from tests.cluster.local_ray import LocalRay
from tests.cluster.photo_server import PhotoServer
from tests.cluster.two_nodes import BUCKET, ObjectStore, TwoNodes, start
from tests.conftest import needs, unpacked
from tests.export.small_model import photo_of


@pytest.fixture(scope="session")
def s3():
    """An S3 server on this machine with an empty bucket; its address is where clients read it."""
    server_module = needs("moto.server")
    s3fs = needs("s3fs")
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
    server_module = needs("gcp_storage_emulator.server")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = server_module.create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        # Read on import; it would ask a service that the server does not have.
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        gcsfs = needs("gcsfs")
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
    needs("ray.data")
    cluster_utils = needs("ray.cluster_utils")
    cluster = cluster_utils.Cluster()
    try:
        start(cluster, include_dashboard=False)
        start(cluster)
        with joined(cluster.address):
            yield TwoNodes(cluster)
    finally:
        cluster.shutdown()


@pytest.fixture
def ray(monkeypatch):
    """Ray in this process, in place of a cluster."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    threads = cv2.getNumThreads()
    yield LocalRay().install(monkeypatch)
    cv2.setNumThreads(threads)


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Twenty-four photos of one size in two folders."""
    folder = tmp_path_factory.mktemp("drawn") / "photos"
    for number in range(24):
        path = folder / "ab"[number % 2] / f"{number} кофта.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = photo_of(64 + number, 48)[:64]
        path.write_bytes(encode_jpeg(np.ascontiguousarray(pixels)))
    return folder


@pytest.fixture(scope="session")
def predict(model_path):
    """Run the command as the command line would, with all kinds of output.

    The function takes photos, and last the output, and other fields of the command.
    """

    def run(*inputs, **options):
        *photos, output = map(str, inputs)
        outputs = Outputs(json=True, cutouts="tight", soft_masks=True, formats=("coco", "label-studio"))
        fixed = {"model_options": ModelOptions(precision="fp32"), "outputs": outputs, "checkpoint_path": model_path}
        return Predict(tuple(photos), output=output, **(fixed | options)).run()

    return run


@pytest.fixture(scope="session")
def by_local_engine(predict, photos, tmp_path_factory):
    """What the local engine writes for the photos, by path inside the output."""
    output = tmp_path_factory.mktemp("local")
    assert predict(photos, output) == 0
    found = contents(output)
    assert len(found) > 24 * 5, "the model finds garments, so that there is more than masks and overlays"
    return found


@pytest.fixture
def check_photos_of_a_web_server(predict, photos, by_local_engine, tmp_path, capfd):
    """Segments four photos of a web server, of which one ends its worker and one is missing; see `PhotoServer`."""

    def check(before=lambda path: True):
        output = tmp_path / "output"
        for name in ("photo-1.jpg", "photo-2.jpg"):
            shutil.copy(photos / "a" / "0 кофта.jpg", tmp_path / name)
        names = ("photo-1.jpg", "poison.jpg", "photo-2.jpg?signature=1", "gone.jpg")
        with PhotoServer(tmp_path, before) as web:
            assert predict(*(f"{web.address}/{name}" for name in names), output, engine="ray", workers=1) == 1
        captured = capfd.readouterr().err
        assert f"clothseg: Photo not found: {web.address}/gone.jpg. Check the address" in captured
        assert f"clothseg: Photo ended its worker 3 times: {web.address}/poison.jpg." in captured
        for stem in ("photo-1", "photo-2"):
            mask = (output / f"{stem}_mask.png").read_bytes()
            assert unpacked(mask) == by_local_engine["a/0 кофта_mask.png"]
        assert not list(output.glob("poison*"))

    return check


def contents(folder):
    """Return what a folder holds but for journals, by path, PNGs unpacked."""
    files = (path for path in folder.rglob("*") if path.is_file())
    by_name = {path.relative_to(folder).as_posix(): unpacked(path.read_bytes()) for path in files}
    return {name: content for name, content in by_name.items() if not name.startswith(".clothseg")}


def contents_of_store(store, address):
    """Return the same of a folder in an object store.

    Object by object: the server that stands for Google's answers one connection at a time, and many wait for minutes.
    """
    folder = address.partition("://")[2]
    paths = store.files.find(address)
    by_name = {path.removeprefix(f"{folder}/"): unpacked(store.files.cat_file(path)) for path in paths}
    return {name: content for name, content in by_name.items() if not name.startswith(".clothseg")}
