"""Are the questions fair? Right answers follow, wrong ones do not, and nothing but reading finds them."""

import inspect
import random
import re
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from adaptlab.engine.generation import Completion
from adaptlab.engine.scoring import OptionScore, Scores
from adaptlab.studymodel import abilities, abilities_worlds, make, tokenizer
from adaptlab.studymodel.abilities import Ability, Attempts
from adaptlab.studymodel.recipes import RECIPES
from adaptlab.tasks import instructions, knowledge, notes, reasoning
from adaptlab.tasks.knowledge import Fact
from adaptlab.tasks.words import nouns
from test_corpus import agreement

seeds = st.integers(0, 10**6).map(random.Random)
FORMS = {*knowledge.INVERSES, *(form for pair in knowledge.COMPOSITIONS for form in pair)}


def facts_of(text: str) -> list[Fact]:
    sentences = re.findall(r"[a-z][a-z ]+", text.split(" So,")[0].removeprefix("Facts:"))
    found = [
        Fact(form, *match.groups())
        for sentence in sentences
        for form in sorted(FORMS)
        if (match := re.fullmatch(form.format(a=r"(\w+)", b=r"(\w+)"), sentence.strip()))
    ]
    assert len(found) == len(sentences)
    return found


@given(seeds, st.sampled_from(["forward", "reversal", "reversal, noun in two facts", "syllogism"]))
def test_the_first_option_follows_from_the_prompt_and_no_other_does(rng, name):
    question = abilities.CHOICES[name][0](rng, "test")
    given_ = facts_of(question.context)
    assert len(given_) == 8
    true = {fact.sentence for fact in (*given_, *knowledge.consequences(given_))}
    stem = question.context.split("So, ")[1]
    assert [f"{stem}{option}" in true for option in question.options] == [True, False, False, False]
    assert len(set(question.options)) == 4
    assert {option.strip() for option in question.options} <= set(nouns("test"))
    if name == "syllogism":
        assert f"{stem}{question.options[0]}" not in {fact.sentence for fact in given_}, "stated, not concluded"
    asked = {
        "forward": given_,
        "reversal": [fact.reversed for fact in given_],
        "syllogism": knowledge.consequences(given_),
    }
    if name in asked:  # what part a noun plays does not tell the right option
        assert {option.strip() for option in question.options} <= {fact.b for fact in asked[name]}


def test_forward_and_reversal_ask_for_the_same_fact_of_every_item(monkeypatch, llama):
    asked = []
    monkeypatch.setattr(
        abilities,
        "score",
        lambda lm, some: asked.append(some) or Scores([(OptionScore(-1.0, 1),) * 4] * len(some), None, None, "trie"),
    )
    for name in ("forward", "reversal", "unknown"):
        abilities.choices(llama, name, "test", 20)
    for forward, reversal, unknown in zip(*asked, strict=True):
        assert forward.context.split(" So, ")[0] == reversal.context.split(" So, ")[0]
        right = reversal.context.split(" So, ")[1].split()[0]
        assert forward.options[0].strip() == right and unknown.context == f"So, {reversal.context.split(' So, ')[1]}"
        assert unknown.options == reversal.options


@given(seeds)
def test_demonstrations_are_of_other_tasks(rng):
    asked = instructions.request(rng, "test")
    assert all(abilities._other_task(asked, rng, "test").task != asked.task for _ in range(20))


@given(seeds)
def test_of_two_facts_about_a_noun_the_relation_tells(rng):
    question = abilities.reversal_of_two(rng, "test")
    asked = question.context.split("So, ")[1].split()[0]
    partners = {fact.a for fact in facts_of(question.context) if fact.b == asked}
    assert partners == {option.strip() for option in question.options[:2]}


SORTING = [name for name in abilities.CHOICES if "classification" in name]


@pytest.mark.parametrize("name", SORTING)
def test_position_gives_no_label_away(name):
    """A reader who names the rarest label so far, without reading any note, stays near chance."""
    make, chance = abilities.CHOICES[name]
    rng, right = random.Random(0), 0
    for _ in range(400):
        question = make(rng, "test")
        labels = re.findall(r"Desk: (\w)", question.context)
        options = [option.strip() for option in question.options]
        rarest = min(options, key=lambda label: (labels.count(label), rng.random()))
        right += rarest == options[0]
    assert f"classification, {len(labels)} shots" in name
    assert right / 400 == pytest.approx(chance, abs=0.08)


