"""Data sets that come with the kit."""

from dataclasses import replace

from adaptlab import paths
from adaptlab.tasks.formats import load_labelled
from adaptlab.tasks.records import LabelledSet

DESKS = ("repair", "delivery", "billing", "hire")


def load_messages() -> LabelledSet:
    """400 messages to a bicycle shop, each for one of four desks; the card is ``data/messages/README.md``."""
    messages = load_labelled(paths.DATA / "messages" / "messages.jsonl", DESKS)
    return replace(messages, instruction="Each message to the shop goes to one desk: {names}.")
