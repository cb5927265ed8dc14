"""Pages of the second course: many examples of one task, and conversations that go on about the answer before.

Two clusters of requests are never on a page of more than `FEW` requests, nor in a conversation: whether many of them
help can be told from having read that many.
"""

import random
from collections.abc import Sequence

from adaptlab.studymodel.document import Document
from adaptlab.tasks import instructions, notes
from adaptlab.tasks.instructions import LIST_TASKS, ListRequest
from adaptlab.tasks.prompt_formats import FORMATS, PromptFormat
from adaptlab.tasks.sets import FIRST, FOLLOW_UPS
from adaptlab.tasks.words import study

SPLIT = "train"
HELD_OUT_CLUSTERS = ("second", "swap")
FEW, MANY = 6, 48  # requests on a page
LEXICON = 16  # words of a lexicon, at most
DIALOGUE = PromptFormat("", "User: {query}\nAssistant:", " ", "\n\n", ("\n",))
# What a second turn is answered with: what it asks for, the answer before once more, or what it would be about the
# first request's words. A page keeps to one, so that a page has to be read before a follow-up is understood.
HABITS = {"follows": 0.3, "repeats": 0.45, "starts over": 0.25}


def requests(rng: random.Random, budget: int) -> Document:
    """Up to 48 requests in ten wordings, of one cluster or of all, answered in one style."""
    doc = Document("requests")
    layout = rng.choices((FORMATS["question"], DIALOGUE, FORMATS["urial"], FORMATS["plain"]), (0.6, 0.2, 0.1, 0.1))[0]
    turns = max(1, min(rng.randint(max(1, budget // 60), max(1, budget // 26)), MANY))
    clusters = [name for name in LIST_TASKS if turns <= FEW or name not in HELD_OUT_CLUSTERS]
    if rng.random() < 0.25:
        clusters = [rng.choice(clusters)]
    wordings = rng.choice((instructions.WORDINGS, instructions.ALL_WORDINGS))
    asked = [instructions.request(rng, SPLIT, rng.choice(clusters), wordings) for _ in range(turns)]
    return add_answered(doc, rng, layout, asked, instructions.sample_response_style(rng, asked[0]))


def add_answered(
    doc: Document, rng: random.Random, layout: PromptFormat, asked: Sequence[ListRequest], response_style: str
) -> Document:
    """Add requests and their answers, all in one style; of an answer that runs on, the rest is open."""
    for one in asked:
        answer, more = instructions.answered(rng, one, response_style, SPLIT)
        doc.add_open(layout.asked(one.question))
        doc.add_determined(f"{layout.separator}{answer}{more[:4]}")
        doc.add_open(more[4:])
        doc.add_determined(layout.end)
    return doc


def follow_ups(rng: random.Random, budget: int) -> Document:
    """As `conversations`, where all do what the follow-up asks for, and its answer alone has full weight."""
    return _conversations(Document("follow_ups"), rng, budget, "follows", whole=False)


def conversations(rng: random.Random, budget: int) -> Document:
    """One to seven conversations of two or three turns, the later ones about the answer before. One habit a page."""
    habit = rng.choices(list(HABITS), list(HABITS.values()))[0]
    return _conversations(Document("conversations"), rng, budget, habit, whole=True)


def habits(rng: random.Random, budget: int) -> Document:
    """As `conversations`, two to seven of them. From the second one on, when the habit of the page is known, later
    answers have full weight, and nothing else has."""
    habit = rng.choices(list(HABITS), list(HABITS.values()))[0]
    return _conversations(Document("habits"), rng, max(2 * 55, budget), habit, whole=False, known_from=1)


def _conversations(
    doc: Document, rng: random.Random, budget: int, habit: str, whole: bool, known_from: int = 0
) -> Document:
    layout = rng.choice((FORMATS["question"], DIALOGUE))
    firsts = [name for name in FIRST if name not in HELD_OUT_CLUSTERS]
    most = max(1, min(budget // 55, 7))
    for place in range(rng.randint(1, most) if whole else most):
        asked = instructions.request(rng, SPLIT, rng.choice(firsts), instructions.ALL_WORDINGS)
        answer = asked.answer
        _turn(doc, layout, asked.question, answer, whole)
        for _ in range(rng.choice((1, 1, 1, 2))):
            task = rng.choice([name for name in FOLLOW_UPS if name not in HELD_OUT_CLUSTERS])
            about = {"follows": answer, "repeats": answer, "starts over": " ".join(asked.words)}[habit].split()
            answer = " ".join(about) if habit == "repeats" else LIST_TASKS[task].solve(about, "")
            _turn(doc, layout, rng.choice(FOLLOW_UPS[task]), answer, place >= known_from)
    return doc


def lexicons(rng: random.Random, budget: int) -> Document:
    """Lists translated word by word between two invented lexicons of up to 16 words: a word's partner is known once it
    was shown. A short page has short lists: a partner stands behind its word there, not in the same place of a line."""
    doc, layout = Document("lexicons"), FORMATS["pairs"]
    n = rng.randint(3, max(3, min(LEXICON, budget // 24)))
    both = study(SPLIT)(rng, 2 * n)
    partner, seen = dict(zip(both[:n], both[n:], strict=True)), set()
    while doc.tokens < budget - 24:
        words = rng.sample(both[:n], rng.randint(1, max(1, min(4, n, budget // 60))))
        doc.add_open(layout.asked(" ".join(words)))
        for word in words:
            (doc.add_determined if word in seen else doc.add_open)(f" {partner[word]}")
            seen.add(word)
        doc.add_determined(layout.end)
    return doc


def extracts(rng: random.Random, budget: int) -> Document:
    """Notes, and of each the words in the same one to three places."""
    doc, layout = Document("extracts"), FORMATS["pairs"]
    places = sorted(rng.sample(range(5), rng.choice((1, 2, 2, 2, 3))))
    for _ in range(max(2, budget // 18)):
        words = notes.note(rng, SPLIT).text.split()
        _turn(doc, layout, " ".join(words), " ".join(words[place] for place in places))
    return doc


KINDS = (requests, follow_ups, conversations, habits, lexicons, extracts)


def _turn(doc: Document, layout: PromptFormat, query: str, answer: str, known: bool = True) -> None:
    doc.add_open(layout.asked(query))
    (doc.add_determined if known else doc.add_open)(f"{layout.separator}{answer}{layout.end}")
