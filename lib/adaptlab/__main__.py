"""``python -m adaptlab`` and the command ``adaptlab``: the command line, stopped by Ctrl-C without a traceback."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is still being imported is one line, too."""
    try:
        from adaptlab.runner.cli import app
    except KeyboardInterrupt:
        print("adaptlab: stopped; nothing was written", file=sys.stderr)
        sys.exit(130)
    app(prog_name="adaptlab")


if __name__ == "__main__":
    main()
