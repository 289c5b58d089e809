import asyncio

import pytest

from pipelines.chat.circuit_breaker import CircuitBreaker
from pipelines.errors import (
    ProviderError,
    ProviderFailed,
    ProviderKeyRefused,
    ProviderOverloaded,
    ProviderRejected,
    ProviderSuspended,
    ProviderTimedOut,
)

OPEN_S = 10.0


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def breaker(failures: int = 3) -> tuple[CircuitBreaker, Clock]:
    clock = Clock()
    counts = (ProviderFailed, ProviderTimedOut)
    return CircuitBreaker(failures=failures, open_s=OPEN_S, counts=counts, clock=clock), clock


def call(circuit: CircuitBreaker, error: BaseException | None = None) -> None:
    with circuit.guard():
        if error is not None:
            raise error


def fail(circuit: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        with pytest.raises(ProviderFailed):
            call(circuit, ProviderFailed("status 500"))


def refused(circuit: CircuitBreaker) -> bool:
    try:
        call(circuit)
    except ProviderSuspended:
        return True
    return False


def test_failures_in_a_row_open_it_and_a_success_resets_the_count() -> None:
    circuit, _ = breaker(failures=3)
    fail(circuit, 2)
    call(circuit)
    fail(circuit, 2)
    assert not refused(circuit)
    fail(circuit, 3)
    assert refused(circuit)


@pytest.mark.parametrize("neutral", [ProviderKeyRefused(), ProviderRejected(422), ProviderOverloaded(1.0)])
def test_a_timeout_counts_as_a_failure_and_a_refusal_neither_as_failure_nor_as_success(neutral: ProviderError) -> None:
    circuit, _ = breaker(failures=2)
    for error in (neutral, ProviderTimedOut(), neutral, neutral, ProviderTimedOut()):
        with pytest.raises(type(error)):
            call(circuit, error)
    assert refused(circuit)


def test_half_open_a_refused_key_neither_closes_the_circuit_nor_takes_the_trial() -> None:
    circuit, clock = breaker(failures=2)
    fail(circuit, 2)
    clock.now_s += OPEN_S
    with pytest.raises(ProviderKeyRefused):
        call(circuit, ProviderKeyRefused())
    with pytest.raises(ProviderFailed):
        call(circuit, ProviderFailed("status 500"))
    assert refused(circuit)


def test_the_error_says_when_to_retry() -> None:
    circuit, clock = breaker(failures=1)
    fail(circuit, 1)
    clock.now_s += 4
    with pytest.raises(ProviderSuspended) as raised:
        call(circuit)
    assert raised.value.retry_after_s == OPEN_S - 4


def test_half_open_one_call_passes_and_its_success_closes_the_circuit() -> None:
    circuit, clock = breaker(failures=2)
    fail(circuit, 2)
    clock.now_s += OPEN_S
    with circuit.guard():
        assert refused(circuit)
    assert not refused(circuit)
    fail(circuit, 1)
    assert not refused(circuit)


def test_half_open_a_failure_opens_it_again_for_the_same_time() -> None:
    circuit, clock = breaker(failures=2)
    fail(circuit, 2)
    clock.now_s += OPEN_S
    fail(circuit, 1)
    clock.now_s += OPEN_S - 1
    assert refused(circuit)
    clock.now_s += 1
    assert not refused(circuit)


def test_failures_of_calls_that_began_before_it_opened_do_not_keep_it_open() -> None:
    circuit, clock = breaker(failures=1)

    def fail_after_it_opened() -> None:
        with circuit.guard():
            fail(circuit, 1)
            clock.now_s += OPEN_S
            raise ProviderTimedOut

    with pytest.raises(ProviderTimedOut):
        fail_after_it_opened()
    assert not refused(circuit)


@pytest.mark.parametrize("cancelled", [asyncio.CancelledError(), GeneratorExit(), RecursionError()])
def test_a_cancelled_call_or_a_bug_of_this_program_changes_nothing(cancelled: BaseException) -> None:
    circuit, clock = breaker(failures=1)
    with pytest.raises(type(cancelled)):
        call(circuit, cancelled)
    fail(circuit, 1)
    clock.now_s += OPEN_S
    with pytest.raises(type(cancelled)):
        call(circuit, cancelled)
    with circuit.guard():  # the next one is the trial
        assert refused(circuit)
