"""``python -m adaptlab`` and the command ``adaptlab``: the command line, stopped by Ctrl-C without a traceback."""

import os
import signal
import sys


def main() -> None:
    """Run the command line. Until a command has begun, Ctrl-C stops without more ado."""
    signal.signal(signal.SIGINT, _stop)
    from adaptlab.runner.cli import app

    app(prog_name="adaptlab")


def _stop(number: int, frame: object) -> None:
    print("adaptlab: stopped; nothing was written", file=sys.stderr, flush=True)
    os._exit(130)


if __name__ == "__main__":
    main()
