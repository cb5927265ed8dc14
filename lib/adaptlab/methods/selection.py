"""Which examples to show: baselines that choose ``k`` demonstrations out of a pool, as indices into it.

They look at texts alone, never at answers. A query whose own content stands in the pool (`content_key`) is not shown
it, since it would be shown its own answer: those places of the pool are left out for that query.

The nearest are returned with the most similar one *last*, next to the query. GPT-3 leans to the answers that stand near
the end of its prompt (recency bias; Zhao et al. 2021, arXiv 2102.09690, section 4), so that place goes to the example
most likely to have the right one. It is a choice, not a law: Liu et al. 2021 (arXiv 2101.06804, "Order of In-context
Examples", table 7) found it the best order on one data set (NQ: 42.8 against 41.6 with the nearest first) and slightly
the worse one on two others, and every such difference small beside that of choosing the nearest at all.
"""

import random
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache

import bm25s
import numpy as np

from adaptlab.engine.embedding import embed
from adaptlab.engine.lm import LM
from adaptlab.tasks.records import FieldError, Labelled, check_choice, check_text, content_key, quote
from adaptlab.tasks.similarity import words
from adaptlab.tasks.splits import LabelledSet

K1, B = 1.5, 0.75


def random_choice(pool: Sequence[str], queries: Sequence[str], k: int, seed: int) -> list[list[int]]:
    """For every query the same ``k`` places of the pool, drawn by ``seed``: one prompt, whose computation is shared.

    A smaller ``k`` draws the beginning of what a larger one draws. Only a query that stands in the pool gets another
    list: its own places are skipped. Raises ValueError where the pool does not hold ``k`` texts for every query.
    """
    own = _own(pool, queries, k)
    order = random.Random(f"selection {seed}").sample(range(len(pool)), len(pool))
    return [[place for place in order if place not in mine][:k] for mine in own]


def nearest_bm25(pool: Sequence[str], queries: Sequence[str], k: int) -> list[list[int]]:
    """For every query the ``k`` places of the pool with the highest BM25 score, the highest last.

    A score is the sum over the query's words, repeated ones again, of ln(1 + (N - n + 0.5) / (n + 0.5)) *
    f / (f + k1 * (1 - b + b * length / mean length)) with k1 = 1.5 and b = 0.75: of N texts in the pool, n hold the
    word, this one f times. It is the variant that never rates a word below 0 ("Lucene, accurate" in Kamphuis et al.
    2020, ECIR; library: bm25s, Lù 2024, arXiv 2407.03618). Words are those of `similarity.words`: no stop words and no
    stems, for a text may be of invented words. Of equal scores, the earlier place is the nearer.
    Raises ValueError where the pool does not hold ``k`` texts for every query.
    """
    own = _own(pool, queries, k)
    if not k or not queries:
        return [[] for _ in queries]
    index = bm25s.BM25(method="lucene", k1=K1, b=B, dtype="float64")
    index.index([words(text) for text in pool], show_progress=False)
    return _nearest(np.array([index.get_scores(words(query)) for query in queries]), own, k)


def nearest_embedding(lm: LM, pool: Sequence[str], queries: Sequence[str], k: int) -> list[list[int]]:
    """For every query the ``k`` places of the pool whose `embed` has the highest cosine with the query's, the highest
    last.

    KATE of Liu et al. 2021 (arXiv 2101.06804, algorithm 1), with the model's own states for a sentence encoder. Of
    equal cosines, the earlier place is the nearer. Raises ValueError where the pool does not hold ``k`` texts for every
    query, or `embed` refuses a text.
    """
    own = _own(pool, queries, k)
    if not k or not queries:
        return [[] for _ in queries]
    vectors = _vectors(lm, (*pool, *queries))  # in one go: the same text has the same vector in both
    return _nearest(vectors[len(pool) :] @ vectors[: len(pool)].T, own, k)


