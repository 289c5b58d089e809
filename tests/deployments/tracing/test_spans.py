import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from deployments.calls.group_commit import GroupCommit
from deployments.calls.remote import RemoteStage
from deployments.tracing import spans
from deployments.tracing.settings import TracingSettings
from deployments.tracing.spans import current, record, span_of, start_tracing, working_for
from pipelines.errors import ConfigError
from tests.deployments.sums import POISON, Sums, batcher, busy, tokens
from tests.deployments.tracing.conftest import Recorded, links_of, parent_of, traceparent


def test_without_tracing_nothing_is_sampled() -> None:
    start_tracing(None, "Ingress")
    record("forward", 1.0, [traceparent(1)])
    with span_of("call", [traceparent(1)]):
        assert current() is None


def test_tracing_without_its_packages_is_an_error_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(ConfigError, match="tracing"):
        start_tracing(TracingSettings(endpoint="http://collector:4318"), "Ingress")


def test_a_span_is_the_child_of_its_first_parent_with_links_to_the_others(recorded: Recorded) -> None:
    with span_of("call", [traceparent(1), traceparent(2), traceparent(3)], items=3):
        inside = current()
    (span,) = recorded.all()
    assert (parent_of(span), links_of(span)) == (1, [2, 3])
    assert dict(span.attributes or {}) == {"items": 3}
    assert inside is not None
    assert inside.split("-")[1:3] == [f"{1:032x}", f"{span.context.span_id:016x}"]
    assert current() is None


def test_a_span_that_is_recorded_afterwards_has_its_time(recorded: Recorded) -> None:
    record("forward", 0.25, [traceparent(1)])
    (span,) = recorded.all()
    assert span.start_time is not None
    assert span.end_time is not None
    assert 0.25e9 <= span.end_time - span.start_time < 1e9


def test_work_for_no_sampled_request_has_no_span(recorded: Recorded) -> None:
    record("forward", 0.25, [])
    with span_of("call", []):
        assert current() is None
    assert not recorded.all()


def test_an_error_is_recorded_by_its_type_and_not_by_its_words(recorded: Recorded) -> None:
    with pytest.raises(ValueError, match="secret"), span_of("call", [traceparent(1)]):
        raise ValueError("secret text")
    (span,) = recorded.all()
    assert dict(span.attributes or {}) == {"error.type": "ValueError"}
    assert "secret" not in span.to_json()


def test_a_call_belongs_to_all_traced_requests_whose_items_it_carries(recorded: Recorded) -> None:
    inside: list[str | None] = []

    async def scenario() -> None:
        async def call(items: Sequence[int]) -> list[int]:
            inside.append(current())
            return list(items)

        commit = GroupCommit[int, int](call, max_calls=1, max_items=8, max_waiting=8)

        async def submit(item: int, span: str | None) -> None:
            with working_for(span):
                assert await commit.submit(item) == item

        requests = [traceparent(1), None, traceparent(2)]
        await asyncio.gather(submit(0, None), *(submit(item, span) for item, span in enumerate(requests, 1)))

    asyncio.run(scenario())
    assert [parent_of(span) for span in recorded.named("group commit")] == [1, 2]
    (call,) = recorded.named("call")
    assert (parent_of(call), links_of(call)) == (1, [2])
    assert inside[0] is None  # the first call carried only the item of an untraced request
    assert inside[1] is not None
    assert inside[1].split("-")[2] == f"{call.context.span_id:016x}"


def test_a_batch_has_links_to_all_calls_that_it_works_for(recorded: Recorded) -> None:
    async def scenario() -> None:
        model = Sums()
        batching = batcher(model)
        first = await busy(model, batching)

        async def submit(span: str | None) -> None:
            with working_for(span):
                await batching.submit(tokens([[1, 2], [3]]))

        others = [asyncio.create_task(submit(span)) for span in (traceparent(1), None, traceparent(2))]
        await asyncio.sleep(0)
        model.release.set()
        await asyncio.gather(first, *others)

    asyncio.run(scenario())
    assert [parent_of(span) for span in recorded.named("queue")] == [1, 2]
    (forward,) = recorded.named("forward")
    assert (parent_of(forward), links_of(forward)) == (1, [2])
    assert dict(forward.attributes or {}) == {
        "munjang.items": 6,
        "munjang.tokens": 9,
        "munjang.padded_tokens": 12,
    }


def test_a_batch_that_failed_has_no_forward_pass(recorded: Recorded) -> None:
    async def scenario() -> None:
        with working_for(traceparent(1)):
            await batcher(Sums()).submit(tokens([[POISON]]))

    asyncio.run(scenario())
    assert not recorded.named("forward")


class Handle:
    """A handle that notes the arguments of calls."""

    deployment_name = "StsTokenizer"

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    @property
    def passages(self) -> "Handle":
        return self

    async def remote(self, *args: Any, **kwargs: Any) -> None:
        self.calls.append((args, kwargs))


def test_traced_methods_learn_for_which_sampled_span_they_work() -> None:
    handle = Handle()
    stage = RemoteStage(handle, "passages", traced=True)  # type: ignore[arg-type]
    other = RemoteStage(handle, "passages")  # type: ignore[arg-type]

    async def scenario() -> None:
        await stage(["a"])
        with working_for(traceparent(7)):
            await stage(["b"])
            await other(["c"])

    asyncio.run(scenario())
    assert handle.calls == [((["a"],), {}), ((["b"],), {"traceparent": traceparent(7)}), ((["c"],), {})]


def test_work_may_end_in_another_context(recorded: Recorded) -> None:
    """As when a stream is given up: Python closes it wherever it likes."""

    async def stream() -> AsyncGenerator[str | None]:
        with span_of("chat", [traceparent(1)]):
            while True:
                yield current()

    async def scenario() -> None:
        pieces = stream()
        assert await asyncio.create_task(anext(pieces)) is not None
        await asyncio.create_task(pieces.aclose())
        assert current() is None

    asyncio.run(scenario())
    assert [span.name for span in recorded.all()] == ["chat"]


def test_settings_name_the_collector_by_its_url() -> None:
    assert TracingSettings(endpoint="http://collector:4318").sampling_ratio == 0.01
    for endpoint in ("collector:4318", "grpc://collector:4317", ""):
        with pytest.raises(ValueError, match="endpoint"):
            TracingSettings(endpoint=endpoint)
    assert spans.recorder() is None
