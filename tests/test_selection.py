"""The baselines choose what their definitions say, and never show a query its own answer."""

import math
import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptlab.engine.embedding import embed
from adaptlab.methods.selection import medoids, nearest_bm25, nearest_embedding, random_choice
from adaptlab.tasks.records import content_key

SYLLABLES = "ba de fi go lu mir nop sat wug zek".split()
invented = st.lists(st.sampled_from(SYLLABLES), min_size=1, max_size=2).map("".join)
texts = st.lists(invented, min_size=1, max_size=6).map(" ".join)
pools, queries = st.lists(texts, min_size=1, max_size=9), st.lists(texts, max_size=4)
WITH_A_MODEL = settings(max_examples=25)


def text(rng: random.Random) -> str:
    return " ".join("".join(rng.choices(SYLLABLES, k=2)) for _ in range(rng.randint(2, 6)))


def drawn(seed: int, n: int) -> list[str]:
    rng = random.Random(seed)
    return [text(rng) for _ in range(n)]


def every(lm, pool, queries, k, seed=0) -> dict[str, list[list[int]]]:
    """What each baseline shows to each query."""
    return {
        "random": random_choice(pool, queries, k, seed),
        "bm25": nearest_bm25(pool, queries, k),
        "embedding": nearest_embedding(lm, pool, queries, k),
        "medoids": [medoids(lm, pool, k, seed, queries)] * len(queries),
    }


def best_first(scores: list[float], pool: list[str], query: str, k: int) -> list[int]:
    """The definition: highest score, then earliest place, leaving out the query's own content."""
    free = [i for i, other in enumerate(pool) if content_key(other) != content_key(query)]
    return sorted(free, key=lambda i: (-round(scores[i], 9), i))[:k]


# What holds for all of them


@WITH_A_MODEL
@given(pool=pools, queries=queries, data=st.data(), seed=st.integers())
def test_choices_are_places_in_the_pool_each_once_and_k_of_them(llama, pool, queries, data, seed):
    asked = {content_key(query) for query in queries}
    free = sum(content_key(other) not in asked for other in pool)
    k = data.draw(st.integers(0, free))
    chosen = every(llama, pool, queries, k, seed)
    for rows in chosen.values():
        assert len(rows) == len(queries)
        for row in rows:
            assert len(row) == len(set(row)) == k
            assert all(type(i) is int for i in row) and set(row) <= set(range(len(pool)))
    assert every(llama, pool, queries, k, seed) == chosen


def test_a_query_is_never_shown_its_own_content(llama):
    pool = ["Zek wug, mir.", "fi go", "zek WUG mir", "lu lu", "zek wug", "go fi"]
    asked = ["zek wug mir!", "lu  LU"]
    for name, (first, second) in every(llama, pool, asked, 3).items():
        assert not {0, 2} & set(first), name
        assert 3 not in second, name
    for choose in (random_choice, nearest_bm25):  # all that is left: 4 for the first, 5 for the second
        options = (0,) if choose is random_choice else ()
        assert set(choose(pool, asked, 4, *options)[0]) == {1, 3, 4, 5}
        assert set(choose(pool, asked[1:], 5, *options)[0]) == {0, 1, 2, 4, 5}
    assert set(nearest_embedding(llama, pool, asked, 4)[0]) == {1, 3, 4, 5}
    assert set(medoids(llama, pool, 3, 0, asked)) == {1, 4, 5}


def test_k_must_be_had(llama):
    pool, asked = ["fi go", "lu mir", "zek"], ["FI GO", "wug"]
    for k, query in ((-1, ["wug"]), (4, ["wug"]), (3, asked)):
        left = 2 if query is asked else 3
        for choose in (
            lambda k=k, q=query: random_choice(pool, q, k, 0),
            lambda k=k, q=query: nearest_bm25(pool, q, k),
            lambda k=k, q=query: nearest_embedding(llama, pool, q, k),
            lambda k=k, q=query: medoids(llama, pool, k, 0, q),
        ):
            with pytest.raises(ValueError, match=f"field 'k': expected 0 to {left}, .* found {k}"):
                choose()


@pytest.mark.parametrize("pool", [[], ["fi go", "lu"]])
def test_none_are_none(llama, pool):
    assert every(llama, pool, ["wug", "zek"], 0) == {name: [[], []] for name in every(llama, pool, [], 0)}
    assert medoids(llama, pool, 0, 0) == []


