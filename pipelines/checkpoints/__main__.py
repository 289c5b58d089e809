"""`python -m pipelines.checkpoints import|quantize|trim|verify`: the same as `munjang import` and so on."""

import sys

from pipelines import command_line


def main() -> int:
    """Run the command that the user typed, and return the exit status."""
    return command_line.main("python -m pipelines.checkpoints", command_line.CHECKPOINTS)


if __name__ == "__main__":
    sys.exit(main())
