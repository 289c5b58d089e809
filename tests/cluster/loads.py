"""Requests to a cluster whose nodes come and go, and what is to be true afterwards."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.cluster.nodes import Cluster
from tests.faults.conftest import Report
from tests.faults.open_loop import OpenLoop, figures, open_loop

TWO = ["Ingress", "StsTokenizer", "StsEncoder", "QaTokenizer", "QaExtractor"]
MOVED_S = 150.0


def question(number: int) -> dict[str, str]:
    return {"question": f"{number}번째 장은 언제 서는가?", "context": f"강가의 장은 봄마다 {number}일에 선다."}


@contextmanager
def load(url: str, retries: int = 0) -> Iterator[list[OpenLoop]]:
    """Send pairs and questions until the end of the block."""
    with ExitStack() as stack:
        pairs = stack.enter_context(open_loop(url, rate=10, retries=retries))
        questions = stack.enter_context(open_loop(url, 2, "/api", question, retries))
        yield [pairs, questions]


def is_complete(nodes: Cluster) -> bool:
    """Whether all replicas of the configuration run, and the ingress finds them."""
    return all(nodes.count(name) >= 2 for name in TWO) and nodes.head.answers("/readyz")


def report_loads(report: Report, loads: list[OpenLoop], **more: float) -> None:
    pairs, questions = (figures(one.outcomes) for one in loads)
    errors = Counter(outcome.error for one in loads for outcome in one.outcomes if outcome.status != 200)
    report(pairs=pairs, questions=questions, errors=errors.most_common(4), **more)
