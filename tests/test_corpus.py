"""The study model's documents, its tokens and its batches."""

import random
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from adaptlab.studymodel import corpus, corpus_shots, pretrain, tokenizer
from adaptlab.studymodel.document import Document
from adaptlab.studymodel.pretrain import UNDETERMINED, batch, encode
from adaptlab.studymodel.recipes import FIRST, MIDDLE, RECIPES, SECOND, THIRD, Course, Phase
from adaptlab.tasks import knowledge, notes
from adaptlab.tasks.knowledge import Fact
from adaptlab.tasks.words import SPLITS, nouns

seeds = st.integers(0, 10**6)
kinds = st.sampled_from(list(corpus.KINDS))
budgets = st.integers(48, 1000)


@pytest.fixture(scope="module")
def words():
    return tokenizer.train()


# --- documents


@given(seeds, kinds, budgets)
def test_a_document_is_a_function_of_its_seed_and_holds_no_held_out_noun(seed, kind, budget):
    page, other = (corpus.KINDS[kind](random.Random(seed), budget) for _ in range(2))
    assert page == other and page.kind == kind and page.text.strip()
    assert not {*nouns("probe"), *nouns("test")} & set(re.findall(r"[a-z]+", page.text))
    ends = [0, *(place for span in page.determined for place in span)]
    assert ends == sorted(ends) and ends[-1] <= len(page.text), "determined spans are in order and inside"
    assert bool(page.determined) == (kind != "plain")


def _read(sentence: str) -> Fact | None:
    for form in {*knowledge.INVERSES, *(f for pair in knowledge.COMPOSITIONS for f in pair), knowledge.CAN}:
        if match := re.fullmatch(form.format(a=r"(\w+)", b=r"(\w+)"), sentence):
            return Fact(form, *match.groups())
    return None


@settings(max_examples=60)
@given(seeds, st.integers(48, 300), st.sampled_from([corpus.facts, corpus.relations, corpus.chains]))
def test_every_conclusion_follows_from_the_facts_of_its_document(seed, budget, write):
    text = write(random.Random(seed), budget).text
    sentences = re.findall(
        r"(So, |Again, |In other words, )?(?:[A-Z][\w ]*(?:that|know,) |[A-Z][\w ]*: )?([a-z][\w ,]*)[.?]", text
    )
    stated = [fact for cue, said in sentences if not cue and (fact := _read(said))]
    assert len(stated) == sum(not cue for cue, _ in sentences)
    for cue, said in sentences:
        if cue == corpus.SO:
            assert _read(said) in {*stated, *knowledge.consequences(stated)}, said
        elif cue == corpus.AGAIN:
            assert _read(said) in {fact for fact in stated if fact.form not in knowledge.RELATIONS}, said
        elif cue:
            assert said in {fact.worded(knowledge.REPHRASED[fact.form]) for fact in stated}, said


def test_premises_are_told_again_under_their_own_cue_and_under_that_of_conclusions():
    pages = [corpus.chains(random.Random(seed), 120).text for seed in range(300)]
    told = Counter()
    for page in pages:
        facts, *rest = re.split(r"(So|Again), ", page)
        for cue, said in zip(rest[::2], rest[1::2], strict=True):
            told[cue, said.strip(" .") in facts] += 1
    assert not told["Again", False]
    assert told["Again", True] == pytest.approx(told["So", True], rel=0.15) == pytest.approx(300, rel=0.15)
    assert told["So", False] > 600


@given(seeds, st.integers(60, 600), st.sampled_from([corpus.transduction, corpus_shots.lexicons]))
def test_a_partner_is_determined_once_it_has_been_shown(seed, budget, write):
    page = write(random.Random(seed), budget)
    seen: dict[str, str] = {}
    for line in re.finditer(r"Input: (.*)\nOutput: (.*)", page.text):
        at = line.start(2) - 1
        for word, partner in zip(line[1].split(), line[2].split(), strict=True):
            known = any(start <= at < end for start, end in page.determined)
            assert known == (word in seen) and seen.setdefault(word, partner) == partner
            at += len(partner) + 1


