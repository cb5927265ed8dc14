"""Packed scoring gives the numbers that one forward pass per option gives: same values, fewer tokens."""

from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, processors

from adaptlab.engine import kv_sharing, machine, plain, scoring
from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.lm import shared_length
from adaptlab.engine.models import load
from adaptlab.engine.scoring import Request, score
from conftest import tiny_lm

WORDS = "the red house river desk repair order late one two three yes no a b".split()
phrases = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
options = st.lists(phrases.map(" ".__add__), min_size=1, max_size=4, unique=True).map(tuple)
prompts = st.lists(st.tuples(phrases, options), min_size=1, max_size=6)
EASY = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def naive(lm, question: Request) -> list[float]:
    """The definition: one forward pass per option, all logits, no cache."""
    context = lm.encode(question.context)
    values = []
    for option in question.options:
        ids = lm.encode(question.context + option)
        assert ids[: len(context)] == context, "this reference needs a clean seam"
        with torch.inference_mode():
            logprobs = lm.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        values.append(sum(float(logprobs[i - 1, ids[i]]) for i in range(len(context), len(ids))))
    return values


def assert_same(found, expected, tolerance=1e-4):
    for row, reference in zip(found, expected, strict=True):
        assert [o.logprob for o in row] == pytest.approx(reference, abs=tolerance)


@EASY
@given(prefix=phrases, items=prompts)
def test_packed_equals_naive_on_random_trees(any_lm, prefix, items):
    questions = [Request(f"{prefix}\n{text}:", opts) for text, opts in items]
    result = score(any_lm, questions)
    assert result.plan == "trie"
    assert_same(result.options, [naive(any_lm, q) for q in questions])


@EASY
@given(prefix=phrases, items=prompts)
def test_plain_equals_naive(llama, prefix, items):
    questions = [Request(f"{prefix}\n{text}:", opts) for text, opts in items]
    assert_same(score(llama, questions, plan="plain").options, [naive(llama, q) for q in questions])


@EASY
@given(first=phrases, more=st.lists(phrases, min_size=1, max_size=4), items=prompts)
def test_nested_prompts_reuse_and_agree_with_scratch(any_lm, first, more, items):
    prompt, prefix_cache = f"{first}\n\n", kv_sharing.EMPTY
    for extra in more:
        prompt += f"{extra}\n\n"
        questions = [Request(f"{prompt}{text}:", opts) for text, opts in items]
        grown, fresh = score(any_lm, questions, prefix_cache=prefix_cache), score(any_lm, questions)
        assert_same(grown.options, [[o.logprob for o in row] for row in fresh.options])
        assert grown.cost.prefilled + grown.cost.cached == fresh.cost.prefilled
        assert grown.cost.prefilled <= fresh.cost.prefilled - shared_length(prefix_cache.ids, fresh.prefix_cache.ids)
        prefix_cache = grown.prefix_cache


@EASY
@given(a=phrases, b=phrases, items=prompts)
def test_a_foreign_prefix_is_harmless(llama, a, b, items):
    questions = [Request(f"{a}\n{text}:", opts) for text, opts in items]
    other = score(llama, [Request(f"{b}\n{text}:", opts) for text, opts in items]).prefix_cache
    assert_same(
        score(llama, questions, prefix_cache=other).options,
        [[o.logprob for o in r] for r in score(llama, questions).options],
    )


def test_a_prefix_of_another_model_is_not_used(llama):
    """Base and tuned model side by side share tokens and nothing else."""
    questions = [Request("the red house by the river:", (" yes", " no"))]
    other = tiny_lm("llama", seed=1)
    foreign = score(llama, questions).prefix_cache
    result = score(other, questions, prefix_cache=foreign)
    assert result.cost.cached == 0
    assert_same(result.options, [naive(other, q) for q in questions])


