"""Classes that pickle as LangChain's two classes do, under the names of all its versions."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch


class Docstore:
    def __init__(self, documents: Mapping[Any, object]) -> None:
        self._dict = documents


class LangChainDocument:
    """Pickles as a pydantic model does. `version` is the version of pydantic."""

    def __init__(self, text: object, version: int = 2, **metadata: object) -> None:
        fields = {"page_content": text, "metadata": metadata}
        names = {
            1: ("__fields_set__", "__private_attribute_values__"),
            2: ("__pydantic_fields_set__", "__pydantic_extra__"),
        }
        self.state: dict[str, Any] = {"__dict__": fields, names[version][0]: {"page_content"}, names[version][1]: None}

    def __getstate__(self) -> dict[str, object]:
        return self.state


@contextmanager
def pretending(
    docstore: str = "langchain_community.docstore.in_memory", document: str = "langchain_core.documents.base"
) -> Iterator[None]:
    """Within the context, the classes pickle as LangChain's classes in these modules."""
    places = {(docstore, "InMemoryDocstore"): Docstore, (document, "Document"): LangChainDocument}
    with patch.dict(sys.modules):
        for (module, name), kind in places.items():
            for depth in range(module.count(".") + 1):
                sys.modules.setdefault(module.rsplit(".", depth)[0], ModuleType(module))
            setattr(sys.modules[module], name, kind)
            kind.__module__, kind.__qualname__, kind.__name__ = module, name, name
        yield
