"""Computes what 45 thousand, 10 million and a billion photos cost, from rates in a JSON file.

Print the tables with rates and prices of your own: uv run python benchmarks/scale.py --rates RATES.json
Put them into docs/concepts/scale.md: uv run python benchmarks/scale.py --write
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

RATES_PATH = Path(__file__).with_name("scale_rates.json")
PAGE_PATH = Path(__file__).parents[1] / "docs" / "concepts" / "scale.md"
BEGIN, END = "<!-- begin: benchmarks/scale.py -->", "<!-- end: benchmarks/scale.py -->"

EPOCHS = {45_000: 20, 10_000_000: 3, 1_000_000_000: 1}
"""Photos → passes over them in training; the more there are, the fewer are needed."""


@dataclass(frozen=True)
class Rates:
    """What things cost; seconds are of one core and per photo, bytes per photo unless their names say otherwise."""

    photo_bytes: float
    mask_bytes: float
    result_bytes: float
    prepare_seconds: float
    pack_seconds: float
    load_seconds: float
    train_seconds: float
    predict_seconds: float
    list_seconds: float
    list_bytes: float
    gpu_photos_per_second: float
    core_hour_dollars: float
    gpu_hour_dollars: float
    gigabyte_month_dollars: float
    read_request_dollars: float
    write_request_dollars: float
    cores_per_machine: float
    network_bytes_per_second: float
    read_requests_per_second: float
    shard_bytes: float
    hours_allowed: float

    @classmethod
    def read(cls, path: Path) -> Rates:
        """Read a file like `scale_rates.json`.

        Raises:
            SystemExit: a rate is missing, unknown, or not above 0.
        """
        rows = json.loads(path.read_text(encoding="utf-8"))
        names = {field.name for field in fields(cls)}
        if rows.keys() != names:
            raise SystemExit(f"{path}: missing {sorted(names - rows.keys())}, unknown {sorted(rows.keys() - names)}")
        wrong = [name for name, row in rows.items() if not row["value"] > 0]
        if wrong:
            raise SystemExit(f"{path}: not above 0: {', '.join(wrong)}")
        return cls(**{name: row["value"] for name, row in rows.items()})

    @property
    def pair_bytes(self) -> float:
        """Bytes of a photo and its mask."""
        return self.photo_bytes + self.mask_bytes

    @property
    def pairs_per_shard(self) -> float:
        """Photos of a shard, each with its mask."""
        return self.shard_bytes / self.pair_bytes


@dataclass(frozen=True)
class Step:
    """One step of the work, per photo and pass."""

    name: str
    seconds: float
    """Of one core."""
    bytes_read: float
    files: float
    """Small files read, where photos are not packed."""

    def bottleneck(self, rates: Rates) -> tuple[str, float]:
        """Return what bounds one machine that reads from a store, and the photos per second it leaves."""
        allowed = {
            "processor": rates.cores_per_machine / self.seconds,
            "network": rates.network_bytes_per_second / self.bytes_read,
            "requests": rates.read_requests_per_second / self.files,
        }
        name = min(allowed, key=lambda one: allowed[one])
        return name, allowed[name]


def steps(rates: Rates) -> list[Step]:
    """Return the steps; training on a GPU counts the processor time that feeds it."""
    return [
        Step("preparation and packing", rates.prepare_seconds + rates.pack_seconds, rates.photo_bytes, 1),
        Step("training on CPUs", rates.train_seconds + rates.load_seconds, rates.pair_bytes, 2),
        Step("training on GPUs: feeding them", rates.load_seconds, rates.pair_bytes, 2),
        Step("prediction", rates.predict_seconds, rates.photo_bytes, 1),
    ]


@dataclass(frozen=True)
class Cost:
    """What one step takes for all photos."""

    work_hours: float
    """Of a core, or of a GPU."""
    machines: int
    """Machines, or GPUs, with which it is done in the hours allowed."""
    hours: float
    """From begin to end, with these machines."""
    dollars: float

    @classmethod
    def of(cls, step: Step, photos: float, rates: Rates) -> Cost:
        """Return the cost of a step on CPUs: the processor or the network, whichever takes longer, sets the time.

        Machine-hours are work divided by what one machine does, as if twice the machines took half the time.
        """
        by_processor = photos * step.seconds / rates.cores_per_machine / 3600
        by_network = photos * step.bytes_read / rates.network_bytes_per_second / 3600
        machine_hours = max(by_processor, by_network)
        machines = max(1, math.ceil(machine_hours / rates.hours_allowed))
        dollars = machine_hours * rates.cores_per_machine * rates.core_hour_dollars
        return cls(photos * step.seconds / 3600, machines, machine_hours / machines, dollars)

    @classmethod
    def on_gpus(cls, photos: float, rates: Rates) -> Cost:
        """Return the cost of training on GPUs at the assumed rate."""
        hours = photos / rates.gpu_photos_per_second / 3600
        machines = max(1, math.ceil(hours / rates.hours_allowed))
        return cls(hours, machines, hours / machines, hours * rates.gpu_hour_dollars)


def cost_table(rates: Rates) -> str:
    """Return hours, machines and money of each step for each number of photos."""
    prepare, train, _, predict = steps(rates)
    rows = []
    for photos, epochs in EPOCHS.items():
        for name, passes, cost in (
            (prepare.name, 1, Cost.of(prepare, photos, rates)),
            (train.name, epochs, Cost.of(train, photos * epochs, rates)),
            ("training on GPUs, assumed", epochs, Cost.on_gpus(photos * epochs, rates)),
            (predict.name, 1, Cost.of(predict, photos, rates)),
        ):
            rows.append(
                [
                    f"{photos:,}",
                    name,
                    str(passes),
                    f"{_time(cost.work_hours)}",
                    f"{cost.machines:,}",
                    _time(cost.hours),
                    _money(cost.dollars),
                ]
            )
    head = ("photos", "step", "passes", "time of one core or GPU", "machines or GPUs", "time with them", "money")
    return _table(head, rows)


def storage_table(rates: Rates) -> str:
    """Return what keeping the photos and asking for them costs, as files and as shards."""
    rows = []
    for photos, epochs in EPOCHS.items():
        size = photos * rates.pair_bytes
        shards = max(1, math.ceil(photos / rates.pairs_per_shard))
        per_request = rates.write_request_dollars + epochs * rates.read_request_dollars
        rows.append(
            [
                f"{photos:,}",
                _size(size),
                _money(size / 1e9 * rates.gigabyte_month_dollars),
                f"{2 * photos:,}",
                f"{shards:,}",
                _money(2 * photos * per_request),
                _money(shards * per_request),
                f"{_time(photos * rates.list_seconds / 3600)}, {_size(photos * rates.list_bytes)}",
                _size(photos * rates.result_bytes),
            ]
        )
    head = (
        "photos",
        "photos and masks",
        "a month",
        "files",
        "shards",
        "requests, files",
        "requests, shards",
        "listing the files",
        "results",
    )
    return _table(head, rows)


def bottleneck_table(rates: Rates) -> str:
    """Return what bounds a machine in each step, and how many machines a store's requests serve."""
    rows = []
    for step in steps(rates):
        name, photos = step.bottleneck(rates)
        by_processor = rates.cores_per_machine / step.seconds
        machines = rates.read_requests_per_second / (by_processor * step.files)
        packed = rates.read_requests_per_second * rates.pairs_per_shard / by_processor
        rows.append(
            [
                step.name,
                f"{_short(by_processor)}/s",
                f"{_size(by_processor * step.bytes_read)}/s",
                f"{_short(by_processor * step.files)}/s",
                f"{name}, {_short(photos)}/s",
                _short(machines),
                _short(packed),
            ]
        )
    head = (
        "step",
        "photos by processor",
        "network it takes",
        "requests, files",
        "bound of a machine, files",
        "machines a prefix serves, files",
        "the same, shards",
    )
    return _table(head, rows)