@pytest.mark.parametrize("plan", ["trie", "plain"])
def test_rows_split_by_size_and_memory_give_the_same_numbers(llama, monkeypatch, plan):
    questions = [Request(f"the house {w}:", (" yes", " no", " the red river")) for w in WORDS * 3]
    whole = score(llama, questions, plan=plan)
    passes = []
    forward = llama.model.forward
    monkeypatch.setattr(llama.model, "forward", lambda *a, **k: passes.append(1) or forward(*a, **k))
    counted = {}
    for name, room, nodes in (("whole", 2**30, 768), ("tight", 10_000, 768), ("small", 2**30, 16)):
        monkeypatch.setattr(scoring, "ROW_TOKENS", nodes)
        monkeypatch.setattr(machine, "room", lambda device, room=room: room)
        passes.clear()
        assert_same(
            score(llama, questions, plan=plan).options,
            [[o.logprob for o in row] for row in whole.options],
        )
        counted[name] = len(passes)
    assert counted["tight"] > counted["whole"]
    assert plan == "plain" or counted["small"] > counted["whole"]


def test_plain_batches_keep_to_their_memory(llama, monkeypatch):
    """A short question beside a long one makes the kept logits reach from the one's start to the other's end."""
    questions = [Request("the " * n + "house:", (" yes", " no")) for n in (1, 60, 2, 55, 3)]
    encoded = scoring._encode(llama, questions)
    rows = sorted(((s, e.start) for e in encoded for s in e.sequences), key=lambda row: len(row[0]))
    monkeypatch.setattr(machine, "room", lambda device: 100_000)
    for batch in plain.batches(llama, rows):
        width, first = max(len(s) for s, _ in batch), min(start for _, start in batch) - 1
        assert len(batch) == 1 or 8 * len(batch) * (width - first) * llama.vocabulary <= 100_000


def test_cost_counts_what_the_trie_needs_and_what_naive_scoring_would():
    lm = tiny_lm("llama")
    questions = [Request("aaaa the red:", (" yes", " no")), Request("aaaa the blue:", (" yes", " no"))]
    result = score(lm, questions)
    sequences = [lm.encode(q.context + o) for q in questions for o in q.options]
    assert result.cost.per_option == sum(len(s) - 1 for s in sequences), "nobody has to run the last token"
    shared = result.cost.prefilled
    assert all(s[:shared] == sequences[0][:shared] for s in sequences)
    assert result.cost.scored == len({tuple(s[: i + 1]) for s in sequences for i in range(shared, len(s) - 1)})


def test_lengths_are_those_of_the_option(llama):
    (row,) = score(llama, [Request("the house:", (" yes", " fée"))]).options
    assert row[0].tokens == len(llama.encode("the house: yes")) - len(llama.encode("the house:"))


def test_a_merge_across_the_seam_moves_the_start_for_all_options(llama):
    """'the' + 'n' may become other tokens than 'the', 'n': all options are then scored from the earlier place."""
    context, opts = "the red ho", ("use", "me", "x")
    ids = [llama.encode(context + o) for o in opts]
    separator = min(shared_length(llama.encode(context), i) for i in ids)
    assert separator < len(llama.encode(context)), "the example must merge"
    (row,) = score(llama, [Request(context, opts)]).options
    for option, sequence in zip(row, ids, strict=True):
        assert option.tokens == len(sequence) - separator
        with torch.inference_mode():
            logprobs = llama.model(torch.tensor([sequence])).logits[0].double().log_softmax(-1)
        expected = sum(float(logprobs[i - 1, sequence[i]]) for i in range(separator, len(sequence)))
        assert option.logprob == pytest.approx(expected, abs=1e-4)


def test_tokens_that_a_tokenizer_appends_are_not_scored(llama):
    """Some tokenizers close every text with an EOS: it belongs to neither the context nor an option."""
    tokenizer = tiny_lm("llama").tokenizer
    plain = score(llama, [Request("the house:", (" yes", " no no"))]).options
    eos = tokenizer.eos_token
    tokenizer.bos_token = "<pad>"
    tokenizer._tokenizer.post_processor = processors.TemplateProcessing(
        single=f"<pad> $A {eos}", special_tokens=[("<pad>", 0), (eos, tokenizer.eos_token_id)]
    )
    lm = replace(llama, tokenizer=tokenizer)
    assert tokenizer("x").input_ids[-1] == tokenizer.eos_token_id and lm.encode("x")[0] == 0
    (row,) = score(lm, [Request("the house:", (" yes", " no no"))]).options
    assert [o.tokens for o in row] == [o.tokens for o in plain[0]]


