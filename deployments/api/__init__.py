"""The routes, by task; nothing here imports ray."""