SHOT = re.compile(r"([a-z]+(?: [a-z]+){1,4})(?:\n(?:Desk|Answer))?: (\w+)")


def values(text: str) -> dict[str, str]:
    """The traits that a note tells, with their values."""
    told = {*text.split()}
    return {t: value for t, of in notes.TRAITS.items() for value, words in of.items() if told & {*words}}


def agreement(shots: list[tuple[str, str]], trait: str) -> float:
    """How many of the labels are what this trait's value is mostly called."""
    seen: dict[str, Counter] = {}
    for text, label in shots:
        seen.setdefault(values(text)[trait], Counter())[label] += 1
    return sum(max(counts.values()) for counts in seen.values()) / len(shots)


def test_one_trait_decides_the_labels_of_a_document_but_for_its_noise():
    best, shown = [], Counter()
    for seed in range(150):
        page = corpus.classification(random.Random(seed), 330)
        shots = SHOT.findall(page.text.split("desk: ")[-1])
        assert len(shots) == len(page.determined) > 20
        (told,) = {tuple(values(text)) for text, _ in shots}  # every note of a document tells the same traits
        shown[len(told)] += 1
        best.append(max(agreement(shots, trait) for trait in told))
    assert 0.55 < sum(share == 1 for share in best) / 150 < 0.8  # two documents of three are without noise
    assert min(best) > 0.6 and set(shown) == {1, 2, 3, 4}


@pytest.mark.parametrize(("budget", "least", "most"), [(300, 0.6, 0.8), (600, 0.04, 0.18)])
def test_long_notes_are_mostly_laid_out_as_prompts(budget, least, most):
    pages = [corpus.classification(random.Random(seed), budget).text for seed in range(150)]
    assert least < np.mean([not re.search("^(Answer|Desk): ", page, re.MULTILINE) for page in pages]) < most


def test_documents_keep_to_their_length_and_grow_with_it(words):
    for longest in (112, 512):
        rng, kinds = random.Random(0), corpus.FIRST_COURSE[2:]
        lengths = [len(encode(words, corpus.document(rng, kinds[i % len(kinds)], longest))[0]) for i in range(300)]
        assert np.quantile(lengths, 0.99) < 1.5 * longest
        assert np.quantile(lengths, 0.9) > 0.5 * longest


# --- tokens


@given(text=st.text())
def test_any_text_comes_back(words, text):
    assert words.decode(words(text, add_special_tokens=False).input_ids) == text


@pytest.mark.parametrize("split", SPLITS)
def test_every_noun_is_its_two_syllables(words, split):
    for noun in nouns(split):
        assert words.tokenize(f" {noun}") == [f"Ġ{noun[:3]}", noun[3:]]


def test_special_tokens_stand_apart_and_frame_as_they_should(words):
    assert len({words.pad_token_id, words.bos_token_id, words.eos_token_id}) == 3
    assert words("").input_ids == [words.bos_token_id]
    assert len(words) <= tokenizer.SIZE
    talk = [{"role": "user", "content": "Repeat bakda"}, {"role": "assistant", "content": "bakda"}]
    assert words.apply_chat_template(talk, tokenize=False) == "<bos>User: Repeat bakda\nAssistant: bakda\n\n"
    asked = words.apply_chat_template(talk[:1], tokenize=False, add_generation_prompt=True)
    assert asked == "<bos>User: Repeat bakda\nAssistant:"


def test_training_it_again_and_saving_it_changes_nothing(words, tmp_path):
    words.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert words.get_vocab() == tokenizer.train().get_vocab() == again.get_vocab()
    text = "So, bakda is bigger than vogmi.\n"
    assert again(text).input_ids == words(text).input_ids and again.chat_template == words.chat_template


# --- batches

