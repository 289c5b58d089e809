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
JOBS = {
    "jobs submit": command_line.Entry(
        "deployments.jobs.commands:SUBMIT", "have a server score a file in the background", "pairs.csv --follow"
    ),
    "jobs status": command_line.Entry(
        "deployments.jobs.commands:STATUS", "show how far a job is", "batch_0123456789abcdef0123456789abcdef --follow"
    ),
    "jobs results": command_line.Entry(
        "deployments.jobs.commands:RESULTS",
        "print the answers of a job, all or those so far",
        "batch_0123456789abcdef0123456789abcdef --output scores.jsonl",
    ),
    "jobs cancel": command_line.Entry(
        "deployments.jobs.commands:CANCEL", "end a job", "batch_0123456789abcdef0123456789abcdef"
    ),
}
COMMANDS = {"serve": SERVE, "key": KEY} | JOBS | command_line.COMMANDS


def main() -> int:
    """Run the command that the user typed, and return the exit status."""
    return command_line.main("munjang", COMMANDS)


if __name__ == "__main__":
    sys.exit(main())
