"""Runs of the command on a cluster whose workers are in this process; `test_ray.py` repeats them with Ray itself."""

import dataclasses
import json
import shutil
import signal
import socket

import pytest

from clothseg import cli
from clothseg.cluster.cluster import joined
from clothseg.cluster.targets import FolderTarget
from clothseg.cluster.worker import Replica, RunOptions, describe_model
from clothseg.errors import ClothsegError, MachineError, ModelError, unpack_error
from clothseg.labels import GROUPS
from clothseg.prediction.journal import JOURNAL_NAME
from clothseg.prediction.outputs import Outputs
from clothseg.prediction.test_time_augmentation import TestTimeAugmentation
from clothseg.settings import ModelOptions
from tests.cluster.conftest import contents, contents_of_store
from tests.cluster.local_ray import RayError
from tests.conftest import unpacked

pytestmark = pytest.mark.usefixtures("ray")


def journaled(folder):
    """Return the stems in a journal, in order."""
    return [json.loads(line)["stem"] for line in (folder / JOURNAL_NAME).read_bytes().splitlines()[1:]]


def test_the_files_are_those_of_the_local_engine(predict, ray, photos, by_local_engine, tmp_path, capfd):
    ray.is_busy = True
    assert predict(photos, tmp_path, engine="ray") == 0
    captured = capfd.readouterr()
    assert contents(tmp_path) == by_local_engine
    assert sorted(captured.out.splitlines()) == sorted(str(tmp_path / name) for name in by_local_engine)
    assert "Waiting for a free slot" in captured.err
    assert "2 CPU slots" in captured.err
    assert len(journaled(tmp_path)) == 24
    assert ray.passes == [(2, [(number, number + 1) for number in range(0, 24, 2)])]
    assert ray.joined == ["local", None]


def test_a_run_is_resumed_whichever_engine_began(predict, photos, by_local_engine, tmp_path, capfd):
    output, some = tmp_path / "output", tmp_path / "photos"
    shutil.copytree(photos, some)
    late = some / "a" / "0 кофта.jpg"
    late.rename(tmp_path / "late.jpg")
    (some / "b" / "broken.jpg").write_bytes(b"broken")
    assert predict(some, output, engine="local") == 1
    (tmp_path / "late.jpg").rename(late)
    (output / "b" / "1 кофта_mask.png").unlink()
    capfd.readouterr()
    assert predict(some, output, engine="ray", resume=True) == 1, "the broken photo is named again"
    captured = capfd.readouterr().err
    assert f"clothseg: Not a photo that can be read: {some / 'b' / 'broken.jpg'}. Formats" in captured
    assert "2 photos in " in captured
    assert "22 done before" in captured
    assert contents(output) == by_local_engine
    assert predict(some, output, engine="local", resume=True) == 1
    assert "0 photos in " in capfd.readouterr().err


def test_a_store_is_read_and_written_and_resumed(predict, ray, store, photos, tmp_path, capfd):
    outputs = Outputs(json=True, formats=("coco",))
    base, few = f"{store.root}/in-process", tmp_path / "photos"
    for name in ("a/0 кофта.jpg", "a/2 кофта.jpg", "b/1 кофта.jpg"):
        (few / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / name, few / name)
    assert predict(few, tmp_path / "local", outputs=outputs) == 0
    expected = contents(tmp_path / "local")
    store.files.put(str(few), f"{base}/photos", recursive=True)
    store.files.pipe_file(f"{base}/photos/b/broken.jpg", b"broken")
    capfd.readouterr()
    assert predict(f"{base}/photos", f"{base}/results", engine="ray", outputs=outputs) == 1
    captured = capfd.readouterr()
    assert f"clothseg: Not a photo that can be read: {base}/photos/b/broken.jpg" in captured.err
    assert sorted(captured.out.splitlines()) == sorted(f"{base}/results/{name}" for name in expected)
    assert contents_of_store(store, f"{base}/results") == expected

    store.files.rm(f"{base}/results/a/0 кофта_mask.png")
    store.files.put(str(few / "b" / "1 кофта.jpg"), f"{base}/photos/a/2 кофта.jpg")  # another photo under its name
    assert predict(f"{base}/photos", f"{base}/results", engine="ray", outputs=outputs, resume=True) == 1
    assert ", 1 done before" in capfd.readouterr().err
    for name, same_as in (("a/2 кофта", "b/1 кофта"), ("a/0 кофта", "a/0 кофта")):
        assert unpacked(store.files.cat_file(f"{base}/results/{name}_mask.png")) == expected[f"{same_as}_mask.png"]


