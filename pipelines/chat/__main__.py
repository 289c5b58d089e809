"""`python -m pipelines.chat build|import-faiss|recall`: the same as `munjang chat build` and so on."""

import sys

from pipelines import command_line


def main() -> int:
    """Run the command that the user typed, and return the exit status."""
    return command_line.main("python -m pipelines.chat", command_line.CHAT)


if __name__ == "__main__":
    sys.exit(main())
