"""The models that are served, under the names that requests may use for them."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, get_args

from pipelines.errors import UnknownModel, WrongKind
from pipelines.format.manifest import Task

FRESH_S = 10.0
TASKS: tuple[Task, ...] = get_args(Task)


class Catalogue:
    """What the model deployments say about themselves, asked at most every `FRESH_S` seconds.

    A model is named by its task, the name or digest of its checkpoint, or its base model.
    """

    def __init__(self, describe: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._describe = describe
        self._known: dict[str, Any] = {}
        self._known_s = -FRESH_S
        self.started_s = int(time.time())

    async def models(self) -> dict[str, Any]:
        """By task, what its model reports. A task that sleeps has none."""
        if time.monotonic() - self._known_s >= FRESH_S:
            self._known = await self._describe()
            self._known_s = time.monotonic()
        return {task: self._known[task] for task in TASKS if task in self._known}

    async def task_of(self, model: str) -> Task:
        """The task of the model with this name. Raises UnknownModel."""
        if model in TASKS:
            return next(task for task in TASKS if task == model)
        for task, card in (await self.models()).items():
            if model in (card.get("name"), card.get("digest"), card.get("base_model")):
                return next(one for one in TASKS if one == task)
        raise UnknownModel(*TASKS)

    async def refuse_other(self, model: str | None, *tasks: Task, wanted: str) -> None:
        """Raise UnknownModel, or WrongKind if the model is not of these tasks; `wanted` is what it can't do."""
        if model is not None and model not in tasks and await self.task_of(model) not in tasks:
            raise WrongKind(f"this model has no {wanted}; use {' or '.join(tasks)}")
