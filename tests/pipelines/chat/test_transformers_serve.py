"""The provider client with a real server of another project: `transformers serve` with a tiny random model."""

import asyncio
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pydantic import SecretStr
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from pipelines.chat.prompt import messages
from pipelines.chat.provider import Provider
from pipelines.chat.settings import ProviderSettings
from pipelines.chat.store.passage import Passage

pytestmark = pytest.mark.slow

START_S = 120
MAX_TOKENS = 12
TEXT = "부산에서 태어났다."
ASKED = messages("너는 한결이다.", "고향이 어디야?", [Passage("a.md", 0, len(TEXT), TEXT, 1.0, None, 1.0)])
WORDS = ["나는", "부산에서", "태어나", "자랐고", "지금은", "서울에", "산다.", "고향이", "그립다."]
TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"
SERVE = "from transformers.cli.transformers import app; app()"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 with random weights that has no end token."""
    folder = tmp_path_factory.mktemp("served") / "model"
    words = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token=WORDS[0]))
    words.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, chat_template=TEMPLATE)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=2048,
        n_embd=32,
        n_layer=1,
        n_head=2,
        bos_token_id=None,
        eos_token_id=None,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def url(model: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", SERVE, "serve", str(model), "--device", "cpu", "--port", str(port)]
    command += ["--host", "127.0.0.1"]
    log = model.parent / "serve.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    try:
        wait_until_ready(server, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_until_ready(server: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    until_s = time.monotonic() + START_S
    while True:
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < until_s, log.read_text()
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return


def expected(folder: Path) -> str:
    """The answer of the model without a server."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer.apply_chat_template(ASKED, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    ids = AutoModelForCausalLM.from_pretrained(folder).generate(
        **inputs, max_new_tokens=MAX_TOKENS, do_sample=False, pad_token_id=0
    )
    said: str = tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return said


def test_whole_and_streamed_answers_equal_those_of_the_model_without_a_server(url: str, model: Path) -> None:
    settings = ProviderSettings(base_url=url, model=str(model), temperature=0, max_tokens=MAX_TOKENS, timeout_s=60)

    async def scenario() -> tuple[str, list[str]]:
        provider = Provider(settings)
        try:
            whole = await provider.complete(ASKED, SecretStr("sk-any"))
            return whole, [piece async for piece in provider.stream(ASKED, SecretStr("sk-any"))]
        finally:
            await provider.close()

    whole, pieces = asyncio.run(scenario())
    assert whole == "".join(pieces) == expected(model) != ""
    assert len(pieces) > 1
