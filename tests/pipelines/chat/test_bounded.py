import gzip
import json

import pytest

from pipelines.errors import ProviderAnswerUnusable, ProviderError, ProviderFailed
from tests.openai_server import Body, Endless, OpenAiServer, Say
from tests.pipelines.chat.asking import BOTH, WAIT_S, Ask, failure, whole


@BOTH
def test_an_answer_over_its_limit_is_refused(openai_server: OpenAiServer, how: Ask) -> None:
    openai_server.script(Say(["가" * 400]) if how is whole else Endless())
    error = failure(openai_server, how, max_answer_bytes=1000)
    assert str(error) == "the language-model provider gave an answer of no use: it is longer than this server takes"
    assert len(openai_server.calls) == 1


@BOTH
@pytest.mark.parametrize(("status", "kind"), [(200, ProviderAnswerUnusable), (500, ProviderFailed)])
def test_a_body_without_an_end_is_left_at_the_limit(
    openai_server: OpenAiServer, how: Ask, status: int, kind: type[ProviderError]
) -> None:
    openai_server.script(Endless(raw=b"x" * 1000, status=status))
    error = failure(openai_server, how, max_answer_bytes=100_000, max_retries=0, timeout_s=WAIT_S)
    assert type(error) is kind
    openai_server.hung_up.get(timeout=WAIT_S)


@BOTH
def test_a_small_body_that_would_grow_is_not_decompressed(openai_server: OpenAiServer, how: Ask) -> None:
    text = json.dumps({"choices": [{"message": {"content": "가" * 2**20}}]})
    openai_server.script(Body(gzip.compress(text.encode()), headers={"Content-Encoding": "gzip"}))
    assert isinstance(failure(openai_server, how, max_answer_bytes=100_000), ProviderAnswerUnusable)
    assert openai_server.calls[0].headers["accept-encoding"] == "identity"
