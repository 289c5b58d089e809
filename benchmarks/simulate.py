"""Simulate the autoscaling on traces: the real policy beside those of Ray Serve and KServe.

    python -m benchmarks.simulate --output benchmarks/results/NAME

Writes NAME.md, a table, and NAME-TRACE.png, the replicas over time. The result depends only on the options.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.scaling.cluster import Cluster, Outcome, Setup
from benchmarks.scaling.policies import LOOK_BACK_S, Delays, Knative, Munjang, Policy, RayDefault
from benchmarks.scaling.traces import TRACES, Trace
from deployments.graph import SCALING

UP_S, DOWN_S, DOWN_FACTOR = (SCALING[key] for key in ("upscale_delay_s", "downscale_delay_s", "downscaling_factor"))
POLICIES: dict[str, Callable[[], Policy]] = {
    "Munjang": lambda: Munjang(Delays(UP_S, DOWN_S, DOWN_FACTOR)),
    "Ray Serve, defaults": lambda: RayDefault(Delays(30.0, 600.0)),
    "Ray Serve, tuned": lambda: RayDefault(
        Delays(UP_S, DOWN_S, DOWN_FACTOR), "Ray Serve, tuned", 2.0, target_ongoing_requests=0.8, look_back_s=LOOK_BACK_S
    ),
    "KServe": Knative,
}
COLUMNS = ("trace", "policy", "requests", "missed deadlines", "replica-hours", "p99 wait, s", "most replicas")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|\n"

PREFACE = """# Autoscaling, simulated

`python -m benchmarks.simulate --output {output}` made this page; [benchmarks/README.md](../README.md#autoscaling)
describes the simulation. A new replica takes {start_s:g} s to start; there may be 1 to {most:,}.

"""


@dataclass(frozen=True)
class Figures:
    """The figures of a policy on a trace, for the table."""

    requests: int
    missed: float
    replica_hours: float
    p99_wait_s: float
    most: int

    @classmethod
    def of(cls, trace: Trace, outcome: Outcome) -> "Figures":
        """Count the deadlines that were missed, as a share of all requests, and so on."""
        wait_s = np.minimum(outcome.wait_s, trace.end_s)
        return cls(
            len(trace),
            float(np.mean(outcome.done_s > trace.deadline_s)),
            outcome.replica_s / 3600,
            float(np.percentile(wait_s, 99)),
            int(outcome.replicas.max()),
        )

    def row(self, trace: str, policy: str) -> str:
        """Return the row of the table."""
        shown = f"{self.missed:.2%} | {self.replica_hours:,.1f} | {self.p99_wait_s:.1f} | {self.most:,}"
        return f"| {trace} | {policy} | {self.requests:,} | {shown} |\n"


def write(output: Path, preface: str, table: str, traces: list[str]) -> None:
    """Write the page with the table and the pictures beside it."""
    pictures = "".join(f"\n![{name}]({picture_of(output, name).name})\n" for name in traces)
    output.with_suffix(".md").write_text(preface + table + pictures, encoding="utf-8")


def picture_of(output: Path, trace: str) -> Path:
    """Return the path of a trace's picture."""
    return Path(f"{output}-{trace.replace(' ', '-')}.png")


def draw(path: Path, trace: Trace, outcomes: Mapping[str, Outcome]) -> None:
    """Draw the offered work and the replicas of each policy over time."""
    from matplotlib.figure import Figure  # not pyplot, which keeps global state

    picture = Figure(figsize=(3.2 * len(outcomes), 3), layout="constrained")
    panels = picture.subplots(1, len(outcomes), sharex=True, sharey=True, squeeze=False)[0]
    width_s = max(10.0, trace.end_s / 500)
    edges = np.arange(0.0, trace.end_s + width_s, width_s)
    offered = np.histogram(trace.arrival_s, edges, weights=trace.work_s)[0] / width_s
    for panel, (name, outcome) in zip(panels, outcomes.items(), strict=True):
        panel.plot(np.arange(len(outcome.replicas)) / 60, outcome.replicas, linewidth=0.8, label="replicas")
        panel.plot(edges[:-1] / 60, offered, color="black", linewidth=0.8, label="offered work")
        panel.set(title=name, xlabel="minutes")
    panels[0].set(
        ylabel=trace.name, ylim=(0, 1.1 * max(float(outcome.replicas.max()) for outcome in outcomes.values()))
    )
    panels[0].legend(fontsize="small")
    picture.savefig(path, dpi=100)


def main() -> None:
    """Run all traces with all policies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", nargs="*", choices=TRACES, default=list(TRACES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start-s", type=float, default=Setup.start_s, help="until a replica is ready (%(default)s)")
    parser.add_argument("--output", type=Path, help="path of the table without .md; default: print it only")
    arguments = parser.parse_args()
    table = HEAD
    for name in arguments.traces:
        trace = TRACES[name](arguments.seed)
        setup = Setup(start_s=arguments.start_s)
        outcomes = {policy: Cluster(trace, make(), setup).run() for policy, make in POLICIES.items()}
        table += "".join(Figures.of(trace, outcome).row(name, policy) for policy, outcome in outcomes.items())
        if arguments.output:
            draw(picture_of(arguments.output, name), trace, outcomes)
    print(table, end="")
    if arguments.output:
        preface = PREFACE.format(output=arguments.output, start_s=arguments.start_s, most=Setup.most)
        write(arguments.output, preface, table, arguments.traces)


if __name__ == "__main__":
    main()
