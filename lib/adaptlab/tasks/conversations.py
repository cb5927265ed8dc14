"""Conversations of two turns, the second about the answer to the first, with exact answers to both.

As in MT-Bench (Zheng et al. 2023, arXiv 2306.05685): a follow-up that cannot be understood without the turn before.
"""

import random

from adaptlab.tasks.records import Conversation, FieldError, Message, check_choice, content_key
from adaptlab.tasks.styles import styled
from adaptlab.tasks.templates import TASKS, TEMPLATES, example
from adaptlab.tasks.vocabularies import Vocabulary

# Clusters whose answer is a list, so that there is something to go on with.
FIRST = ("copy", "double", "reverse", "swap", "rest", "replace")
# Cluster whose solver gives the answer -> what is said.
FOLLOW_UPS = {
    "reverse": ("Now reverse your answer.", "Say what you just said with its words in the opposite order."),
    "first": ("Now give only the first word of your answer.", "Which word does your answer begin with?"),
    "last": ("Now give only the last word of your answer.", "Which word does your answer end with?"),
    "second": ("Now give only the second word of your answer.", "Which word is number two in what you just said?"),
    "rest": ("Now leave out the first word of your answer.", "Say that again without its first word."),
    "swap": ("Now swap the first and the last word of your answer.", "Let the two ends of what you said trade places."),
    "double": ("Now say each word of your answer twice.", "Say that again, with every word two times in a row."),
    "count": ("How many words has your answer, in digits?", "Count the words you just said and give the number."),
}


def conversation(
    rng: random.Random,
    vocabulary: Vocabulary,
    first: str | None = None,
    follow_up: str | None = None,
    templates: int = TEMPLATES,
) -> Conversation:
    """Two user turns, their answers yet to be written; ``references`` are the right ones.

    ``first`` is one of `FIRST` and ``follow_up`` a key of `FOLLOW_UPS`, random unless given; the category names both.
    The first ``templates`` of its cluster word the opening. The second reference answers the follow-up about a right
    first answer.
    """
    first = check_choice("first", first or rng.choice(FIRST), FIRST)
    second = check_choice("follow_up", follow_up or rng.choice(list(FOLLOW_UPS)), tuple(FOLLOW_UPS))
    opening = example(rng, first, vocabulary, template=rng.randrange(templates))
    said = rng.choice(FOLLOW_UPS[second])
    name = f"{first} then {second}"
    key = content_key(f"{name} {opening.instruction} {said}")[:16]
    references = (opening.output, TASKS[second].solve(opening.output.split(), ""))
    return Conversation(key, (Message("user", opening.instruction), Message("user", said)), name, references)


def answered(asked: Conversation, style: str, rng: random.Random) -> Conversation:
    """The conversation with each user turn answered by its reference, in a style of `styles.STYLES`: to train on."""
    if len(asked.references) != len(asked.messages) or not all(asked.references):
        raise FieldError("references", f"{len(asked.messages)} answers, one a turn", str(len(asked.references)))
    turns = []
    for place, (turn, answer) in enumerate(zip(asked.messages, asked.references, strict=True)):
        check_choice(f"messages[{place}].role", turn.role, ("user",))
        turns += [turn, Message("assistant", styled(answer, style, rng))]
    return Conversation(asked.id, tuple(turns), asked.category, asked.references)