@pytest.mark.parametrize(
    ("pool", "asked", "field"),
    [(["fi", " "], ["go"], r"pool\[1\]"), (["fi"], ["go", ""], r"queries\[1\]"), ("fi", ["go"], "pool")],
)
def test_what_is_not_a_text_is_refused(llama, pool, asked, field):
    for choose in (
        lambda: random_choice(pool, asked, 1, 0),
        lambda: nearest_bm25(pool, asked, 1),
        lambda: nearest_embedding(llama, pool, asked, 1),
        lambda: medoids(llama, pool, 1, 0, asked),
    ):
        with pytest.raises(ValueError, match=f"field '{field}'"):
            choose()


# Random


@given(ks=st.tuples(st.integers(0, 20), st.integers(0, 20)), seed=st.integers())
def test_random_is_nested_and_shared(ks, seed):
    pool, queries = drawn(seed, 20), ["query", "other query"]
    few, many = (random_choice(pool, queries, k, seed) for k in sorted(ks))
    assert [row[: min(ks)] for row in many] == few
    assert all(row == many[0] for row in many)


def test_random_is_uniform_and_changes_with_the_seed():
    pool = drawn(0, 10)
    draws = [random_choice(pool, ["query"], 3, seed)[0] for seed in range(2000)]
    counts = np.bincount(np.concatenate(draws), minlength=10)
    assert (abs(counts - 600) < 5 * math.sqrt(2000 * 0.3 * 0.7)).all()
    firsts = np.bincount([row[0] for row in draws], minlength=10)
    assert (abs(firsts - 200) < 5 * math.sqrt(2000 * 0.1 * 0.9)).all()


def test_leaving_out_changes_the_draw_of_no_other_query():
    pool = drawn(1, 10)
    alone, own, other = random_choice(pool, ["wug", pool[3], "zek"], 9, 0)
    assert alone == other
    assert own == [i for i in random_choice(pool, ["wug"], 10, 0)[0] if i != 3]


# BM25


def test_bm25_by_hand():
    """N = 5, mean length 3, k1 = 1.5, b = 0.75; the variant called Lucene, accurate.

    bim is in 3 texts, zop in 2: idf ln(12/7) = 0.5390 and ln(12/5) = 0.8755. The denominators f + k1 * (...) are
    f + 1.125, 1.5, 1.5, 0.75 and 2.625 for lengths 2, 3, 3, 1 and 6. For "zop bim", the scores are
    0.5390 * 1 / 2.125 = 0.2536; 0.5390 * 2 / 3.5 = 0.3080; 0.8755 * 1 / 2.5 = 0.3502; 0;
    (0.8755 + 0.5390) * 1 / 3.625 = 0.3902.
    A variant whose idf may not rise above 0 for a word in most texts (Robertson's) puts 2 above 4.
    """
    pool = ["bim dax", "bim bim wug", "dax wug zop", "fep", "dax dax dax zop fep bim"]
    assert nearest_bm25(pool, ["zop bim"], 5) == [[3, 0, 1, 2, 4]]
    # A word that the query repeats counts twice: text 1 rises to 0.6160, beside 0.5389 for text 4.
    assert nearest_bm25(pool, ["zop bim bim"], 2) == [[4, 1]]


def bm25(pool: list[list[str]], query: list[str], k1: float = 1.5, b: float = 0.75) -> list[float]:
    """The definition, word by word."""
    mean = sum(map(len, pool)) / len(pool)
    scores = []
    for row in pool:
        score = 0.0
        for word in query:
            n, f = sum(word in other for other in pool), row.count(word)
            idf = math.log(1 + (len(pool) - n + 0.5) / (n + 0.5))
            score += idf * f / (f + k1 * (1 - b + b * len(row) / mean))
        scores.append(score)
    return scores


@given(pool=pools, query=texts)
def test_bm25_equals_its_definition(pool, query):
    k = sum(content_key(other) != content_key(query) for other in pool)
    scores = bm25([other.split() for other in pool], query.split())
    assert nearest_bm25(pool, [query], k)[0][::-1] == best_first(scores, pool, query, k)


def test_bm25_ranks_a_whole_pool_by_its_definition():
    """Long and short texts of few words, many of them repeated: another k1 or b orders them otherwise."""
    rng = random.Random(0)
    pool, asked = ([" ".join(rng.choices(SYLLABLES, k=rng.randint(1, 12))) for _ in range(n)] for n in (40, 20))
    rows, wanted = [other.split() for other in pool], []
    for k1, b in ((1.5, 0.75), (1.2, 0.75), (1.5, 0.7)):
        wanted.append([best_first(bm25(rows, query.split(), k1, b), pool, query, 30)[::-1] for query in asked])
    found = nearest_bm25(pool, asked, 30)
    assert found == wanted[0] and found not in wanted[1:]


