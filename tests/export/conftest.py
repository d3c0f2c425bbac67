import contextlib
import io
import json

import pytest
import torch

from clothseg import cli
from clothseg.encoding import encode_jpeg
from clothseg.export import portable
from tests.export.small_model import photo_of, small_network, write_checkpoint


@pytest.fixture(scope="session")
def small_checkpoint_path(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "small.ckpt")


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number, size in enumerate([(90, 60), (60, 90), (1, 1), (128, 128), (300, 20)]):
        (folder / f"{number}.jpg").write_bytes(encode_jpeg(photo_of(*size)))
    return folder


@pytest.fixture(scope="session")
def graph_of(small_graph):
    """Returns the ONNX graph of a network, which must be the small one: its export takes ten seconds, and is kept."""

    def graph_of(network):
        expected = small_network().state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())
        return small_graph

    return graph_of


@pytest.fixture(scope="session")
def exported(graph_of, small_checkpoint_path, photo_folder, tmp_path_factory):
    """The file that the command writes, and what it prints to stdout and stderr."""
    output = tmp_path_factory.mktemp("output") / "made" / "by export"
    words = ["export", small_checkpoint_path, "--output", output, "--photos", photo_folder, "--json"]
    printed, shown = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed), contextlib.redirect_stderr(shown):
        patch.setattr(portable, "to_onnx", graph_of)
        patch.setenv("COLUMNS", "120")
        with pytest.raises(SystemExit) as left:
            cli.main(list(map(str, words)))
    assert left.value.code == 0, shown.getvalue()
    return output / "small.onnx", json.loads(printed.getvalue()), shown.getvalue()
