"""The routes by task. Nothing here imports ray."""
