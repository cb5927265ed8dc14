"""The packaged models: they load, they are sane, and packed scoring is exact on them."""

import functools

import pytest
import torch

from adaptlab.engine import folders, models
from adaptlab.engine.scoring import Request, score
from adaptlab.methods.answering import in_context
from adaptlab.tasks.sets import load_messages

DATA = load_messages()
# Long enough for Gemma 3 to lose sight of the prompt's beginning: its sliding layers see 512 tokens.
SHOTS = {"gemma-3-270m": 32, "smollm2-135m-instruct": 8}
NAMES = [m.name if m.installed else pytest.param(m.name, marks=pytest.mark.skip(m.how)) for m in folders.available()]
EACH = pytest.mark.parametrize("name", NAMES)
pytestmark = pytest.mark.real


@functools.cache
def loaded(name):
    return models.load(name, device="cpu", dtype="float32")


def naive(lm, question: Request) -> list[float]:
    """One plain forward pass for every distinct input: no cache, no mask, no packing."""
    context = lm.encode(question.context)

    @functools.cache
    def logprobs(ids):
        with torch.inference_mode():
            return lm.model(torch.tensor([ids])).logits[0, len(context) - 1 :].double().log_softmax(-1)

    values = []
    for option in question.options:
        ids = lm.encode(question.context + option)
        assert ids[: len(context)] == context
        rows = logprobs(tuple(ids[:-1]))
        values.append(sum(float(rows[i, token]) for i, token in enumerate(ids[len(context) :])))
    return values


def questions(lm, n: int) -> list[Request]:
    """Prompts with one-token options, and every fourth with options of several tokens."""
    method = in_context(lm, DATA, SHOTS[lm.name])
    made = [method.request(item) for item in DATA.test[:n]]
    longer = tuple(f"{o} desk, please" for o in made[0].options)
    return [Request(q.context, longer if i % 4 == 3 else q.options) for i, q in enumerate(made)]


def check(lm, n: int) -> None:
    asked = questions(lm, n)
    result = score(lm, asked)
    assert result.plan == "trie"
    for question, row in zip(asked, result.options, strict=True):
        expected = naive(lm, question)
        found = [option.logprob for option in row]
        assert found == pytest.approx(expected, abs=1e-4)
        assert max(range(4), key=found.__getitem__) == max(range(4), key=expected.__getitem__)


@EACH
def test_packed_scoring_is_exact(name):
    check(loaded(name), 12)


@EACH
@pytest.mark.slow
def test_packed_scoring_is_exact_on_200_items(name):
    check(loaded(name), 200)


def test_the_prompts_are_longer_than_gemmas_window():
    lm = loaded("gemma-3-270m")
    assert "sliding_attention" in lm.model.config.layer_types
    assert len(lm.encode(questions(lm, 1)[0].context)) > lm.model.config.sliding_window


@EACH
def test_it_knows_some_english(name):
    (row,) = score(loaded(name), [Request("The capital of France is", (" Paris", " bread", " seven"))]).options
    assert max(row, key=lambda option: option.logprob) is row[0]


@EACH
def test_padding_and_end_are_told_apart(name):
    tokenizer = loaded(name).tokenizer
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id, tokenizer.bos_token_id)
