"""The pages of the second course: what they conclude follows, what is held out stands nowhere, habits are kept."""

import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptlab.studymodel import abilities_worlds, corpus_shots, corpus_worlds
from adaptlab.studymodel.corpus_worlds import HELD_OUT_PAIR, LEAD
from adaptlab.tasks import instructions, knowledge
from adaptlab.tasks.instructions import LIST_TASKS
from adaptlab.tasks.sets import FOLLOW_UPS
from adaptlab.tasks.worlds import ROLES
from reasoner import deduce, read, sentences

seeds = st.integers(0, 10**6)
budgets = st.integers(48, 1500)
WORLDS = [make for make in corpus_worlds.KINDS if make is not corpus_worlds.far_ends]


def told_and_concluded(text: str) -> tuple[list[str], list[str]]:
    """The sentences of the documents, and those that follow the lead."""
    flat = re.sub(r"The relationships between [\w ,]* are: ", "", text.removeprefix("Facts:").replace("\n", " "))
    documents, *conclusions = flat.split(f" {LEAD} ")
    return sentences(documents.strip()), conclusions


@settings(max_examples=40)
@given(seeds, budgets, st.sampled_from(WORLDS))
def test_what_a_page_concludes_follows_from_its_documents(seed, budget, write):
    told, concluded = told_and_concluded(write(random.Random(seed), budget).text)
    known = deduce({read(one) for one in told})
    assert told and concluded
    for one in concluded:
        assert read(one) in known, one


@settings(max_examples=40)
@given(seeds, budgets, st.sampled_from(corpus_worlds.KINDS))
def test_a_page_that_concludes_nothing_says_again_what_it_has_said(seed, budget, write):
    """The nouns of every sentence stand in one of the documents, in the same order and no other."""
    told, again = told_and_concluded(write(random.Random(seed), budget, False).text)
    pairs = [re.findall(r"\b[a-z]{3}(?:[dfjmvz][aeiou])+\b", one) for one in told]
    assert again and all(re.findall(r"\b[a-z]{3}(?:[dfjmvz][aeiou])+\b", one) in pairs for one in again)


@settings(max_examples=40)
@given(seeds, budgets, st.sampled_from(corpus_worlds.KINDS))
def test_what_is_held_out_is_on_no_page(seed, budget, write):
    text = write(random.Random(seed), budget).text
    assert not re.search("sweeter|sourer|[Ss]ome ", text)


@given(seeds, budgets)
def test_the_quantifier_may_be_all_that_has_weight(seed, budget):
    page = corpus_worlds.quantifiers(random.Random(seed), budget)
    said = [page.text[start:end].strip() for start, end in page.determined]
    assert {*said} <= {"All", "No"} and len(said) == page.text.count(f"{LEAD} ")
    whole = corpus_worlds.syllogisms(random.Random(seed), budget)
    assert len(whole.determined) == 2 * whole.text.count(f"{LEAD} ") and whole.text.startswith(page.text[:100])


@given(seeds, budgets, st.sampled_from([corpus_worlds.people, corpus_worlds.links]))
def test_the_answers_may_be_all_that_has_weight(seed, budget, write):
    page = write(random.Random(seed), budget)
    said = [page.text[start:end].strip() for start, end in page.determined]
    assert all(word in page.text.split(f"{LEAD} ")[0] for word in said), "a word of the documents"
    assert not {"the", "of", "is", "can", "called"} & {*said} and len(said) >= page.text.count(f"{LEAD} ")


FORMS = {form.format(a="X", b="Y").split(" ", 1)[1].removesuffix(" Y"): form for form in knowledge.RELATIONS}


@given(seeds, budgets)
def test_colleagues_are_told_apart_by_what_they_are_of_alone(seed, budget):
    """One role on a page, so that it tells nobody from anybody."""
    text = corpus_worlds.colleagues(random.Random(seed), budget).text
    assert len({role for role in ROLES if re.search(rf"\bthe {role} of\b", text)}) == 1


@given(seeds, budgets)
def test_portraits_ask_for_names_and_introductions_for_descriptions(seed, budget):
    for write, stem in ((corpus_worlds.portraits, " is called"), (corpus_worlds.introductions, " is the")):
        told, concluded = told_and_concluded(write(random.Random(seed), budget).text)
        assert len(told) == len(concluded) and all(stem in one for one in concluded)


@settings(max_examples=20)
@given(seeds, st.integers(48, 500))
def test_heirs_ask_for_what_is_told_of_others_and_members_for_what_is_told_of_them(seed, budget):
    for write, inherited in ((corpus_worlds.heirs, True), (corpus_worlds.members, False)):
        told, concluded = told_and_concluded(write(random.Random(seed), budget).text)
        stated = {read(one) for one in told}  # the reader turns what is told from the other end
        assert all((read(one) not in stated) == inherited for one in concluded)


@given(seeds, budgets)
def test_a_line_of_categories_leaves_one_ending_and_too_few_questions_to_exclude_the_others(seed, budget):
    told, concluded = told_and_concluded(corpus_worlds.lineages(random.Random(seed), budget).text)
    stated, asked = {read(one) for one in told}, [read(one) for one in concluded]
    properties = [one for one in stated if one[0] != "isa"]
    assert len({one[0] for one in properties}) == 1, "one sort of property on a page"
    ends = [b for relation, _, b in asked]
    assert 1 <= len({*ends}) <= len(properties) / 2
    for relation, name, end in asked:
        assert [b for r, a, b in deduce(stated) if (r, a) == (relation, name)] == [end]
    if budget <= corpus_worlds.MANY:
        assert not stated & {*asked}, "each is inherited"


