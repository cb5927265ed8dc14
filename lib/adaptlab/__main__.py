"""``python -m adaptlab`` and the command ``adaptlab``: the command line, stopped by a signal without a traceback."""

import os
import signal
import sys


def main() -> None:
    """Run the command line. Until a command has begun, Ctrl-C and kill stop it without more ado.

    Where the locale gives names of files another encoding, Python starts anew in its UTF-8 mode: notebooks are UTF-8,
    and so is what is said about them.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    from adaptlab.runner.cli import app

    app(prog_name="adaptlab")


def _stop(number: int, frame: object) -> None:
    print("adaptlab: stopped; nothing was written", file=sys.stderr, flush=True)
    os._exit(128 + number)


if __name__ == "__main__":
    main()
