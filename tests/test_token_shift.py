"""Token-distribution shift, against its definition by hand; and the distributions that it rests on."""

import pandas as pd
import pytest
import torch

from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.models import load
from adaptlab.engine.scoring import along
from adaptlab.evidence.claims import claim
from adaptlab.evidence.token_shift import SHIFTS, Source, by_part, token_shift
from adaptlab.studies import alignment_by_context
from adaptlab.tasks.records import Instruction
from adaptlab.tasks.sets import load_open
from conftest import tiny_lm

ITEMS = [Instruction(f"i{n}", text, "", "x") for n, text in enumerate(("the red house", "option two", "message: my"))]
HOW = Decoding(max_new_tokens=6, stop=())


def bare(item):
    return item.instruction


def shown(item):
    return f"the blue house by the road\n{item.instruction}"


@pytest.mark.parametrize("prompt", [bare, shown])
def test_distributions_are_those_of_one_pass_each(any_lm, prompt):
    prompts = [prompt(item) for item in ITEMS]
    answers = [w.tokens for w in generate(any_lm, prompts, HOW).completions]
    for text, answer, found in zip(prompts, answers, along(any_lm, prompts, answers), strict=True):
        ids = [*any_lm.encode(text), *answer]
        with torch.inference_mode():
            logits = any_lm.model(torch.tensor([ids])).logits[0, len(ids) - len(answer) - 1 : -1]
        assert torch.allclose(found, logits.log_softmax(-1), atol=1e-4)


def test_distributions_of_models_that_cannot_be_packed():
    lm = tiny_lm("bloom-alibi")
    (found,) = along(lm, ["the red house"], [(5, 6)])
    assert found.shape == (2, lm.vocabulary) and torch.allclose(found.exp().sum(-1), torch.ones(2), atol=1e-4)


def test_what_does_not_fit_is_refused(llama):
    with pytest.raises(ValueError, match="do not fit into 256"):
        list(along(llama, ["a " * 200], [tuple(range(2, 80)) * 2]))
    with pytest.raises(ValueError, match="at least one token"):
        list(along(llama, ["a"], [()]))


def test_a_source_is_not_shifted_against_itself(llama):
    source = Source("same", llama, shown)
    frame = token_shift(source, source, ITEMS, HOW)
    assert (frame["rank"] == 1).all() and (frame.kind == "unshifted").all() and frame.kl.abs().max() < 1e-5
    frame = frame.assign(ended=True, part=frame.part.mask(frame.place == frame.place.max(), "last"))
    parts = by_part(frame)
    assert parts.beyond_half.eq(0.5).all() and parts.shifted.eq(0).all()


def test_ranks_kinds_and_divergence_follow_the_definition(llama):
    frame = token_shift(Source("a", llama, shown), Source("b", llama, bare), ITEMS, HOW, seed=4)
    texts = generate(llama, [shown(item) for item in ITEMS], HOW).completions
    assert list(frame.groupby("item", sort=False).size()) == [len(w.tokens) for w in texts]
    for item, completions in zip(ITEMS, texts, strict=True):
        for n, row in enumerate(frame[frame["item"] == item.id].itertuples()):
            after, before = (
                llama.model(torch.tensor([[*llama.encode(make(item)), *completions.tokens[:n]]])).logits[0, -1]
                for make in (shown, bare)
            )
            p, q = after.softmax(-1), before.softmax(-1)
            rank = 1 + int((q > q[completions.tokens[n]]).sum())
            assert row.rank == rank and row.kind == SHIFTS[0 if rank == 1 else 1 if rank <= 3 else 2]
            assert row.kl == pytest.approx(float((p * (p / q).log()).sum().detach()), abs=1e-3)
            assert row.base_prob == pytest.approx(float(q[completions.tokens[n]].detach()), abs=1e-4)
    assert set(frame.seed) == {4} and frame.kl.min() > -1e-5
    parts = frame.groupby("item").part.agg(list)
    assert all(p == ["first", *["middle"] * (len(p) - 1)] for p in parts), "answers that were cut off have no end"


def test_shares_follow_from_the_ranks():
    rows = [(0, "first", 5), (1, "middle", 1), (2, "middle", 2), (3, "middle", 4), (4, "last", 3)]
    frame = pd.DataFrame(rows, columns=["place", "part", "rank"]).assign(model="m", seed=0, item="i", ended=True)
    found = by_part(frame).set_index("part")
    assert found.shifted.to_dict() == {"all": 2 / 5, "first": 1, "last": 0, "middle": 1 / 3}
    assert found.beyond_half["all"] == pytest.approx(1 / 5 - 1 / 2)


def test_an_answer_ends_with_the_first_token_behind_its_last_visible_sign():
    lm = load("study")
    data = load_open("requests")
    writer = alignment_by_context.behind(lm, data, 3, "restyled", 0)
    source = Source("a", lm, lambda item: writer.prompt(item.query))
    frame = token_shift(source, source, data.test[:8], writer.decoding)
    frame = frame[frame.ended]
    assert frame["item"].nunique() > 4
    for _, rows in frame.groupby("item"):
        said, end = "".join(rows.token.iloc[:-1]), rows.token.iloc[-1]
        assert said == said.rstrip() and said.endswith(".") and not end.strip()
        assert list(rows.part) == ["first", *["middle"] * (len(rows) - 2), "last"]


def test_answers_without_a_middle_are_left_out_in_every_draw(llama):
    frame = token_shift(Source("a", llama, shown), Source("b", llama, bare), ITEMS, HOW)
    frame = frame.assign(ended=True, part=frame.part.mask(frame.place == frame.place.max(), "last"))
    short = frame[(frame["item"] != "i1") | frame.place.lt(2)].assign(seed=1)
    both = by_part(pd.concat([frame, short]))
    cut = frame.assign(ended=frame["item"] != "i0")
    assert set(by_part(cut)["item"]) == {"i1", "i2"}
    with pytest.raises(ValueError, match="no rows"):
        claim("FT-SHIFT-EARLY", by_part(frame.assign(ended=False)))
    assert set(both["item"]) == {"i0", "i2"} and both.groupby(["seed", "item"]).size().eq(4).all()


def test_sources_of_other_tokens_and_sampled_answers_are_refused(llama):
    other = tiny_lm("llama", seed=1)
    other.tokenizer.add_tokens(["<more>"])
    with pytest.raises(ValueError, match="read different tokens"):
        token_shift(Source("a", llama, bare), Source("b", other, bare), ITEMS, HOW)
    with pytest.raises(ValueError, match="is greedy"):
        token_shift(Source("a", llama, bare), Source("b", llama, bare), ITEMS, Decoding(temperature=1.0))