def medoids(lm: LM, pool: Sequence[str], k: int, seed: int, queries: Sequence[str] = ()) -> list[int]:
    """``k`` places of the pool that stand for all of it: the medoids of ``k`` clusters, that of the largest first.

    The sum of cosine distances (of `embed`) from every text to the nearest medoid is made small by the swaps of PAM
    (Kaufman & Rousseeuw 1987) from a random start drawn by ``seed``: an optimum that no single swap improves.
    The choice is the same for every query, so it leaves out what any of ``queries`` has for its own content: name them
    all where they may stand in the pool. Raises ValueError where fewer than ``k`` texts are left.
    """
    own = set().union(*_own(pool, queries))
    places = [place for place in range(len(pool)) if place not in own]
    _check(k, len(places))
    if not k:
        return []
    vectors = _vectors(lm, tuple(pool[place] for place in places))
    distances = np.maximum(1 - vectors @ vectors.T, 0)  # rounding may leave a text a little below 0 from itself
    found = _swapped(distances, random.Random(f"medoids {seed}").sample(range(len(places)), k))
    sizes = np.bincount(distances[:, found].argmin(1), minlength=k)
    return [places[found[cluster]] for cluster in np.lexsort((found, -sizes))]


Texts = Sequence[str]
# For every query, places in the pool: (lm, pool, queries, k, seed) -> [queries][k]. The nearest look at no seed.
SELECTIONS: dict[str, Callable[[LM, Texts, Texts, int, int], list[list[int]]]] = {
    "random": lambda lm, pool, queries, k, seed: random_choice(pool, queries, k, seed),
    "diverse": lambda lm, pool, queries, k, seed: [medoids(lm, pool, k, seed, queries)] * len(queries),
    "nearest, words": lambda lm, pool, queries, k, seed: nearest_bm25(pool, queries, k),
    "nearest, states": lambda lm, pool, queries, k, seed: nearest_embedding(lm, pool, queries, k),
}


def select(
    lm: LM, data: LabelledSet, items: Sequence[Labelled], k: int, way: str, seed: int
) -> dict[str, list[Labelled]]:
    """For the text of each item, the ``k`` items of the pool that one of `SELECTIONS` chooses, in prompt order."""
    places = SELECTIONS[check_choice("way", way, tuple(SELECTIONS))](
        lm, [item.text for item in data.pool], [item.text for item in items], k, seed
    )
    return {item.text: [data.pool[place] for place in row] for item, row in zip(items, places, strict=True)}


def _swapped(distances: np.ndarray, chosen: list[int]) -> list[int]:
    """PAM's second phase: the best swap of a chosen one for any other, again and again until none helps."""
    total = distances[:, chosen].min(1).sum()
    while True:
        swaps = []
        for i in range(len(chosen)):
            others = distances[:, chosen[:i] + chosen[i + 1 :]].min(1, initial=np.inf)
            totals = np.minimum(others[:, None], distances).sum(0)  # with each text in place of the i-th
            swaps.append((totals.min(), i, int(totals.argmin())))
        best, i, place = min(swaps)
        if best > total - 1e-9:
            return chosen
        chosen, total = [*chosen[:i], place, *chosen[i + 1 :]], best


@lru_cache(maxsize=4)
def _vectors(lm: LM, texts: tuple[str, ...]) -> np.ndarray:
    """Kept, since a curve asks for the same texts at every number of shots."""
    return embed(lm, texts).astype(float)


def _own(pool: Sequence[str], queries: Sequence[str], k: int = 0) -> list[Collection[int]]:
    """For every query, the places of the pool that have its content. Raises FieldError unless ``k`` others are left."""
    for field, texts in (("pool", pool), ("queries", queries)):
        if isinstance(texts, str):
            raise FieldError(field, "a sequence of texts", quote(texts))
        for place, text in enumerate(texts):
            check_text(f"{field}[{place}]", text)
    places: dict[str, set[int]] = {}
    for place, text in enumerate(pool):
        places.setdefault(content_key(text), set()).add(place)
    own = [places.get(content_key(query), ()) for query in queries]
    _check(k, len(pool) - max(map(len, own), default=0))
    return own


def _check(k: int, left: int) -> None:
    if not 0 <= k <= left:
        raise FieldError("k", f"0 to {left}, as many texts as the pool has beside a query's own", quote(k))


def _nearest(similarity: np.ndarray, own: Sequence[Collection[int]], k: int) -> list[list[int]]:
    """For each row of ``similarity`` [queries, pool] the ``k`` best places that are not its own, the best last."""
    found = []
    for row, mine in zip(np.round(similarity, 9), own, strict=True):  # a rounding apart is a tie
        row[list(mine)] = -np.inf
        found.append(np.argsort(-row, kind="stable")[:k][::-1].tolist())
    return found