def sources_table(path: Path) -> str:
    """Return every rate with where it comes from."""
    rows = [
        [name, f"{row['value']:,.10f}".rstrip("0").rstrip("."), row["source"]]
        for name, row in json.loads(path.read_text(encoding="utf-8")).items()
    ]
    return _table(("rate", "value", "where from"), rows)


def tables(path: Path) -> str:
    """Return all tables as Markdown."""
    rates = Rates.read(path)
    parts = (
        ("Time and money", cost_table(rates)),
        ("Storage and requests", storage_table(rates)),
        ("What bounds a machine", bottleneck_table(rates)),
        ("Rates", sources_table(path)),
    )
    return "\n\n".join(f"## {title}\n\n{table}" for title, table in parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, [":---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _short(number: float) -> str:
    """Return three figures at most, as estimates deserve.

    >>> [_short(one) for one in (0.01234, 5.678, 1234.5)]
    ['0.0123', '5.68', '1,230']
    """
    if number >= 100:
        digits = 2 - math.floor(math.log10(number))
        return f"{round(number, digits):,.0f}"
    return f"{number:.3g}"


def _time(hours: float) -> str:
    """Return hours in the unit that suits them.

    >>> [_time(one) for one in (0.001, 0.5, 30, 8000)]
    ['3.6 s', '30 min', '30 h', '8,000 h']
    """
    if hours < 1 / 60:
        return f"{_short(hours * 3600)} s"
    return f"{_short(hours * 60)} min" if hours < 1 else f"{_short(hours)} h"


def _money(dollars: float) -> str:
    return "below $0.01" if dollars < 0.01 else f"${_short(dollars) if dollars >= 10 else f'{dollars:.2f}'}"


def _size(count: float) -> str:
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{_short(count / size)} {unit}"
    return f"{_short(count / 1e3)} KB"


def page_with(text: str, page: str) -> str:
    """Return the page with `text` between its marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Print the tables, or write them into the page."""
    parser = argparse.ArgumentParser(description="What more photos cost, computed from rates.")
    parser.add_argument("--rates", type=Path, default=RATES_PATH, help="rates and prices; start from a copy")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/concepts/scale.md")
    arguments = parser.parse_args()
    text = tables(arguments.rates)
    if arguments.write:
        PAGE_PATH.write_text(page_with(text, PAGE_PATH.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
