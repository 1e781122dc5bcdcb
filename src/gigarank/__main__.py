"""The console script, also as `python -m gigarank`.

Apart from `gigarank.cli`, because importing that takes a moment in which Ctrl-C shall end as quietly as later.
"""

import sys


def main() -> int:
    """Run the command line, return its exit code; 130 for Ctrl-C."""
    try:
        from gigarank.cli import main as run  # noqa: PLC0415 - what takes the moment

        return run()
    except KeyboardInterrupt:
        sys.stderr.write("gigarank: error: interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