SMALL = replace(
    RECIPES["study"],
    tokens=2048,
    courses=(Course((Phase(4, 128, 60, {"relations": 1.0}), Phase(4, 256, 120, MIDDLE))),),
)


@pytest.mark.parametrize("step", [0, 3, 4, 7])
def test_a_batch_is_a_function_of_its_step_and_holds_whole_documents(words, step):
    one, again = (batch(SMALL, words, step) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert one.ids.shape == (SMALL.tokens // SMALL.phase(step).row, SMALL.phase(step).row)
    assert not np.array_equal(one.ids, batch(SMALL, words, step + 1).ids)
    for ids, weights, documents in zip(*one, strict=True):
        assert set(np.unique(weights)) <= {np.float32(w) for w in (0, UNDETERMINED, 1)}
        for number in set(documents) - {0}:
            (place,) = np.where(documents == number)
            assert list(place) == list(range(place[0], place[-1] + 1))
            assert ids[place[0]] == words.bos_token_id and ids[place[-1]] == words.eos_token_id
            assert weights[place[0]] == 0 and weights[place[-1]] == 1
        assert (ids[documents == 0] == words.pad_token_id).all() and not weights[documents == 0].any()
    assert (one.documents > 0).mean() > 0.7


@pytest.mark.parametrize("phase", FIRST.phases, ids=lambda phase: str(phase.row))
def test_kinds_have_their_shares_of_the_tokens_and_long_documents_their_place(words, phase):
    rngs = map(random.Random, range(100))
    drawn = [sum(len(ids) for ids, _ in pretrain._sample_documents(phase, words, rng, 8192)) for rng in rngs]
    placed = []
    for step in range(24):
        one = batch(replace(RECIPES["study"], seed=step, courses=(Course((phase,)),)), words, step)
        sizes = np.bincount(one.documents[one.documents > 0])
        assert sizes[1] == sizes.max()  # the longest comes first and finds its place
        if phase.row > 128:
            assert sizes.max() > 0.5 * phase.max_length
        placed.append(sizes.sum())
    assert np.mean(drawn) / 8192 == pytest.approx(pretrain.FILL, abs=0.02)
    assert np.mean(placed) / 8192 > 0.93 - 0.05 * (phase.row == 128)
    for kind, share in phase.mixture.items():
        only, times = replace(phase, mixture={kind: share}), int(5 / share)
        tokens = [
            sum(len(ids) for ids, _ in pretrain._sample_documents(only, words, random.Random(s), 8192))
            for s in range(times)
        ]
        assert np.mean(tokens) / 8192 / pretrain.FILL == pytest.approx(share, rel=0.2), kind


@pytest.mark.parametrize("phase", (*SECOND.phases, *THIRD.phases), ids=lambda phase: f"{phase.row}-{phase.steps}")
def test_batches_of_the_later_courses_are_full_of_their_kinds(words, phase):
    course = Course((phase,))
    batches = [batch(replace(RECIPES["study"], seed=seed, courses=(course,)), words, seed) for seed in range(4)]
    assert np.mean([(one.documents > 0).mean() for one in batches]) > 0.75
    rng = random.Random(0)
    for kind in phase.mixture:
        lengths = [len(encode(words, corpus.document(rng, kind, phase.max_length))[0]) for _ in range(20)]
        # Six colleagues with three sentences each are longer than a row of 256; pages of three are read there.
        fewest = 5 if (kind, phase.row) == ("colleagues", 256) else 10
        assert sum(length <= phase.row for length in lengths) >= fewest, f"most documents of {kind} find a place"


def test_weights_fall_on_determined_tokens(words):
    page = Document("facts")
    page.add_open("Facts: bakda is bigger than vogmi. So, vog")
    page.add_determined("mi is smaller than bakda.")
    ids, weights = encode(words, page)
    heavy = words.decode([token for token, weight in zip(ids, weights, strict=True) if weight == 1])
    assert heavy == "mi is smaller than bakda.<eos>"