def test_a_photo_that_ends_its_worker_costs_only_itself(predict, ray, photos, by_local_engine, tmp_path, capfd):
    ray.fatal = "11 кофта.jpg"
    assert predict(photos, tmp_path, engine="ray") == 1
    captured = capfd.readouterr()
    source = photos / "b" / "11 кофта.jpg"
    assert f"clothseg: Photo ended its worker 3 times: {source}. Save it again" in captured.err
    assert "4 photos were lost with a worker and are repeated (RayError: It was killed.)" in captured.err
    masks = {name: content for name, content in by_local_engine.items() if name.endswith("_mask.png")}
    del masks["b/11 кофта_mask.png"]
    assert {name: content for name, content in contents(tmp_path).items() if name.endswith("_mask.png")} == masks
    assert len(captured.out.splitlines()) == len(set(captured.out.splitlines())), "each file is named once"
    (number,) = {number for at_worker, chunks in ray.passes[-1:] for (number,) in chunks}
    (chunk,) = (chunk for chunk in ray.passes[0][1] if number in chunk)
    tries = [(at_worker, next(chunk for chunk in chunks if number in chunk)) for at_worker, chunks in ray.passes]
    assert tries == [(2, chunk), (1, chunk), (1, (number,)), (1, (number,))]


def test_photos_come_from_a_web_server(ray, check_photos_of_a_web_server):
    ray.fatal = "poison.jpg"
    check_photos_of_a_web_server()


def test_a_cluster_that_finishes_nothing_is_given_up(predict, ray, photos, tmp_path, capfd):
    ray.fatal = ".jpg"
    with pytest.raises(MachineError, match=r"finished nothing 3 times in a row: RayError: It was killed\..*--resume"):
        predict(photos, tmp_path, engine="ray")
    assert len(ray.passes) == 3

    def fail(*_, **options):
        raise RayError("No node is left")

    ray.data.from_items = fail
    with pytest.raises(MachineError, match="in a row: RayError: No node is left"):
        predict(photos, tmp_path, engine="ray")


def test_what_the_cluster_cannot_do_is_named_first(ray, photos, model_path, tmp_path, capsys):
    def run(*words):
        words = ("predict", photos, "--engine", "ray", "--output", tmp_path / "out", "--ckpt", model_path, *words)
        with pytest.raises(SystemExit) as ended:
            cli.main(list(map(str, words)))
        return ended.value.code, capsys.readouterr().err

    for workers in (0, 3):
        code, captured = run("--workers", workers)
        assert code == 2
        assert f"--workers {workers}: the cluster has room for 1 to 2, one for each CPU" in captured
    code, captured = run("--device", "cuda")
    assert code == 2
    assert "The cluster has no GPU. Pass --device cpu" in captured
    code, captured = run("--ckpt", tmp_path / "no.onnx")
    assert code == 4
    assert "Model not found" in captured
    code, captured = run("--ckpt", tmp_path)
    assert code == 4
    assert "Model is a folder, not a file" in captured
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    code, captured = run("--cluster", address)
    assert code == 5
    assert f"Cannot join the Ray cluster at {address}: " in captured
    assert not ray.passes
    assert not (tmp_path / "out" / JOURNAL_NAME).exists()


def test_a_model_that_is_none_is_named_before_any_photo_is_done(predict, photos, tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"model\.onnx"):
        predict(photos, tmp_path / "output", engine="ray", checkpoint_path=model)
    assert contents(tmp_path / "output") == {}


