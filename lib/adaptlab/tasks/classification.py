"""Labelled sets as instruction data, after FLAN (Wei et al. 2021, arXiv 2109.01652, section 2.1).

Ten templates a set. Eight ask for the label, with the classes below as OPTIONS; two are turned around: the label is
given, and the text is what is to be written (FLAN has up to three of these).
"""

import random

from adaptlab.tasks.formats import SPLITS
from adaptlab.tasks.records import FieldError, Instruction, Labelled, LabelledSet, check_choice

# {text} is given and the label is asked for, or {label} is given and the text is. The turned-around ones come last.
TEXTS = {
    "messages": (
        "Which desk of the bicycle shop should get this message?\n\n{text}",
        "A customer wrote to a bicycle shop: {text}\nTo whom does it go?",
        "{text}\n\nName the desk that takes care of messages like this one.",
        'You sort the mail of a bicycle shop. Where does "{text}" belong?',
        "Read what a cyclist writes, and pass it on to the right place: {text}",
        "Message to the shop: {text}\nChoose the desk that can help.",
        "What is this customer's message about? {text}",
        'The note in the shop\'s letter box says: "{text}" Who should answer it?',
        "Write a short message to a bicycle shop that belongs on the {label} desk.",
        "Someone at the {label} desk of a bicycle shop opens a message from a customer. What might it say?",
    ),
    "notes": (
        "Which group does the creature in this note belong to?\n\n{text}",
        "Somebody noted down a creature: {text}\nHow would you sort it?",
        "{text}\n\nName the group for notes like this one.",
        'You file notes about living things. Where does "{text}" go?',
        "Read the note and put what it tells of into its group: {text}",
        "Note: {text}\nChoose the group that fits it.",
        "What sort of thing has been seen here? {text}",
        'A page of the field book says: "{text}" Under which heading should it stand?',
        "Write a short note about a creature that belongs in the group {label}.",
        "Someone looks up {label} in a file of notes about creatures and finds one. What might it say?",
    ),
}
TURNED = 2


def options(labels: tuple[str, ...]) -> str:
    """The classes as FLAN lists them below a question."""
    return "\n\nOPTIONS:\n" + "\n".join(f"- {label}" for label in labels)


def labelled(
    data: LabelledSet, split: str, seed: int = 0, templates: int = 10, with_options: bool = True
) -> tuple[Instruction, ...]:
    """One record for each item of a split ("pool" or "test"), under the item's id; the set's name is the category.

    The first ``templates`` are used, at random. Test items are never turned around: what is written then has no
    one right answer to be scored against. Sets without templates of their own are refused.
    """
    texts = TEXTS[check_choice("data.name", data.name, tuple(TEXTS))]
    check_choice("split", split, SPLITS)
    if not 1 <= templates <= len(texts):
        raise FieldError("templates", f"1 to {len(texts)}", str(templates))
    usable = texts[:templates] if split == "pool" else texts[:-TURNED][:templates]
    suffix = options(data.labels) if with_options else ""
    rng = random.Random(f"{data.name} {split} {seed}")
    return tuple(_record(item, rng.choice(usable), suffix, data.name) for item in getattr(data, split))


def _record(item: Labelled, template: str, suffix: str, category: str) -> Instruction:
    if "{label}" in template:
        return Instruction(item.id, template.replace("{label}", item.label), "", item.text, category)
    return Instruction(item.id, template.replace("{text}", item.text) + suffix, "", item.label, category)
