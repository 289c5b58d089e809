"""The console script `munjang`, also run by `python -m deployments`: all commands of the project."""

import sys

from pipelines import command_line

SERVE = command_line.Entry(
    "deployments.launch:SERVE",
    "start the graph on http://localhost:8000",
    "serve_config.yaml --sts sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
)
KEY = command_line.Entry(
    "deployments.new_key:KEY", "make an API key for a server", "keys.toml --name page --scopes infer upload"
)


def main() -> int:
    """Run the command that the user typed, and return the exit status."""
    return command_line.main("munjang", {"serve": SERVE, "key": KEY} | command_line.COMMANDS)


if __name__ == "__main__":
    sys.exit(main())
