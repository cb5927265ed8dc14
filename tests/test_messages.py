"""The messages are what their card says: balanced, distinct, tidy, and not a matter of one word."""

import hashlib
import json
import re
from collections import Counter
from itertools import combinations, pairwise

from adaptlab import paths
from adaptlab.tasks.records import content_key
from adaptlab.tasks.sets import DESKS, load_messages

FOLDER = paths.DATA / "messages"
FILE = FOLDER / "messages.jsonl"
ROWS = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
STEMS = {"repair": "repair", "delivery": "deliver", "billing": "bill", "hire": "hir"}


def words(text: str) -> set[str]:
    return set(re.findall(r"[\w'-]+", text.casefold()))


def test_the_file_is_the_one_that_the_card_describes():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"`([0-9a-f]{64})`", card) == [hashlib.sha256(FILE.read_bytes()).hexdigest()]
    data = load_messages()
    assert (data.name, data.labels) == ("messages", DESKS)
    loaded = {(i.id, i.text, i.label, s) for s in ("pool", "test") for i in getattr(data, s)}
    assert loaded == {(r["id"], r["text"], r["label"], r["split"]) for r in ROWS}
    assert [row["id"] for row in ROWS] == [f"m{n:03d}" for n in range(1, 401)]


def test_classes_and_splits_are_balanced_and_mixed():
    places = {(desk, split): 50 for desk in DESKS for split in ("pool", "test")}
    assert Counter((row["label"], row["split"]) for row in ROWS) == places
    assert sum(one["label"] != other["label"] for one, other in pairwise(ROWS)) > 250  # 3 when sorted


def test_no_message_is_close_to_another():
    assert len({content_key(row["text"]) for row in ROWS}) == len(ROWS)
    bags = [words(row["text"]) for row in ROWS]
    assert max(len(one & other) / len(one | other) for one, other in combinations(bags, 2)) < 0.6
    openings = Counter(" ".join(row["text"].split()[:3]).casefold() for row in ROWS)
    assert openings.most_common(1)[0][1] <= 8


def test_texts_are_tidy_and_hold_no_personal_data():
    for row in ROWS:
        text = row["text"]
        assert 5 <= len(text.split()) <= 16 and text.isascii() and text.isprintable() and text == " ".join(text.split())
        assert (text[0].isupper() or text.startswith('"')) and text[-1] in ".?!"
        assert not re.search(r"@|https?:|www\.|\d{5,}|\+\d", text)


def test_the_name_of_a_class_is_rare_in_it():
    for desk in DESKS:
        texts = [row["text"] for row in ROWS if row["label"] == desk]
        assert 0 < sum(any(word.startswith(STEMS[desk]) for word in words(text)) for text in texts) < 15
