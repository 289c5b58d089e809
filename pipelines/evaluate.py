"""`python -m pipelines.evaluate CHECKPOINT DATA`: the same as `munjang evaluate`."""

import sys

from pipelines import command_line


def main() -> int:
    """Run the command, and return the exit status."""
    return command_line.main("python -m pipelines.evaluate", {"": command_line.EVALUATE})


if __name__ == "__main__":
    sys.exit(main())
