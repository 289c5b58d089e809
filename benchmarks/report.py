"""Make a Markdown table and a plot from the raw figures of a run.

    python -m benchmarks.report benchmarks/results/RAW.jsonl

Writes RAW.md and RAW.png beside the raw file. A figure is the median over rounds. A peer is measured with several
settings, and for each figure the better setting counts; each variant of Munjang has its own column and ratio. A ratio
compares Munjang with the best peer and is above 1 where Munjang is better: rates as they are, latencies and memory
inverted.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

Record = dict[str, Any]

HIGHER_IS_BETTER = {"pairs_per_s": "pairs/s"}
LOWER_IS_BETTER = {"p50_ms": "p50, ms", "p99_ms": "p99, ms", "idle_mib": "MiB", "peak_mib": "MiB"}
SHOWN = HIGHER_IS_BETTER | LOWER_IS_BETTER
REFUSALS = ("refused", "unanswered")
OWN_RATE = "of its own"


@dataclass(frozen=True, order=True)
class Key:
    """The row of a table: a load, and one of its figures."""

    load: str
    figure: str


@dataclass(frozen=True)
class Cell:
    """A figure, the setting of the server that reached it, and whether the server refused requests."""

    value: float
    setting: str
    refused: bool = False


Column = dict[Key, Cell]


def better(figure: str, one: Cell, other: Cell) -> Cell:
    """The better of two cells. A cell without refusals is better than one with refusals."""
    if one.refused != other.refused:
        return other if one.refused else one
    pick = max if figure in HIGHER_IS_BETTER else min
    return pick(one, other, key=lambda cell: cell.value)


def ratio(figure: str, own: float, peer: float) -> float:
    """The ratio of `own` to `peer`, above 1 where `own` is better."""
    return own / peer if figure in HIGHER_IS_BETTER else peer / own


def columns(records: Iterable[Record], model: str) -> dict[str, Column]:
    """The columns of a model's table: a variant of Munjang by its label, a peer by its name with its best cells."""
    values: dict[tuple[str, str, str, Key], list[tuple[float, bool]]] = defaultdict(list)
    for record in records:
        if record["kind"] == "figures" and record["model"] == model:
            refused = any(record.get(name) for name in REFUSALS)
            for figure in (figure for figure in SHOWN if figure in record):
                place = (record["server"], record["label"], record.get("way", ""), Key(record["load"], figure))
                values[place].append((record[figure], refused))
    table: dict[str, Column] = {}
    for (server, label, way, key), rounds in values.items():
        setting = ", ".join(part for part in (label.partition("/")[2], way) if part)
        cell = Cell(median(value for value, _ in rounds), setting, any(refused for _, refused in rounds))
        column = table.setdefault(label if server == "munjang" else server, {})
        column[key] = better(key.figure, column[key], cell) if key in column else cell
    return table


def best_peer(table: dict[str, Column], key: Key, names: Iterable[str]) -> tuple[str, Cell] | None:
    """Name and cell of the best of the named peers in one row; None where none of them has the figure."""
    found = [(name, table[name][key]) for name in names if key in table[name]]
    if not found:
        return None
    best = found[0]
    for candidate in found[1:]:
        best = candidate if better(key.figure, best[1], candidate[1]) is candidate[1] else best
    return best


def rivals(records: list[Record], variant: str) -> list[str]:
    """Peers that a variant of Munjang is compared with: those in fp32 and those of the variant's precision."""
    precision = {record["label"]: record["precision"] for record in records if record["kind"] == "figures"}
    peers = {record["server"]: record["precision"] for record in records if record["kind"] == "figures"}
    own = precision[variant]
    return [name for name, theirs in peers.items() if name not in ("munjang", "original") and theirs in ("fp32", own)]


def model_section(records: list[Record], model: str) -> list[str]:
    """The tables of one model, as lines of Markdown."""
    table = columns(records, model)
    variants = [name for name in table if name.startswith("munjang/")]
    others = [name for name in table if name not in variants]
    head = ["load", *variants, *others, *(f"{name} : best peer" for name in variants)]
    lines = ["", f"## {model}", "", _row(head), _row(["---"] * len(head))]
    for key in dict.fromkeys(key for column in table.values() for key in column):
        cells = [_cell(table[name].get(key), name in others) for name in (*variants, *others)]
        ratios = [_ratio(table, key, name, rivals(records, name)) for name in variants]
        lines.append(_row([f"{key.load}: {SHOWN[key.figure]}", *cells, *ratios]))
    return [*lines, *engine_lines(records, model, table)]


def _ratio(table: dict[str, Column], key: Key, variant: str, names: list[str]) -> str:
    """The ratio and the peer; empty without a peer, where the load sets the rate, and at shares of a server's rate."""
    own = table[variant].get(key)
    best = best_peer(table, key, [name for name in names if name in table])
    set_by_load = key.load.startswith("open") and key.figure == "pairs_per_s"
    if own is None or best is None or set_by_load or key.load.endswith(OWN_RATE):
        return ""
    if own.refused and not best[1].refused:
        return f"refused ({best[0]} did not)"
    return f"{ratio(key.figure, own.value, best[1].value):.2f} ({best[0]})"


def _cell(cell: Cell | None, with_setting: bool) -> str:
    if cell is None:
        return "-"
    mark = " *" if cell.refused else ""
    return f"{number(cell.value)}{mark}" + (f" <sub>{cell.setting}</sub>" if with_setting else "")


