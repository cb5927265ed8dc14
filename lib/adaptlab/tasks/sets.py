"""Data sets that come with the kit."""

from collections.abc import Callable
from dataclasses import replace

from adaptlab import paths
from adaptlab.tasks.formats import load_labelled
from adaptlab.tasks.notes import load_notes
from adaptlab.tasks.records import LabelledSet

DESKS = ("repair", "delivery", "billing", "hire")


def load_messages() -> LabelledSet:
    """400 messages to a bicycle shop, each for one of four desks; the card is ``data/messages/README.md``."""
    messages = load_labelled(paths.DATA / "messages" / "messages.jsonl", DESKS)
    return replace(messages, instruction="Each message to the shop goes to one desk: {names}.")


TASKS: dict[str, Callable[[], LabelledSet]] = {"notes": load_notes, "messages": load_messages}


def load_task(name: str) -> LabelledSet:
    """A labelled set of the kit by name: ``notes`` from the study world, or ``messages`` in English."""
    if name not in TASKS:
        raise ValueError(f"task must be one of {list(TASKS)}, not {name!r}")
    return TASKS[name]()
