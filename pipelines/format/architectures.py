"""Importing this module registers the model architectures of this project with transformers."""

import pipelines.format.two_layers  # noqa: F401