def number(value: float) -> str:
    """The number with one decimal place; from 100 on without one."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def engine_lines(records: list[Record], model: str, table: dict[str, Column]) -> list[str]:
    """Rates of the engine alone, and the share of its best rate that each variant reaches over HTTP."""
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    for record in records:
        if record["kind"] == "engine" and record["model"] == model and "pairs_per_s" in record:
            rates[record["label"], record["load"]].append(record["pairs_per_s"])
    if not rates:
        return []
    lines = ["", "| alone in one process | pairs/s |", "|---|---|"]
    lines += [f"| {label}: {load} | {number(median(values))} |" for (label, load), values in rates.items()]
    lines += ["", "| share of the engine's best rate | |", "|---|---|"]
    for variant in dict.fromkeys(label for label, _ in rates):
        limit = max(
            median(v) for (label, load), v in rates.items() if label == variant and not load.startswith("encode")
        )
        for key, cell in table.get(variant, {}).items():
            if key.figure == "pairs_per_s" and (key.load.startswith("file") or key.load.endswith("callers")):
                lines.append(f"| {variant}: {key.load} | {cell.value / limit:.2f} |")
    return lines


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def checks(records: list[Record]) -> list[str]:
    """The largest deviation of each server's scores over all rounds."""
    found = [record for record in records if record["kind"] == "figures" and record["load"] == "check"]
    worst: dict[tuple[str, str], Record] = {}
    for record in found:
        place = (record["model"], record["label"])
        worst[place] = max(record, worst.get(place, record), key=lambda one: one["max_deviation"])
    lines = ["", "## Scores against sentence-transformers in fp32", ""]
    lines += ["| model | server | most apart | on average | correlation |", "|---|---|---|---|---|"]
    return lines + [
        f"| {model} | {label} | {one['max_deviation']:.1e} | {one['mean_deviation']:.1e} | {one['correlation']:.5f} |"
        for (model, label), one in worst.items()
    ]


def failures(records: list[Record]) -> list[str]:
    """The servers that failed, with their errors."""
    failed = [record for record in records if record["kind"] == "failure"]
    lines = [f"- round {one['round']}, {one['model']}, {one['label']}: `{one['error'][-300:]!r}`" for one in failed]
    return ["", "## Failures", "", *lines] if lines else []


def markdown(records: list[Record]) -> str:
    """The whole report."""
    machine = next(record for record in records if record["kind"] == "machine")
    rounds = max((record["round"] for record in records if "round" in record), default=0)
    about = (
        f"{machine['date']}; {machine['cpu']}, {machine['cores']} cores shared with the client, "
        f"{machine['memory_gib']} GiB; "
        f"commit {machine['commit']}{' with changes' if machine['changed'] else ''}; medians of {rounds} rounds; "
        f"`{machine['command']}`."
    )
    lines = ["# Munjang and its peers", "", about, "", "`*`: requests were refused or not answered in time."]
    for model in dict.fromkeys(record["model"] for record in records if record["kind"] == "figures"):
        lines += model_section(records, model)
    return "\n".join([*lines, *checks(records), *failures(records)]) + "\n"


def plot(records: list[Record], path: Path) -> None:
    """Draw bars by model: the rates with the most callers and for the largest file."""
    from matplotlib.figure import Figure  # imported here because the table needs no matplotlib

    names = list(dict.fromkeys(record["model"] for record in records if record["kind"] == "figures"))
    tables = {name: columns(records, name) for name in names}
    loads = {key.load for table in tables.values() for column in table.values() for key in column}
    callers = [load for load in loads if load.endswith("callers")]
    files = [load for load in loads if load.startswith("file")]
    shown = [max(some, key=count_in) for some in (callers, files) if some]
    figure = Figure(figsize=(12, 3.2 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), 2, squeeze=False)
    for row, (name, table) in enumerate(tables.items()):
        for axis, load in zip(axes[row], shown, strict=False):
            bars = {
                label: column[Key(load, "pairs_per_s")].value
                for label, column in table.items()
                if Key(load, "pairs_per_s") in column
            }
            colours = ["tab:blue" if label.startswith("munjang/") else "tab:grey" for label in bars]
            axis.bar_label(axis.barh(list(bars), list(bars.values()), color=colours), fmt="%.0f", padding=3)
            axis.invert_yaxis()
            axis.set(title=f"{name}: {load}", xlabel="pairs/s")
            axis.margins(x=0.12)
    figure.savefig(path, dpi=120)


def count_in(load: str) -> int:
    """The number in a load's name: callers, or pairs of a file."""
    return int("".join(filter(str.isdigit, load)))


def write_report(raw: Path) -> None:
    """Write RAW.md, and RAW.png where matplotlib is installed."""
    records = [json.loads(line) for line in raw.read_text(encoding="utf-8").splitlines()]
    raw.with_suffix(".md").write_text(markdown(records), encoding="utf-8")
    print(f"wrote {raw.with_suffix('.md')}")
    try:
        plot(records, raw.with_suffix(".png"))
    except ModuleNotFoundError as error:
        print(f"no plot: {error.name} is not installed (pip install -e '.[bench]')")
    else:
        print(f"wrote {raw.with_suffix('.png')}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path)
    write_report(parser.parse_args().raw)


if __name__ == "__main__":
    main()
