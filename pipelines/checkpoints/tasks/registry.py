"""All tasks, by name."""

from typing import Any

from pipelines.checkpoints.tasks.cola import Cola
from pipelines.checkpoints.tasks.definition import TaskDefinition
from pipelines.checkpoints.tasks.qa import Qa
from pipelines.checkpoints.tasks.sts import Sts
from pipelines.format.manifest import Task

TASKS: dict[Task, TaskDefinition[Any]] = {task.name: task for task in (Sts(), Cola(), Qa())}
