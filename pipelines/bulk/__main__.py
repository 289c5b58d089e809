"""`python -m pipelines.bulk TASK INPUT OUTPUT`: the same as `munjang bulk`."""

import sys

from pipelines import command_line


def main() -> int:
    """Run the command, and return the exit status."""
    return command_line.main("python -m pipelines.bulk", {"": command_line.BULK})


if __name__ == "__main__":
    sys.exit(main())
