"""What users of other servers' clients do, against the server whose URL is the first argument.

It runs in the environment of `make test-clients`, which has none of this project's packages.
"""

import math
import sys
from collections.abc import Sequence
from typing import Any

TEXTS = ["오늘 과제는 코딩 과제입니다.", "오늘 과제는 논문 리딩 과제입니다.", "날씨가 좋아요."]
QUESTION = "도서관은 몇 시에 문을 여나요?"
CONTEXT = "시립 도서관은 매일 오전 아홉 시에 문을 열고 저녁 여덟 시에 닫는다."
KEY = "no-key-is-needed"


def check_embeddings(vectors: Sequence[Any]) -> None:
    first, second, third = ([float(number) for number in vector] for vector in vectors)
    assert math.isclose(dot(first, first), 1, abs_tol=1e-4)
    assert dot(first, second) > dot(first, third)


def dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def openai(url: str) -> None:
    from openai import OpenAI

    client = OpenAI(base_url=f"{url}/v1", api_key=KEY)
    answer = client.embeddings.create(model="sts", input=TEXTS)
    check_embeddings([one.embedding for one in answer.data])
    assert answer.usage.total_tokens > len(TEXTS)
    assert [model.id for model in client.models.list()] == ["sts", "cola", "qa"]
    assert client.models.retrieve("sts").owned_by == "munjang"
    assert refusal(client, model="text-embedding-3-small", input="가") == (404, "model_not_found")
    assert refusal(client, model="sts", input=[[100_256]]) == (422, "foreign_token_id")


def refusal(client: Any, **request: Any) -> tuple[int, str] | None:
    """The status and code with which a request for embeddings is refused; None: it is not."""
    from openai import APIStatusError

    try:
        client.embeddings.create(**request)
    except APIStatusError as error:
        return error.status_code, str(error.code)
    return None


def langchain(url: str) -> None:
    from langchain_openai import OpenAIEmbeddings

    embeddings = OpenAIEmbeddings(model="sts", base_url=f"{url}/v1", api_key=KEY, check_embedding_ctx_length=False)  # type: ignore[arg-type]
    check_embeddings(embeddings.embed_documents(TEXTS))
    assert len(embeddings.embed_query(TEXTS[0])) == len(embeddings.embed_documents(TEXTS[:1])[0])


def llama_index_openai(url: str) -> None:
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    check_embeddings(
        OpenAILikeEmbedding(model_name="sts", api_base=f"{url}/v1", api_key=KEY).get_text_embedding_batch(TEXTS)
    )


def llama_index_tei(url: str) -> None:
    from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference

    check_embeddings(TextEmbeddingsInference(model_name="sts", base_url=url).get_text_embedding_batch(TEXTS))


def llama_index_rerank(url: str) -> None:
    from llama_index.core.schema import NodeWithScore, TextNode
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    nodes = [NodeWithScore(node=TextNode(text=text), score=0.0) for text in TEXTS[1:]]
    ranked = TextEmbeddingInference(base_url=url, top_n=2).postprocess_nodes(nodes, query_str=TEXTS[0])
    assert [one.node.get_content() for one in ranked] == TEXTS[1:]


def haystack_openai(url: str) -> None:
    from haystack.components.embedders import OpenAITextEmbedder
    from haystack.utils import Secret

    embedder = OpenAITextEmbedder(model="sts", api_base_url=f"{url}/v1", api_key=Secret.from_token(KEY))
    check_embeddings([embedder.run(text)["embedding"] for text in TEXTS])


def haystack_tei(url: str) -> None:
    from haystack_integrations.components.embedders.huggingface_api import HuggingFaceAPITextEmbedder

    embedder = HuggingFaceAPITextEmbedder(api_type="text_embeddings_inference", api_params={"url": url})
    check_embeddings([embedder.run(text)["embedding"] for text in TEXTS])


def haystack_rerank(url: str) -> None:
    from haystack import Document
    from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker

    documents = [Document(content=text) for text in reversed(TEXTS)]
    ranked = HuggingFaceTEIRanker(url=url).run(query=TEXTS[0], documents=documents)["documents"]
    assert [one.content for one in ranked] == TEXTS


def cohere(url: str) -> None:
    from cohere import Client, ClientV2

    for client in (Client(api_key=KEY, base_url=url), ClientV2(api_key=KEY, base_url=url)):
        answer = client.rerank(model="sts", query=TEXTS[0], documents=TEXTS, top_n=2)
        assert [one.index for one in answer.results] == [0, 1]
        assert answer.results[0].relevance_score > answer.results[1].relevance_score


def hugging_face(url: str) -> None:
    from huggingface_hub import InferenceClient

    def client(path: str) -> Any:
        return InferenceClient(model=f"{url}/models/{path}", token=KEY)

    answer = client("question-answering").question_answering(question=QUESTION, context=CONTEXT)
    assert CONTEXT[answer.start : answer.end] == answer.answer
    assert 0 < answer.score <= 1
    several = client("qa").question_answering(question=QUESTION, context=CONTEXT, top_k=2, doc_stride=8)
    assert len(several) == 2
    similar = client("sentence-similarity").sentence_similarity(TEXTS[0], other_sentences=TEXTS[1:])
    assert similar[0] > similar[1]
    labels = client("text-classification").text_classification("I are a boy")
    assert {one.label for one in labels} == {"acceptable", "unacceptable"}
    assert client("feature-extraction").feature_extraction(TEXTS[0]).shape[0] == 1


CALLS = {
    call.__name__: call
    for call in (
        *(openai, langchain, llama_index_openai, llama_index_tei, llama_index_rerank),
        *(haystack_openai, haystack_tei, haystack_rerank, cohere, hugging_face),
    )
}

if __name__ == "__main__":
    CALLS[sys.argv[2]](sys.argv[1])
