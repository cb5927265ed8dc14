"""What the second course is asked, answered by readers who are no models: who reads the prompt can answer, who does not
cannot."""

import random
import re
from types import SimpleNamespace

import pytest

from adaptlab.studymodel import abilities_worlds as aw
from adaptlab.studymodel import corpus_shots
from adaptlab.studymodel.corpus_worlds import HELD_OUT_PAIR, LEAD
from adaptlab.tasks.instructions import LIST_TASKS
from adaptlab.tasks.notes import TRAITS
from adaptlab.tasks.sets import FOLLOW_UPS
from reasoner import claim, deduce, read, sentences


def reads(requests) -> SimpleNamespace:
    """Scores of one who deduces from the documents in the prompt: 0 nats for what is true, -9 for what is not."""
    rows = []
    for request in requests:
        pages, _, stem = request.context.rpartition(f" {LEAD} ")
        flat = re.sub(r"The relationships between [\w ,]* are: ", "", pages)
        known = deduce({read(one) for one in sentences(flat)}) if pages else set()
        said = [claim(stem, option.strip()) in known for option in request.options]
        rows.append(tuple(SimpleNamespace(logprob=0.0 if true else -9.0) for true in said))
    return SimpleNamespace(options=rows)


NAMES = {
    "comparisons": {"forward", "rephrase", "reversal", "comparison"},
    "syllogisms": {"conclusion", "held-out figure"},
    "descriptions": {"forward", "rephrase", "name to description", "description to name"},
    "hierarchy": {"forward", "rephrase", "reversal", "inherited", "holdout"},
}


@pytest.mark.parametrize("kind", aw.MAKERS)
def test_who_reads_the_documents_answers_every_question(monkeypatch, kind):
    monkeypatch.setattr(aw, "score", lambda lm, requests: reads(requests))
    found = aw.read_worlds(None, kind, "probe", 12)
    assert {one.name for one in found} == {f"{kind}, {name}" for name in NAMES[kind]}
    assert all(one.n == one.n_correct == 12 for one in found), found
    for one in aw.read_worlds(None, kind, "probe", 12, documents=False):
        assert one.n_correct == 0 and one.name.endswith(", without the documents") and 0.1 < one.chance < 0.6


def solved(question: str) -> str | None:
    """The answer to a request in any wording."""
    for task in LIST_TASKS.values():
        for template in task.templates:
            pattern = re.escape(template).replace(r"\{x\}", r"([a-z ]+)").replace(r"\{w\}", "([a-z]+)")
            if found := re.fullmatch(pattern, question):
                parts = dict(zip(re.findall(r"\{([xw])\}", template), found.groups(), strict=True))
                return task.solve(parts["x"].split(), parts.get("w", ""))
    return None


def turns(prompt: str) -> list[tuple[str, str]]:
    return re.findall(r"(?:Question|Input): (.*?)\n(?:Answer|Output):(.*?)(?:\n\n|$)", prompt, re.DOTALL)


def test_who_knows_the_requests_answers_behind_many(monkeypatch):
    monkeypatch.setattr(aw, "finished", lambda lm, prompts, _: [f" {solved(turns(p)[-1][0])}" for p in prompts])
    for held_out in (False, True):
        assert aw.many_requests(None, 32, "probe", 20, held_out).share == 1


def test_many_requests_show_no_request_of_the_same_cluster(monkeypatch):
    seen = []
    monkeypatch.setattr(aw, "finished", lambda lm, prompts, _: seen.extend(prompts) or [""] * len(prompts))
    aw.many_requests(None, 32, "probe", 5)
    assert {len(turns(prompt)) for prompt in seen} == {33}
    assert all(answer.strip() == solved(query) for prompt in seen for query, answer in turns(prompt)[:-1])


def test_who_reads_the_answer_before_follows_up(monkeypatch):
    said = {wording: task for task, wordings in FOLLOW_UPS.items() for wording in wordings}
    asked = []

    def follow(lm, prompts, _):
        texts = []
        for prompt in prompts:
            (*_, (_, before), (query, _)) = turns(prompt)
            asked.append(said[query])
            texts.append(LIST_TASKS[said[query]].solve(before.split(), ""))
        return texts

    monkeypatch.setattr(aw, "finished", follow)
    assert aw.follow_ups(None, 4, "probe", 20).share == 1 and not {*asked} & {*corpus_shots.HELD_OUT_CLUSTERS}
    asked.clear()
    assert aw.follow_ups(None, 0, "probe", 20, held_out=True).share == 1
    assert {*asked} == {*corpus_shots.HELD_OUT_CLUSTERS}


def test_a_lexicon_is_learned_from_its_examples_and_a_digest_from_one(monkeypatch):
    def learn(lm, prompts, _):
        texts = []
        for prompt in prompts:
            *shown, (query, _) = turns(prompt)
            partner = {a: b for left, right in shown for a, b in zip(left.split(), right.split(), strict=False)}
            keeps = {tuple(left.split().index(word) for word in right.split() if word in left) for left, right in shown}
            if len(keeps) == 1 and (places := keeps.pop()):
                texts.append(" ".join(query.split()[place] for place in places))
            else:
                texts.append(" ".join(partner.get(word, "?") for word in query.split()))
        return texts

    monkeypatch.setattr(aw, "finished", learn)
    assert (
        aw.open_task(None, "lexicon", 0, "probe", 20).share == aw.open_task(None, "digest", 0, "probe", 20).share == 0
    )
    assert aw.open_task(None, "lexicon", 32, "probe", 20).share > 0.9
    assert aw.open_task(None, "digest", 1, "probe", 20).share == 1


@pytest.mark.parametrize("n", [2, 8, 16])
def test_the_relation_of_the_held_out_pair_is_asked_for_where_wanted(n):
    for seed in range(20):
        asked = aw.right_sentence(random.Random(seed), "probe", n, HELD_OUT_PAIR)
        assert re.search(r"sweeter|sourer", asked.options[0]) and re.search(r"sweeter|sourer", asked.context)
        free = aw.right_sentence(random.Random(seed), "probe", n)
        assert not re.search(r"sweeter|sourer", free.context + " ".join(free.options))


def test_who_sees_which_letter_a_class_has_sorts_notes(monkeypatch):
    """The class of a note is told by its verb: one demonstration of each class is enough."""
    kind = {word: value for value, words in TRAITS["kind"].items() for word in words}

    def sort(lm, requests):
        rows = []
        for request in requests:
            *shown, (query, _) = re.findall(r"Message: (.*)\nDesk:(.*)", request.context)
            letters = {kind[word]: answer for text, answer in shown for word in text.split() if word in kind}
            (wanted,) = [letters.get(kind[word]) for word in query.split() if word in kind]
            rows.append(tuple(SimpleNamespace(logprob=float(option == wanted)) for option in request.options))
        return SimpleNamespace(options=rows)

    monkeypatch.setattr(aw, "score", sort)
    assert aw.sorted_notes(None, 64, 40).share == 1 and aw.sorted_notes(None, 0, 40).share == 0
