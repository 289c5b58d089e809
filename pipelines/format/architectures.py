"""The model architectures of this project; importing this module registers them with transformers."""

import pipelines.format.gated_conv
import pipelines.format.two_layers  # noqa: F401
