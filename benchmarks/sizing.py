"""Simulate how many replicas the autoscaling gives a steady load, and how long its calls wait.

    python -m benchmarks.sizing

The load is given in replicas that it would keep busy without a pause, so the table holds for models of any speed. It
prints a table for docs/operations.md. The result depends only on the options.
"""

import argparse
from dataclasses import replace

import numpy as np

from benchmarks.scaling.cluster import Cluster, Outcome, Setup
from benchmarks.scaling.traces import Trace, poisson
from benchmarks.simulate import POLICIES

LOADS = (0.25, 0.5, 1, 2, 5, 10, 20, 50, 100)
CALL_S = 0.2  # one call of the group commit: two batches of `batch.target_batch_s`
SETTLED_S, END_S = 300, 900
HEAD = "| load, in busy replicas | replicas on average | most | p99 wait of a call, s |\n|---|---|---|---|\n"


def steady(load: float, seed: int) -> Trace:
    """Poisson arrivals of calls whose work keeps `load` replicas busy."""
    rate = load / CALL_S
    trace = poisson(f"{load:g}", lambda time: np.full(len(time), rate), rate, END_S, seed)
    return replace(trace, work_s=np.full(len(trace), CALL_S))


def row(trace: Trace, outcome: Outcome) -> str:
    """The row of a load, without the time in which the first replicas start."""
    replicas = outcome.replicas[SETTLED_S:]
    wait_s = np.minimum(outcome.wait_s, trace.end_s)[trace.arrival_s >= SETTLED_S]
    return f"| {trace.name} | {replicas.mean():.1f} | {replicas.max()} | {np.percentile(wait_s, 99):.2f} |\n"


def main() -> None:
    """Run all loads with Munjang's policy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", nargs="*", type=float, default=LOADS)
    parser.add_argument("--fewest", type=int, default=1, help="`min_replicas` (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    setup = Setup(fewest=arguments.fewest)
    traces = [steady(load, arguments.seed) for load in arguments.loads]
    rows = [row(trace, Cluster(trace, POLICIES["Munjang"](), setup).run()) for trace in traces]
    print(HEAD + "".join(rows), end="")


if __name__ == "__main__":
    main()