def test_bm25_takes_every_word_as_it_is(capfd):
    """No stop words, no stems, no lost single letters, digits or symbols; case does not matter; no progress bars."""
    pool = ["fi zeking", "fi zek", "the fi", "a fi", "fi 7", "fi +", "fi häus", "(Sat), fi"]
    asked = ["zek go", "zeking go", "THE go", "a go", "7 go", "go + go", "HÄUS go", "sat go"]
    assert [row[-1] for row in nearest_bm25(pool, asked, 1)] == [1, 0, 2, 3, 4, 5, 6, 7]
    assert capfd.readouterr() == ("", "")


def test_ties_go_by_the_order_of_the_pool(llama):
    pool = ["fi go lu", "wug", "wug", "fi go mir", "wug"]
    assert nearest_bm25(pool, ["zek"], 3) == [[2, 1, 0]], "nothing in common with any"
    assert nearest_bm25(pool, ["wug zek"], 4) == [[0, 4, 2, 1]]
    ((*_, third, second, first),) = nearest_embedding(llama, ["zek", *["wug"] * 3], ["wug wug"], 4)
    assert [i for i in (first, second, third) if i] == sorted(i for i in (first, second, third) if i)


# Embeddings


@WITH_A_MODEL
@given(pool=pools, queries=st.lists(texts, min_size=1, max_size=4), data=st.data())
def test_nearest_embedding_equals_a_naive_search(llama, pool, queries, data):
    free = min(sum(content_key(other) != content_key(q) for other in pool) for q in queries)
    k = data.draw(st.integers(0, free))
    vectors = {one: v.astype(float) for one, v in zip(pool + queries, embed(llama, pool + queries), strict=True)}
    for query, row in zip(queries, nearest_embedding(llama, pool, queries, k), strict=True):
        cosines = [float(vectors[query] @ vectors[other]) for other in pool]
        assert row[::-1] == best_first(cosines, pool, query, k)


def test_the_nearest_of_all_stands_last(llama):
    """A longer list puts more in front: what stands next to the query stays."""
    pool, asked = drawn(2, 30), drawn(3, 5)
    for choose in (nearest_bm25, lambda *options: nearest_embedding(llama, *options)):
        few, many = choose(pool, asked, 4), choose(pool, asked, 20)
        assert [row[-4:] for row in many] == few


# Medoids


def distances(lm, pool: list[str]) -> np.ndarray:
    vectors = embed(lm, pool).astype(float)
    return 1 - vectors @ vectors.T


def loss(distances: np.ndarray, chosen) -> float:
    """Total distance to the nearest chosen one."""
    return float(distances[:, list(chosen)].min(1).sum())


def test_medoids_are_the_best_pair_or_close_to_it(llama):
    """Brute force over all pairs of 9 texts: the very best for most pools, and never 10 % worse."""
    ratios = []
    for seed in range(30):
        d = distances(llama, pool := drawn(seed, 9))
        best = min(loss(d, pair) for pair in combinations(range(9), 2))
        ratios.append(loss(d, medoids(llama, pool, 2, seed)) / best)
    assert min(ratios) > 1 - 1e-9 and max(ratios) < 1.1
    assert np.mean(np.array(ratios) < 1 + 1e-9) > 0.6


@pytest.mark.parametrize("k", [1, 4, 8])
def test_medoids_stand_for_the_pool_better_than_random_sets(llama, k):
    for seed in range(5):
        d = distances(llama, pool := drawn(seed, 30))
        found = medoids(llama, pool, k, seed)
        others = [loss(d, random.Random(i).sample(range(30), k)) for i in range(200)]
        assert loss(d, found) < np.quantile(others, 0.05) + 1e-6
        swaps = [loss(d, [*found[:i], j, *found[i + 1 :]]) for i in range(k) for j in range(30)]
        assert loss(d, found) < min(swaps) + 1e-6, "no single swap improves it"


def test_the_medoid_of_the_largest_cluster_stands_first(llama):
    for seed in range(5):
        d = distances(llama, pool := drawn(seed, 30))
        found = medoids(llama, pool, 5, seed)
        sizes = np.bincount(d[:, found].argmin(1), minlength=5)
        assert sizes.sum() == 30 and sorted(sizes, reverse=True) == list(sizes)


def test_medoids_depend_on_the_seed_and_leave_out_the_queries(llama):
    pool = drawn(4, 30)
    assert len({tuple(medoids(llama, pool, 6, seed)) for seed in range(10)}) > 1
    asked = [pool[i] for i in medoids(llama, pool, 6, 0)]
    rest = [other for other in pool if other not in asked]
    assert [pool[i] for i in medoids(llama, pool, 6, 0, asked)] == [rest[i] for i in medoids(llama, rest, 6, 0)]
    assert sorted(medoids(llama, pool, 30, 0)) == list(range(30))
