"""The command `prunectl`, also as `python -m prunectl`."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C ends without a traceback even while the program is still being loaded."""
    try:
        from prunectl.cli.app import main as run  # noqa: PLC0415  (loading takes a while)

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
