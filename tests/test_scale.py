"""The page on scale shows what the script computes from its rates, and the script computes what its formula says."""

import importlib
import json
import sys
from types import ModuleType

import pytest

from tests.test_architecture import ROOT


@pytest.fixture(scope="module")
def scale() -> ModuleType:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("scale")
    sys.path.remove(str(ROOT / "benchmarks"))


def rates_with(scale: ModuleType, tmp_path, **values: float) -> object:
    rows = json.loads(scale.RATES_PATH.read_text(encoding="utf-8"))
    for name, value in values.items():
        rows[name] = {"value": value, "source": "test"}
    path = tmp_path / "rates.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return scale.Rates.read(path)


def test_the_page_holds_the_tables_of_today(scale):
    page = scale.PAGE_PATH.read_text(encoding="utf-8")
    assert scale.page_with(scale.tables(scale.RATES_PATH), page) == page, "run: benchmarks/scale.py --write"


def test_every_rate_says_where_it_comes_from(scale):
    for name, row in json.loads(scale.RATES_PATH.read_text(encoding="utf-8")).items():
        assert len(row["source"]) >= 7, name
        if name.endswith(("dollars", "photos_per_second")):
            assert row["source"].startswith("ASSUMED"), name


def test_a_step_bound_by_the_processor(scale, tmp_path):
    rates = rates_with(scale, tmp_path, cores_per_machine=10, core_hour_dollars=2, hours_allowed=5)
    cost = scale.Cost.of(scale.Step("x", seconds=3.6, bytes_read=1, files=1), 100_000, rates)
    assert cost.work_hours == pytest.approx(100)
    assert (cost.machines, cost.hours) == (2, pytest.approx(5))
    assert cost.dollars == pytest.approx(200)


def test_a_step_bound_by_the_network_pays_for_waiting_cores(scale, tmp_path):
    rates = rates_with(
        scale, tmp_path, cores_per_machine=10, core_hour_dollars=2, hours_allowed=100, network_bytes_per_second=1000
    )
    step = scale.Step("x", seconds=3.6, bytes_read=3600, files=1)
    cost = scale.Cost.of(step, 10_000, rates)
    assert (cost.work_hours, cost.machines, cost.hours) == (pytest.approx(10), 1, pytest.approx(10))
    assert cost.dollars == pytest.approx(200)
    assert step.bottleneck(rates) == ("network", pytest.approx(1000 / 3600))


def test_training_on_gpus_follows_from_the_assumed_rate(scale, tmp_path):
    rates = rates_with(scale, tmp_path, gpu_photos_per_second=10, gpu_hour_dollars=3, hours_allowed=1)
    cost = scale.Cost.on_gpus(72_000, rates)
    assert (cost.work_hours, cost.machines, cost.hours, cost.dollars) == (2, 2, 1, 6)


def test_wrong_rates_are_named(scale, tmp_path):
    for change, message in [
        (lambda rows: rows.pop("load_seconds"), r"missing \['load_seconds'\]"),
        (lambda rows: rows.update(new={"value": 1}), r"unknown \['new'\]"),
        (lambda rows: rows["load_seconds"].update(value=0), "not above 0: load_seconds"),
    ]:
        rows = json.loads(scale.RATES_PATH.read_text(encoding="utf-8"))
        change(rows)
        (tmp_path / "rates.json").write_text(json.dumps(rows), encoding="utf-8")
        with pytest.raises(SystemExit, match=message):
            scale.Rates.read(tmp_path / "rates.json")
