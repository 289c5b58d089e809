"""The OpenAPI document, with the headers that answers have."""

from typing import Any

from fastapi import FastAPI

from deployments.api.limits import TRUNCATED
from deployments.api.slashes import other_form
from deployments.api.work_headers import FEW

WITHOUT_MODELS = ("/tokenize", "/decode", "/chat/", "/v1/chat", "/v1/files", "/v1/batches")
"""Where no model works, or not before the answer."""
Described = dict[str, tuple[str, dict[str, Any]]]
"""By the name of a header, what it means and its schema."""
NUMBER, TEXT = {"type": "integer"}, {"type": "string"}
OF_FEW: Described = {
    "x-queue-time": ("Milliseconds from the arrival of an item until the start of its batch, on average.", NUMBER),
    "x-inference-time": ("Milliseconds for which its batch ran, on average.", NUMBER),
    "x-munjang-batch-size": ("Items of the model's batch, those of other requests among them, on average.", NUMBER),
    "x-munjang-replica": ("The replica of the model.", TEXT),
}
OF_ALL: Described = {
    "x-tokenization-time": ("Milliseconds of the call of the tokenizer.", NUMBER),
    "x-total-time": ("Milliseconds from the headers of the request until those of the answer.", NUMBER),
    "x-compute-time": ("The same as x-total-time.", NUMBER),
    "x-compute-characters": ("Characters of all items, or token ids where they were sent as ids.", NUMBER),
    "x-compute-tokens": ("Tokens that the model read.", NUMBER),
    "x-compute-type": ("The engine.", TEXT),
    "x-munjang-padding": ("Share of padding in the tokens of the batch.", {"type": "number"}),
    "x-munjang-checkpoint": ("The digest of the model's checkpoint.", TEXT),
}
CUT: Described = {
    TRUNCATED: ("`true` if a text has more tokens than the model reads.", {"type": "string", "enum": ["true"]})
}


class DocumentedApp(FastAPI):
    """A FastAPI app whose document also has the headers."""

    def openapi(self) -> dict[str, Any]:
        """The document, which is made once."""
        if self.openapi_schema is None:
            describe_headers(super().openapi())
        return super().openapi()


def describe_headers(document: dict[str, Any]) -> None:
    """Add the headers to the answers of a document that carry what a model has computed."""
    for path, operations in document["paths"].items():
        if "post" in operations and not path.startswith(WITHOUT_MODELS):
            named = CUT | OF_FEW if {path, other_form(path)} & FEW else CUT | OF_FEW | OF_ALL
            operations["post"]["responses"]["200"]["headers"] = {
                name: {"description": description, "schema": schema} for name, (description, schema) in named.items()
            }