@pytest.mark.parametrize(
    ("name", "right"), [("classification, 32 shots", 1), ("noisy classification, 32 shots", 5 / 6)]
)
def test_a_quarter_of_noisy_labels_is_drawn_at_random(name, right):
    """Of three labels, so two thirds of that quarter are wrong; the one asked for is right."""
    make, _ = abilities.CHOICES[name]
    agree = []
    for seed in range(60):
        shots = re.findall(r"Message: (.+)\nDesk: (\w)", make(random.Random(seed), "test").context)
        agree.append(max(agreement(shots, trait) for trait in notes.TRAITS))
    assert np.mean(agree) == pytest.approx(right, abs=0.05)


def test_ties_are_not_right_answers(monkeypatch, llama):
    even = OptionScore(-1.0, 1)
    monkeypatch.setattr(abilities, "score", lambda lm, asked: Scores([(even,) * 4] * len(asked), None, None, "trie"))
    assert abilities.choices(llama, "forward", "test", 5).n_correct == 0


def said(text: str, logprob: float = -1.0, stopped: bool = True) -> Completion:
    return Completion(text, stopped, (0,), (logprob,))


def test_grading_counts_greedy_first_samples_and_coverage():
    problem = partial(reasoning.Problem, "sums", "Sum 3 4.", steps=(3, 4))
    attempts = [
        Attempts(problem(answer="7"), said("So 7."), [said("So 6."), said("So 7.", -2.0)]),
        Attempts(problem(answer="8"), said("So 8", stopped=False), [said("So 7."), said("Quick: 9.", -2.0)]),
    ]
    counts = {one.name: one.n_correct for one in abilities.grade(attempts)}
    assert counts == {"sums, greedy": 1, "sums, one sample": 0, "sums, coverage of 2": 1}
    most, shorter = abilities.grade_most_probable(attempts)
    assert (most.correctness, shorter.correctness) == ((False, False), (False, False))


def test_the_most_probable_sample_is_a_finished_one():
    problem = reasoning.Problem("sums", "Sum 3 4.", "7", (3, 4))
    attempts = [
        Attempts(problem, said("7."), [said("So 7.", -0.1, stopped=False), said("6.", -1.0), said("So 7.", -2.0)]),
        Attempts(problem, said("7."), [said("6.", -2.0), said("So 7.", -1.0)]),
        Attempts(problem, said("7."), [said("7.", -1.0, stopped=False)] * 2),
    ]
    most, shorter = abilities.grade_most_probable(attempts)
    assert most.correctness == (False, True, False)
    assert shorter.correctness == (True, False, False)


def test_a_coin_is_as_good_as_chance_says():
    problem = reasoning.Problem("ontology", "Is it?", "yes", steps=())
    attempts = [Attempts(problem, said("no."), [said("yes."), said("no.")])]
    assert {one.name: one.chance for one in abilities.grade(attempts)} == {
        "ontology, greedy": 0.5,
        "ontology, one sample": 0.5,
        "ontology, coverage of 2": 0.75,
    }


def test_an_ability_knows_its_share_and_interval():
    ability = Ability("x", (True,) * 95 + (False,) * 5)
    low, high = ability.interval
    assert ability.share == 0.95 and (round(low, 3), round(high, 3)) == (0.888, 0.978)  # Wilson, by hand


def test_a_probe_leaves_the_model_in_training_and_draws_no_test_noun(monkeypatch):
    config = RECIPES["study"].config()
    config.max_position_embeddings = abilities_worlds.ROOM
    model, words, seen = LlamaForCausalLM(config), tokenizer.train(), set()
    for name in ("choices", "instruction", "solve"):
        real = getattr(make, name)

        def spy(*args, real=real, **kwargs):
            seen.add((real.__name__, inspect.signature(real).bind(*args, **kwargs).arguments["split"]))
            return real(*args, **kwargs)

        monkeypatch.setattr(make, name, spy)
    monkeypatch.setattr(make, "PROBED", ("forward",))
    model.train()
    found = make.probe(model, words, n=2, second=True)
    assert model.training and seen == {("choices", "probe"), ("instruction", "probe"), ("solve", "probe")}
    assert set(found) >= {"forward", "instruction, 0 shots", "arithmetic, greedy"}