def test_a_cluster_is_joined_and_left(ray, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    before = signal.getsignal(signal.SIGTERM)
    with joined(None) as one, joined("other") as same:
        assert one is same is ray
        assert signal.getsignal(signal.SIGTERM) is before
    with socket.create_server(("127.0.0.1", 0)) as head, joined(address := f"127.0.0.1:{head.getsockname()[1]}"):
        pass
    assert ray.joined == ["auto", None, address, None], "inside, it was joined already"
    ray.error = ConnectionError("It does not answer")
    with pytest.raises(MachineError, match="at auto: It does not answer"), joined(None):
        pass
    monkeypatch.delenv("RAY_ADDRESS")
    with pytest.raises(MachineError, match=r"at this machine: .*ray start --head"), joined(None):
        pass


@pytest.fixture
def options(model_path, tmp_path):
    return RunOptions(
        model_path.name,
        ModelOptions(device="cpu", precision="fp32"),
        TestTimeAugmentation(),
        Outputs(),
        FolderTarget(tmp_path),
    )


def reports_of(ray, options, loaded, content, source):
    """What a worker reports of one photo."""
    photo = {"number": 7, "source": str(source), "file": "a.jpg", "stem": "a", "size": -1}
    worker = Replica(options, loaded, [ray.put(content)])
    (done,) = worker({"chunk": [json.dumps({"key": 3, "photos": [photo]})]})["done"]
    assert json.loads(done)["key"] == 3
    return json.loads(done)["reports"]


def test_machines_that_would_write_other_files_are_refused(ray, options, model_path, photos, tmp_path, monkeypatch):
    content, photo = model_path.read_bytes(), photos / "a" / "0 кофта.jpg"
    loaded = describe_model(options, content)
    assert loaded.classes == GROUPS
    refused = unpack_error(describe_model(dataclasses.replace(options, version="0.0"), content))
    assert isinstance(refused, MachineError)
    assert "was started with 0.0" in str(refused)
    other = dataclasses.replace(loaded, runtime_name="another")
    (report,) = reports_of(ray, options, other, content, photo)
    assert "another machine with another" in report["fatal"][1]
    (report,) = reports_of(ray, options, loaded, content, photo)
    assert "does not see the output folder" in report["fatal"][1]
    (tmp_path / JOURNAL_NAME).touch()
    (report,) = reports_of(ray, options, loaded, content, photo)
    assert (report["number"], report["files"].keys()) == (7, {"a_mask.png", "a_overlay.jpg"})
    assert all((tmp_path / name).stat().st_size == size for name, size in report["files"].items())

    def full(*_):
        raise MachineError("The disk is full")

    def broken(*_):
        raise ValueError("a fault")

    for write, error in ((full, MachineError), (broken, ClothsegError)):
        monkeypatch.setattr(FolderTarget, "write", write)
        (report,) = reports_of(ray, options, loaded, content, photo)
        assert type(unpack_error(report["fatal"])) is error
    assert report["fatal"][1] == f"{photo}: ValueError: a fault. Report this with the photo"


def test_what_is_fatal_at_a_worker_ends_the_run(predict, photos, tmp_path, monkeypatch):
    def full(*_):
        raise MachineError("The disk is full")

    monkeypatch.setattr(FolderTarget, "write", full)
    with pytest.raises(MachineError, match="The disk is full"):
        predict(photos, tmp_path, engine="ray")


def test_a_worker_that_cannot_run_clothseg_is_named(predict, ray, photos, tmp_path, monkeypatch):
    ray.init = lambda **_: None
    ray.error = RayError("A traceback\nModuleNotFoundError: No module named 'clothseg'\n")
    with pytest.raises(
        MachineError, match=r"cannot load the model: ModuleNotFoundError: .*Install clothseg\[cluster\]"
    ):
        predict(photos, tmp_path, engine="ray")
