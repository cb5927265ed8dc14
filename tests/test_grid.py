"""One row an item, costs that add up, and one loop that leaves no trace of how it was computed."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

import adaptlab as al
from adaptlab.engine.folders import ModelNotFound
from adaptlab.engine.generation import Completion
from adaptlab.engine.kv_sharing import Trie
from adaptlab.engine.scoring import Cost, OptionScore, Request, score
from adaptlab.evidence import record
from adaptlab.evidence.evaluate import TOKENS, align_items, evaluate, evaluate_turns, grid
from adaptlab.methods.answering import Generations, OptionScores, in_context, shown
from adaptlab.methods.prompting import LABEL_MAPPINGS
from adaptlab.tasks.records import Conversation, Instruction, Labelled, Message
from adaptlab.tasks.splits import LabelledSet, OpenSet

LABELS = ("hot", "cold")
WEATHER = [("sunny", "hot"), ("icy", "cold")]
POOL = tuple(Labelled(f"p{i}", f"{word} day {i}", label) for i, (word, label) in enumerate(WEATHER * 6))
TEST = tuple(Labelled(f"t{i}", f"{word} night {i}", label) for i, (word, label) in enumerate(WEATHER * 4))
DATA = LabelledSet("weather", LABELS, POOL, TEST, "One of {names}:")
WORDS = "owl bee fox cat dog ant elk hen pig cow".split()
ECHO = tuple(Instruction(f"e{i}", f"{word} {word}", "", word) for i, word in enumerate(WORDS))
WRITING = OpenSet("echo", ECHO[:6], ECHO[6:], "pairs")
AXES = {"seed": [0, 1], "shots": [0, 2, 4]}


def sorting(lm, labels="letters", order=0):
    return lambda seed, shots, labels=labels: in_context(lm, DATA, shots, seed, label_mapping=labels, order=order)


def writing(lm, **more):
    decoding = al.Decoding(max_new_tokens=8)
    return lambda seed, shots: shown(lm, WRITING.sample(shots, seed), WRITING.prompt_format, decoding=decoding, **more)


class Fixed:
    """A method whose answers are known."""

    name, model, shots = "fixed", "none", 3

    def answer(self, items, prefix_cache=None):
        options = [{"hot": OptionScore(-1.0, 1), "cold": OptionScore(-2.0, 4)} for _ in items]
        return OptionScores(options, Cost(prefilled=10, cached=4, scored=20, per_option=100, seconds=2.0))


def test_rows_follow_from_the_answers():
    frame, _ = evaluate(Fixed(), TEST)
    assert list(frame.item) == [i.id for i in TEST]
    assert list(frame.correct) == [i.label == "hot" for i in TEST]
    assert set(frame.choice) == {"hot"}
    assert frame.gold_prob[0] == pytest.approx(math.e**-1 / (math.e**-1 + math.e**-2))
    assert (frame[["model", "method", "shots"]] == ["none", "fixed", 3]).all(axis=None)
    totals = frame[[*TOKENS, "seconds"]].sum()
    assert list(totals) == pytest.approx([10, 4, 20, 0, 0, 0, 100, 2])


def test_a_right_answer_that_was_cut_off_is_not_correct():
    class Told(Fixed):
        def answer(self, items, prefix_cache=None):
            texts = [Completion("owl", True, (1,)), Completion("owl", False, (1,)), Completion("bee", True, (1,))]
            return Generations(texts, [OptionScore(-1.0, 1)] * 3, Cost())

    frame, _ = evaluate(Told(), [Instruction(f"i{n}", "say owl", "", "owl") for n in range(3)])
    assert list(frame.correct) == [True, False, False] and list(frame.output) == ["owl", "owl", "bee"]


def test_scores_without_texts_have_no_correctness(llama):
    frame = grid(writing(llama, generates=False), WRITING.items(3), seed=[0], shots=[1])
    assert frame.correct.isna().all() and frame.decoded.sum() == 0 and frame.token_logprob.notna().all()


@pytest.mark.parametrize("make", [sorting, writing])
def test_a_grid_gives_every_combination_once(llama, make):
    items = DATA.items(4) if make is sorting else WRITING.items(4)
    frame = grid(make(llama), items, nested="shots", **AXES)
    assert frame.groupby(["shots", "seed", "item"]).size().eq(1).all() and len(frame) == 3 * 2 * 4
    assert frame.groupby(["seed", "shots"])["item"].apply(tuple).nunique() == 1, "the same items throughout"


@pytest.mark.parametrize("make", [sorting, writing])
def test_shared_prefixes_change_nothing(llama, make):
    """Nested rows equal a pass of its own for every prompt (fp32, 1e-4)."""
    items = DATA.items(4) if make is sorting else WRITING.items(4)
    methods, frame = make(llama), grid(make(llama), items, nested="shots", **AXES)
    for seed, shots in itertools.product(*AXES.values()):
        method = methods(seed=seed, shots=shots)
        if make is sorting:
            requests, gold = [method.request(i) for i in items], [LABELS.index(i.label) for i in items]
        else:
            requests = [Request(method.prompt(i.query), (f" {i.output}",)) for i in items]
            gold = [0] * len(items)
        plain = score(llama, requests, plan="plain").options
        rows = frame[(frame.seed == seed) & (frame.shots == shots)]
        expected = [row[place].logprob for row, place in zip(plain, gold, strict=True)]
        assert list(rows.gold_logprob) == pytest.approx(expected, abs=1e-4)


def test_cells_that_no_seed_changes_are_evaluated_and_counted_once(llama):
    frame = grid(writing(llama), WRITING.items(4), seed=[0, 1, 2], shots=[0, 2])
    bare = frame[frame.shots == 0]
    assert bare.groupby("item").output.nunique().eq(1).all()
    spent = bare.groupby("seed")[[*TOKENS, "seconds"]].sum()
    assert spent.loc[0, "scored"] > 0 and spent.loc[[1, 2]].eq(0).all(axis=None)
    alone = grid(writing(llama), WRITING.items(4), seed=[2], shots=[0, 2])
    kept = ["item", "output", "gold_logprob", "shots"]
    pd.testing.assert_frame_equal(frame[frame.seed == 2][kept].reset_index(drop=True), alone[kept])


def test_letters_that_a_seed_deals_out_are_evaluated_for_each(llama):
    frame = grid(sorting(llama, "letters"), DATA.items(4), seed=[0, 3], shots=[0])
    named = {in_context(llama, DATA, 0, seed, label_mapping="letters").ask.label_names for seed in (0, 3)}
    assert len(named) == 2, "another letter for each label"
    assert frame.groupby("seed").scored.sum().gt(0).all()


def test_the_same_method_with_other_items_is_evaluated_again(llama):
    split = {0: TEST[:2], 1: TEST[2:4]}
    frame = grid(lambda seed: in_context(llama, DATA, 0), lambda seed: split[seed], seed=[0, 1])
    assert list(frame["item"]) == [i.id for i in TEST[:4]] and frame.groupby("seed").scored.sum().gt(0).all()


def test_columns_and_measures_of_ones_own(llama):
    frame = grid(
        lambda seed, way: (Fixed(), {"size": len(way)}),
        TEST[:2],
        measure=lambda method, items: pd.DataFrame({"item": [i.id for i in items], "name": method.name}),
        seed=[5],
        way=["a", "abc"],
    )
    assert list(frame.columns) == ["item", "name", "size", "seed", "way"]
    assert list(frame["size"]) == [1, 1, 3, 3] and set(frame.seed) == {5}


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"shots": [0]}, "needs the axis 'seed'; axes: shots"),
        ({"seed": []}, "seed must name at least one"),
        ({"seed": [1, 1]}, "none of them twice"),
        ({"seed": [0], "labels": "words"}, "labels must name at least one"),
        ({"seed": [0], "nested": "order"}, "needs the axis 'order'"),
    ],
)
def test_bad_axes_are_refused_before_anything_runs(axes, message):
    with pytest.raises(ValueError, match=message):
        grid(None, TEST, **axes)


def test_nested_demonstrations_are_paid_for_once(llama):
    frame = grid(sorting(llama), DATA.items(6), nested="shots", labels=LABEL_MAPPINGS, **AXES)
    spent = frame.groupby(["labels", "seed", "shots"])[["prefilled", "cached"]].sum()
    for _, run in spent.groupby(["labels", "seed"]):
        assert (run.cached.to_numpy()[1:] >= 0.5 * run[["prefilled", "cached"]].sum(axis=1).to_numpy()[:-1]).all()
    assert frame.per_option.sum() > 3 * frame[["prefilled", "scored"]].sum().sum()


def spent_and_needed(lm, data, shots, seeds, n=0) -> tuple[float, int]:
    """Tokens that a curve computed, and the size of the smallest tree that holds all its prompts and options."""
    items, needed = data.items(n), 0
    make = lambda seed, shots: in_context(lm, data, shots, seed, label_mapping="letters")  # noqa: E731
    frame = grid(make, items, nested="shots", seed=seeds, shots=shots)
    for seed in seeds:
        trie = Trie()
        for k in shots:
            for request in map(make(seed, k).request, items):
                for option in request.options:
                    trie.insert(lm.encode(request.context + option)[:-1])
        needed += len(trie)
    return frame[["prefilled", "scored"]].sum().sum(), needed


def test_a_curve_costs_little_more_than_its_tree(llama):
    spent, needed = spent_and_needed(llama, DATA, [0, 1, 2, 4, 8], [0, 1])
    assert needed <= spent <= 1.2 * needed


@pytest.mark.real
@pytest.mark.slow
def test_a_real_curve_costs_little_more_than_its_tree():
    """Zero to 64 shots x 5 samples x 200 messages on a real model: at most 1.2 times the tokens of the tree."""
    try:
        lm = al.load("gemma-3-270m")
    except ModelNotFound as error:
        pytest.skip(str(error).splitlines()[0])
    spent, needed = spent_and_needed(lm, al.load_task("messages"), [0, 1, 2, 4, 8, 16, 32, 64], [0, 1, 2, 3, 4])
    print(f"\ncomputed {spent:,.0f} tokens; the tree has {needed:,}: {spent / needed:.3f} times")
    assert needed <= spent <= 1.2 * needed


def test_tasks_are_compared_by_the_place_of_their_items(llama):
    frames = {
        "sorting": grid(sorting(llama), DATA.items(4), seed=[0, 1], shots=[0, 4, 6]),
        "requests": grid(writing(llama), WRITING.items(4), seed=[0, 1], shots=[0, 4, 6]),
    }
    frame = align_items(frames)
    assert frame.groupby("task")["item"].apply(lambda i: tuple(i.unique())).nunique() == 1
    assert al.claim("ICL-TASKS", frame).interval.n_items == 4
    assert al.claim("ICL-SATURATES", frame).interval.n_seeds == 2


def test_turns_are_rows(llama):
    talks = [
        Conversation(f"c{i}", (Message("user", f"Say {i}"), Message("user", "Again")), references=(str(i), "y"))
        for i in range(3)
    ]
    frame = grid(writing(llama), talks, measure=evaluate_turns, seed=[0], shots=[0, 1])
    assert frame.groupby(["shots", "turn"]).size().eq(3).all() and set(frame.gold) == {"0", "1", "2", "y"}


def test_naive_bayes_learns_what_words_tell():
    untrained = al.NaiveBayes((), LABELS).answer(TEST).options
    assert all(o["hot"].logprob == o["cold"].logprob for o in untrained)
    frame, _ = evaluate(al.NaiveBayes(tuple(DATA.sample(4, 0)), LABELS), TEST)
    assert frame.correct.all() and frame.per_option.sum() == 0
    known = al.NaiveBayes((Labelled("a", "sun sun ice", "hot"),), LABELS).answer([Labelled("x", "sun", "hot")])
    # hot: prior 2/3, (2 + 1) / (3 + 3); cold: prior 1/3, (0 + 1) / (0 + 3)
    assert known.options[0]["hot"].logprob == pytest.approx(math.log(2 / 3) + math.log(3 / 6))
    assert known.options[0]["cold"].logprob == pytest.approx(math.log(1 / 3) + math.log(1 / 3))


def test_a_dictionary_says_what_the_examples_give_away():
    data = al.load_open("lexicon", pool=40, test=10)
    make = lambda seed, shots: al.WordForWord(tuple(data.sample(shots, seed)))  # noqa: E731
    frame = grid(make, data.items(), seed=[0, 1], shots=[0, 4, 40])
    mean = frame.groupby("shots").correct.mean()
    assert mean[0] == 0 <= mean[4] < mean[40] == 1
    assert frame.token_logprob.isna().all() and frame.per_option.sum() == 0


def test_the_bill_adds_up(llama):
    frame = grid(sorting(llama), DATA.items(6), nested="shots", labels=LABEL_MAPPINGS, **AXES)
    bill = record.cost(frame)
    rows = bill.payload["rows"]
    assert [r["labels"] for r in rows] == list(LABEL_MAPPINGS)
    for token in TOKENS:
        assert sum(r[token] for r in rows) == pytest.approx(frame[token].sum(), abs=0.01)
    assert "seconds" not in bill.text and "item by item" in bill.text and "option by option" in bill.html


def test_provenance_names_what_a_rerun_needs(llama, tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"abc")
    payload = record.provenance(llama, {"data": path}, {"seeds": [1, 2]}).payload
    assert payload["model_digest"] == llama.digest and payload["seeds"] == [1, 2]
    assert payload["data"]["data"].startswith("ba7816bf")
    assert payload["peak_rss_bytes"] > 50 * 2**20
    assert np.isfinite(payload["threads"])
