"""How alike texts are: the same content, shared runs of words, Jaccard index of shingles, ROUGE-L.

Everything here is symmetric in case, white space and punctuation, and the same in every process. Records are compared
by their ``query``: what they ask, not what they answer. Any other view of them can be given as ``key``.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Indel, LCSseq

from adaptlab.tasks.records import FieldError, content_key, quote

Key = Callable[[Any], str]
_WORD = re.compile(r"\w+|[^\w\s]")
_ROUGE_WORD = re.compile(r"[a-z0-9]+")


class Match(NamedTuple):
    """The record at `place` is like `other`; `value` is how (a Jaccard index) or by what (the shared words)."""

    place: int
    other: Any
    value: Any


def query_of(record: Any) -> str:
    """What a record asks, its ``query``; a text is its own."""
    return record if isinstance(record, str) else record.query


def words(text: str) -> list[str]:
    """The words of a text, case folded. A symbol such as + or € is a word too; punctuation falls away, if not all."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    found = _WORD.findall(plain)
    return [w for w in found if len(w) > 1 or w.isalnum() or unicodedata.category(w)[0] in "SM"] or found


def ngrams(text: str, n: int) -> list[str]:
    """Every run of n words, in order. A text of fewer words is one run: itself."""
    if n < 1:
        raise FieldError("n", "a number of words, at least 1", quote(n))
    row = words(text)
    return [" ".join(row[i : i + n]) for i in range(max(1, len(row) - n + 1))]


def jaccard(a: str, b: str, n: int = 3) -> float:
    """Share of the word n-grams of either text that both have, 0 to 1."""
    return _jaccard(set(ngrams(a, n)), set(ngrams(b, n)))


def _jaccard(a: set[str], b: set[str]) -> float:
    return len(a & b) / len(a | b)


def exact_duplicates(records: Sequence[Any], key: Key = query_of) -> list[Match]:
    """The records whose content, by `records.content_key`, stood before, each with the first of that content."""
    first: dict[str, int] = {}
    places = [first.setdefault(content_key(key(record)), place) for place, record in enumerate(records)]
    return [Match(place, records[one], 1.0) for place, one in enumerate(places) if one != place]


def near_duplicates(records: Sequence[Any], threshold: float = 0.7, key: Key = query_of, n: int = 3) -> list[Match]:
    """The records whose `jaccard` with an earlier one is `threshold` or more; matches are with records that stay.

    A text of fewer than n words is like another only if all words are.
    """
    if not 0 < threshold <= 1:
        raise FieldError("threshold", "a Jaccard index above 0, at most 1", quote(threshold))
    sets = [set(ngrams(key(record), n)) for record in records]
    number = Counter(chain.from_iterable(sets))
    holders: dict[str, list[int]] = defaultdict(list)  # run -> records that stay and have it among their rarest
    matches = []
    for place, runs in enumerate(sets):
        # Two sets that are alike share one of so many of their rarest runs (Bayardo et al. 2007, "All Pairs").
        rarest = sorted(runs, key=lambda run: (number[run], run))[: len(runs) - int(threshold * len(runs)) + 1]
        candidates = {one for run in rarest for one in holders[run]}
        best, one = max(((_jaccard(runs, sets[one]), -one) for one in candidates), default=(0.0, 0))
        if best >= threshold:
            matches.append(Match(place, records[-one], best))
        else:
            for run in rarest:
                holders[run].append(place)
    return matches


def shared_runs(train: Sequence[Any], test: Sequence[Any], n: int = 8, key: Key = query_of) -> list[Match]:
    """The records of `train` that share a run of n words with one of `test`: which one, and the first such run.
    ``key`` reads the records of `train`; those of `test` are read by their query.

    Swap the two sides to ask it of the test records. A text of fewer than n words is shared only as a whole. GPT-3
    (Brown et al., 2005.14165, appendix C) cleaned its training text with n = 13, and measured overlap with 8 to 13.
    """
    known: dict[str, int] = {}
    for place, record in enumerate(test):
        for run in ngrams(query_of(record), n):
            known.setdefault(run, place)
    runs = (next((run for run in ngrams(key(record), n) if run in known), None) for record in train)
    return [Match(place, test[known[run]], run) for place, run in enumerate(runs) if run is not None]


def _coded(texts: Sequence[str]) -> list[str]:
    """Each text with one sign for each word, the same for the same word everywhere: the form compared fastest."""
    signs: dict[str, str] = {}
    rows = (_ROUGE_WORD.findall(text.lower()) for text in texts)
    return ["".join(signs.setdefault(word, chr(len(signs))) for word in row) for row in rows]


def rouge_l(a: str, b: str) -> float:
    """ROUGE-L (Lin 2004): F1 of the longest common subsequence of words, 0 to 1; 0 where a text has none.

    Words are runs of a-z and 0-9, lower-cased, unstemmed, as in the rouge-score package: other scripts have none.
    Self-Instruct (2212.10560) keeps an instruction whose ROUGE-L is at most 0.7 with all before it.
    """
    a, b = _coded([a, b])
    return 2 * LCSseq.similarity(a, b) / (len(a) + len(b)) if a and b else 0.0


def most_similar(text: str, others: Sequence[Any], key: Key = query_of) -> Match:
    """The first of `others` with the highest `rouge_l`: its place, itself, and that number."""
    if not others:
        raise FieldError("others", "at least one text", "none")
    texts = [key(other) for other in others]
    query, *rest = _coded([text, *texts])
    # This similarity is ROUGE-L, but for two empty rows, which it calls alike.
    place = process.extractOne(query, rest, scorer=Indel.normalized_similarity)[2] if query else 0
    return Match(place, others[place], rouge_l(text, texts[place]))


def nearest_rouge_l(texts: Sequence[str], places: Sequence[int]) -> list[float]:
    """For the texts at `places`, the `rouge_l` with the one most like it among all other texts (two or more)."""
    rows = _coded(texts)
    not_empty = np.array([bool(row) for row in rows])
    best = []
    for place in places:
        others = not_empty & (np.arange(len(rows)) != place)
        scores = process.cdist([rows[place]], rows, scorer=Indel.normalized_similarity, dtype=np.float64)[0]
        best.append(float(np.max(scores, initial=0.0, where=others)) if rows[place] else 0.0)
    return best
