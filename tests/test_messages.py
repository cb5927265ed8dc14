"""The messages are what their card says: balanced, distinct, and not a matter of one word."""

import hashlib
import json
import math
import re
import statistics
from collections import Counter
from itertools import combinations, pairwise

import pytest

from adaptlab import paths
from adaptlab.tasks.records import content_key
from adaptlab.tasks.sets import DESKS, load_messages

FOLDER = paths.DATA / "messages"
FILE = FOLDER / "messages.jsonl"
ROWS = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")
STEMS = {"repair": "repair", "delivery": "deliver", "billing": "bill", "hire": "hir"}


def words(text: str) -> set[str]:
    return set(re.findall(r"[\w'-]+", text.casefold()))


def of(desk: str) -> list[str]:
    return [row["text"] for row in ROWS if row["label"] == desk]


def own_word(desk: str) -> int:
    return sum(any(word.startswith(STEMS[desk]) for word in words(text)) for text in of(desk))


def closest() -> float:
    bags = [words(row["text"]) for row in ROWS]
    return max(len(one & other) / len(one | other) for one, other in combinations(bags, 2))


def centroid_accuracy() -> float:
    """Nearest class centroid of tf-idf word vectors; pool words only."""
    pool, test = ([row for row in ROWS if row["split"] == split] for split in ("pool", "test"))
    spread = Counter(word for row in pool for word in words(row["text"]))

    def vector(text: str) -> dict[str, float]:
        weights = {word: math.log(len(pool) / spread[word]) for word in sorted(words(text)) if word in spread}
        length = math.hypot(*weights.values()) or 1.0
        return {word: weight / length for word, weight in weights.items()}

    centroids = {desk: Counter() for desk in DESKS}
    for row in pool:
        centroids[row["label"]].update(vector(row["text"]))
    lengths = {desk: math.hypot(*centroids[desk].values()) for desk in DESKS}

    def nearest(text: str) -> str:
        weights = vector(text)
        return max(DESKS, key=lambda d: sum(w * centroids[d][word] for word, w in weights.items()) / lengths[d])

    return statistics.mean(nearest(row["text"]) == row["label"] for row in test)


def test_the_loader_gives_every_row():
    items = load_messages()
    assert (items.name, items.labels) == ("messages", DESKS)
    loaded = {(i.id, i.text, i.label, s) for s in ("pool", "test") for i in getattr(items, s)}
    assert loaded == {(r["id"], r["text"], r["label"], r["split"]) for r in ROWS}


def test_classes_and_splits_are_balanced():
    assert Counter((row["label"], row["split"]) for row in ROWS) == {
        (d, s): 50 for d in DESKS for s in ("pool", "test")
    }


def test_ids_follow_the_lines_and_classes_mix():
    assert [row["id"] for row in ROWS] == [f"m{n:03d}" for n in range(1, 401)]
    runs = 1 + sum(one["label"] != other["label"] for one, other in pairwise(ROWS))
    assert runs > 250  # about 300 when shuffled, 4 when sorted


def test_no_content_occurs_twice():
    assert len({content_key(row["text"]) for row in ROWS}) == len(ROWS)
    assert closest() < 0.6


def test_lengths():
    assert all(5 <= len(row["text"].split()) <= 16 for row in ROWS)


def test_texts_are_tidy():
    for row in ROWS:
        text = row["text"]
        assert text.isascii() and text.isprintable() and text == " ".join(text.split())
        assert text[0].isupper() or text.startswith('"')
        assert text[-1] in ".?!"


def test_openings_vary():
    openings = Counter(" ".join(row["text"].split()[:3]).casefold() for row in ROWS)
    assert openings.most_common(1)[0][1] <= 8


@pytest.mark.parametrize("desk", DESKS)
def test_the_name_of_a_class_is_rare_in_it(desk):
    assert 0 < own_word(desk) < 15


def test_no_personal_data():
    for row in ROWS:
        assert not re.search(r"@|https?:|www\.|\d{5,}|\+\d", row["text"])


def test_words_alone_carry_some_of_the_signal_only():
    majority = max(Counter(row["label"] for row in ROWS if row["split"] == "test").values()) / 200
    assert majority == 0.25
    # A guesser gets 80 of 200 right about twice in a million draws.
    assert 0.40 < centroid_accuracy() < 0.98


# ---------------------------------------------------------------- the card


def cells(first: str) -> list[str]:
    """The cells after the first of the card's table row that begins so."""
    (line,) = [line for line in CARD.splitlines() if line.startswith(f"| {first}")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


@pytest.mark.parametrize("desk", DESKS)
def test_the_cards_class_table(desk):
    mean = statistics.mean(len(text.split()) for text in of(desk))
    assert cells(f"`{desk}`")[1:] == ["50", "50", f"{mean:.2f}", str(own_word(desk))]


def test_the_cards_numbers():
    counts = [len(row["text"].split()) for row in ROWS]
    spread = f"{min(counts)} to {max(counts)} words between white space"
    assert f"{spread}, median {statistics.median(counts):g}, mean {statistics.mean(counts):.2f}" in CARD
    assert f"Jaccard index of their word sets is at most {closest():.2f}" in CARD
    assert cells("always the same class") == ["0.250"]
    assert cells("nearest class centroid") == [f"{centroid_accuracy():.3f}"]
    assert f"{len(ROWS)} short messages" in CARD


def test_the_cards_hash():
    assert re.findall(r"`([0-9a-f]{64})`", CARD) == [hashlib.sha256(FILE.read_bytes()).hexdigest()]
