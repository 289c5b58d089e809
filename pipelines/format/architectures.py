"""All model architectures of the project's own: importing this module registers them with transformers."""

__all__: list[str] = []