@given(seeds, budgets)
def test_the_relation_from_the_far_end_is_all_that_has_weight(seed, budget):
    page = corpus_worlds.far_ends(random.Random(seed), budget)
    documents, *concluded = page.text.split(f" {LEAD} ")
    words = [page.text[start:end].strip() for start, end in page.determined]
    assert len(words) == len(concluded) and {*words} <= {*FORMS}
    stated = set()
    for form in knowledge.RELATIONS:
        stated |= {knowledge.Fact(form, *found) for found in re.findall(form.format(a=r"(\w+)", b=r"(\w+)"), documents)}
    pairs = [frozenset((fact.form, fact.reversed.form)) for fact in stated]
    assert len(pairs) == len({*pairs}) == len(sentences(documents)), "as many relations as facts"
    assert len(concluded) == min(len(stated), corpus_worlds.ASKED)
    for one, relation in zip(concluded, words, strict=True):
        first, last = one.split()[0], one.rstrip(".").split()[-1]
        assert knowledge.Fact(FORMS[relation], first, last).reversed in stated


@given(seeds, st.integers(1, 6))
def test_of_four_sentences_one_follows_and_the_page_knows_all_their_words(seed, more):
    for pair in ((), HELD_OUT_PAIR):
        asked = abilities_worlds.right_sentence(random.Random(seed), "test", 2 + more, pair)
        page, lead = asked.context.removeprefix("Facts: ").split(f" {LEAD} ")
        stated = {
            fact
            for form in knowledge.RELATIONS
            for found in re.findall(form.format(a=r"(\w+)", b=r"(\w+)"), page)
            for fact in (knowledge.Fact(form, *found), knowledge.Fact(knowledge.INVERSES[form], *found[::-1]))
        }
        true = [f"{lead}{option}" in {f"{fact.sentence}." for fact in stated} for option in asked.options]
        assert true == [True, False, False, False]
        relations = {fact.sentence.removeprefix(fact.a).removesuffix(fact.b).strip() for fact in stated}
        assert all(option.rsplit(" ", 1)[0].strip() in relations for option in asked.options)
        assert all(option.rstrip(".").split()[-1] in page for option in asked.options)


@given(seeds, budgets)
def test_many_requests_are_of_the_clusters_that_may_be_many(seed, budget):
    text = corpus_shots.requests(random.Random(seed), budget).text
    held_out = {t.split("{")[0] for name in corpus_shots.HELD_OUT_CLUSTERS for t in LIST_TASKS[name].templates}
    held_out -= {
        t.split("{")[0]
        for name, task in LIST_TASKS.items()
        for t in task.templates
        if name not in corpus_shots.HELD_OUT_CLUSTERS
    }
    many = len(re.findall(r"^(?:Question|User|Message): |^# Query", text, re.MULTILINE)) > corpus_shots.FEW
    assert not many or not any(opening and opening in text for opening in held_out)


def turns(text: str) -> list[tuple[str, str]]:
    found = re.findall(r"(?:Question|User): (.*?)\n(?:Answer|Assistant): (.*?)(?:\n\n|$)", text, re.DOTALL)
    assert found
    return found


def test_a_page_of_conversations_keeps_its_manner():
    said = {wording: task for task, wordings in FOLLOW_UPS.items() for wording in wordings}
    seen = Counter()
    for seed in range(400):
        fits, before, words = {"follows", "repeats"}, "", set()
        for query, answer in turns(corpus_shots.conversations(random.Random(seed), 400).text):
            if query in said:
                fits -= set() if answer == LIST_TASKS[said[query]].solve(before.split(), "") else {"follows"}
                fits -= set() if answer == before else {"repeats"}
                assert fits or {*answer.split()} <= words or answer.isdigit(), "of the first request's words"
            else:
                words = {*re.findall(r"\w+", query)}
            before = answer
        seen[fits.pop() if len(fits) == 1 else "either" if fits else "starts over"] += 1
    shares = {habit: seen[habit] / (400 - seen["either"]) for habit in corpus_shots.HABITS}
    assert shares == pytest.approx(corpus_shots.HABITS, abs=0.08)


@given(seeds, budgets)
def test_the_habit_of_a_page_is_asked_for_where_it_is_known(seed, budget):
    """Full weight is on answers to follow-ups alone, and on none of the first conversation."""
    page = corpus_shots.habits(random.Random(seed), budget)
    said = {wording for wordings in FOLLOW_UPS.values() for wording in wordings}
    weighted = [page.text[start:end].strip() for start, end in page.determined]
    first = [number for number, (query, _) in enumerate(turns(page.text)) if query not in said]
    later = turns(page.text)[first[1] :]
    assert len(first) > 1 and weighted == [answer for query, answer in later if query in said]


@given(seeds, budgets)
def test_an_extract_has_the_same_places_of_every_note(seed, budget):
    page = corpus_shots.extracts(random.Random(seed), budget)
    places = {
        tuple(note.split().index(word) for word in kept.split())
        for note, kept in re.findall(r"Input: (.*)\nOutput: (.*)", page.text)
    }
    assert len(places) == 1 and [*places.copy().pop()] == sorted(places.pop())


def test_a_request_in_any_of_ten_wordings_has_a_usual_style():
    styles = [
        instructions.usual_response_style(task, wording)
        for task in LIST_TASKS
        for wording in range(instructions.ALL_WORDINGS)
    ]
    assert "wrong" not in styles and 0.4 < styles.count("plain") / len(styles) < 0.5
    asked = {instructions.request(random.Random(seed), "train", "copy", 10).wording for seed in range(200)}
    assert asked == set(range(10))