def test_an_option_without_tokens_is_refused(llama):
    tokenizer = tiny_lm("llama").tokenizer
    tokenizer._tokenizer.normalizer = normalizers.Strip(left=False, right=True)
    with pytest.raises(ValueError, match="makes no token of the option"):
        score(replace(llama, tokenizer=tokenizer), [Request("the house:", (" yes", "  "))])


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (Request("the house:", ()), "needs options"),
        (Request("the house:", (" yes", "")), "none of them empty"),
        (Request("", ("yes",)), "nothing to condition on"),
        (Request("the red house " * 200, (" yes",)), "has room for 256"),
    ],
)
def test_bad_questions_are_refused(llama, question, message):
    with pytest.raises(ValueError, match=message):
        score(llama, [question])


def test_unknown_plan_lists_the_plans(llama):
    with pytest.raises(ValueError, match=r"\('auto', 'trie', 'plain'\)"):
        score(llama, [Request("a", ("b",))], plan="fast")


def test_no_questions_cost_nothing(llama):
    assert score(llama, []).cost == scoring.Cost()


def test_texts_encoded_together_are_those_encoded_alone(any_lm):
    """Shared beginnings are encoded once: the same tokens, wherever texts part, and whatever stands at the seam."""
    page = "the red house stands by the river and the blue house by the road\n\n  message: the chain slips\n"
    ends = ["", " yes", "no", "\n", "  two", "a", "s", "\u0301e", "the river", "<eos>", " " * 5 + "x"]
    for cut in (0, 1, 20, 50, len(page) - 2, len(page)):
        texts = [page[:cut] + end for end in ends]
        assert any_lm.encode_all(texts) == [any_lm.encode(text) for text in texts]


STUDY = load("study", device="cpu")


@given(st.text(alphabet="ab \n.'1é", max_size=30), st.lists(st.text(alphabet="ab \n.'1é", max_size=6), max_size=6))
def test_no_seam_changes_a_token(head, tails):
    texts = [f"the red house {head}{tail}" for tail in tails]
    assert STUDY.encode_all(texts) == [STUDY.encode(text) for text in texts]


@pytest.mark.parametrize("plan", ["trie", "plain"])
def test_greedy_options_are_what_greedy_decoding_begins_with(any_lm, plan):
    context = "the red house stands"
    text = generate(any_lm, [context], Decoding(max_new_tokens=3, stop=()), plan="plain").completions[0]
    best = any_lm.tokenizer.decode(text.tokens)
    rows = score(any_lm, [Request(context, (best, " the river", " no"))], plan=plan).options[0]
    for option, found in zip((best, " the river", " no"), rows, strict=True):
        ids = any_lm.encode(context + option)
        logits = plain.logits(any_lm.model, ids[:-1])
        start = len(ids) - found.tokens
        assert found.greedy == all(int(logits[i - 1].argmax()) == ids[i] for i in range(start, len(ids)))


def test_what_questions_share_is_computed_once_also_between_rows(llama, monkeypatch):
    """Two pages of several questions each, of which one row holds few: each page becomes a prefix of its own."""
    pages = ["the red house stands by the river " * 3, "the blue house by the road and the red " * 3]
    questions = [Request(f"{page}: {w} {v}:", (" yes", " no")) for page in pages for w in WORDS for v in WORDS[:4]]
    whole = score(llama, questions)
    monkeypatch.setattr(scoring, "ROW_TOKENS", 60)
    rows = score(llama, questions)
    assert_same(rows.options, [[o.logprob for o in row] for row in whole.options])
    assert rows.cost.computed <= 1.35 * _nodes(llama, questions)
    tokens = zip(questions, rows.options, strict=True)
    alone = [len(llama.encode(q.context)) + sum(one.tokens - 1 for one in row) for q, row in tokens]
    assert rows.cost.per_item == sum(alone)


def _nodes(lm, questions):
    """How many tokens a tree of all questions and options has; the last of an option is only ever predicted."""
    paths = [lm.encode(one.context + option) for one in questions for option in one.options]
    return len({tuple(ids[: i + 1]) for ids in paths for i in range(len(ids) - 1)})
