"""Written answers, tampered demonstrations, URIAL's page and its second turn."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.scoring import Request, score
from adaptlab.methods import ablations, urial
from adaptlab.methods.writing import Generator, draw_records, paired
from adaptlab.tasks.formats_published import load_urial
from adaptlab.tasks.prompts import FORMATS
from adaptlab.tasks.records import Conversation, Demonstration, Message, PromptFile
from adaptlab.tasks.sets import load_open

DATA = load_open("requests", pool=60, test=12)
LAYOUT = FORMATS["question"]
PUBLISHED = Path(__file__).parents[2] / "shared" / "data" / "urial_prompts"
ks = st.integers(1, 20)


def answers_of(shown: str) -> list[str]:
    return [block.split("Answer: ")[1] for block in shown.strip().split("\n\n")]


def test_gold_and_text_are_those_of_plain_requests(llama):
    writer = Generator(llama, LAYOUT.turns(paired(DATA.pool[:1])), 1, how=Decoding(max_new_tokens=6, stop=("\n",)))
    answered = writer.answer(DATA.test[:4])
    prompts = [writer.prompt(item.query) for item in DATA.test[:4]]
    assert answered.completions == generate(llama, prompts, Decoding(max_new_tokens=6)).completions
    options = [(f" {item.output}",) for item in DATA.test[:4]]
    plain = score(llama, [Request(p, o) for p, o in zip(prompts, options, strict=True)], plan="plain").options
    assert [o.logprob for o in answered.gold] == pytest.approx([row[0].logprob for row in plain], abs=1e-4)
    silent = Generator(llama, writer.shown, 1, writes=False).answer(DATA.test[:4])
    assert silent.gold == answered.gold and silent.cost.decoded == 0 < answered.cost.decoded


@given(small=st.integers(0, 60), large=st.integers(0, 60), seed=st.integers(0, 99))
def test_draws_of_records_are_nested(small, large, seed):
    small, large = sorted((small, large))
    assert draw_records(DATA.pool, large, seed)[:small] == draw_records(DATA.pool, small, seed)


def test_a_pool_is_not_drawn_beyond_its_end():
    with pytest.raises(ValueError, match="between 0 and 60, the size of the pool; found 61"):
        draw_records(DATA.pool, 61, 0)


@given(k=st.integers(2, 20), seed=st.integers(0, 99))
def test_shifting_loses_the_pairing_and_nothing_else(k, seed):
    records = draw_records(DATA.pool, k, seed)
    right, moved = (make(LAYOUT, records, DATA.pool, seed) for make in (ablations.correct, ablations.shifted))
    assert sorted(right) == sorted(moved) and len(right) == len(moved), "length-matched"
    assert answers_of(moved) == [answers_of(right)[-1], *answers_of(right)[:-1]]


@given(k=ks, seed=st.integers(0, 99))
def test_other_answers_are_wrong_and_of_the_cluster_they_should_be(k, seed):
    records, by_output = draw_records(DATA.pool, k, seed), {}
    for record in DATA.pool:
        by_output.setdefault(record.output, set()).add(record.category)
    same = answers_of(ablations.same_task(LAYOUT, records, DATA.pool, seed))
    other = answers_of(ablations.other_task(LAYOUT, records, DATA.pool, seed))
    for record, a, b in zip(records, same, other, strict=True):
        assert a != record.output and record.category in by_output[a]
        assert b != record.output and by_output[b] - {record.category}


@pytest.mark.parametrize("style", FORMATS)
def test_questions_alone_hold_no_answer_and_no_place_for_one(style):
    records = draw_records(DATA.pool, 5, 0)
    bare = ablations.no_answers(FORMATS[style], records, DATA.pool, 0)
    cue = FORMATS[style].turn.split("{query}")[1].strip(" \n`").splitlines()[0]
    assert cue and cue not in bare
    assert all(r.query in bare for r in records)


def test_no_answers_and_broken_formats_hold_what_they_say():
    records = draw_records(DATA.pool, 5, 0)
    bare = ablations.no_answers(LAYOUT, records, DATA.pool, 0)
    assert "Answer" not in bare and all(f"Question: {r.query}\n\n" in bare for r in records)
    broken = ablations.broken_format(LAYOUT, records, DATA.pool, 0)
    assert "Question" not in broken and all(f"{r.query} {r.output} " in broken for r in records)


def test_a_third_of_mixed_demonstrations_is_wrong_and_they_are_nested():
    wrong, n = 0, 0
    for seed in range(60):
        records = draw_records(DATA.pool, 12, seed)
        shown = ablations.mixed(LAYOUT, records, DATA.pool, seed)
        assert shown.startswith(ablations.mixed(LAYOUT, records[:5], DATA.pool, seed))
        wrong += sum(a != r.output for a, r in zip(answers_of(shown), records, strict=True))
        n += len(records)
    assert 0.28 < wrong / n < 0.39


def test_a_chance_beyond_one_is_refused():
    with pytest.raises(ValueError, match="wrong must be a chance between 0 and 1; found 2"):
        ablations.mixed(LAYOUT, DATA.pool[:3], DATA.pool, 0, wrong=2)


def test_a_pool_without_other_answers_is_refused():
    with pytest.raises(ValueError, match="the pool has no other answer for record"):
        ablations.same_task(LAYOUT, DATA.pool[:1], DATA.pool[:1], 0)


@pytest.mark.parametrize("manner", urial.RESPONSE_STYLES)
def test_the_page_has_urials_structure(llama, manner):
    file = urial.demonstrations(DATA, 3, manner, seed=1)
    page = urial.aligned(Generator(llama), file).prompt("Say x")
    blocks = "".join(f"\n# Query:\n```\n{q}\n```\n\n# Answer:\n```\n{a}\n```\n" for q, a in file.demonstrations)
    assert page == f"# Instruction\n\n{urial.SYSTEM}\n{blocks}\n# Query:\n```\nSay x\n```\n\n# Answer:\n```\n"


def test_few_demonstrations_begin_many_and_each_is_of_another_cluster():
    many = urial.demonstrations(DATA, 12, "plain", seed=2).demonstrations
    assert urial.demonstrations(DATA, 3, "plain", seed=2).demonstrations == many[:3]
    category = {r.query: r.category for r in DATA.pool}
    assert len({category[d.query] for d in many}) == 12
    restyled = urial.demonstrations(DATA, 12, "restyled", seed=2).demonstrations
    assert [d.query for d in restyled] == [d.query for d in many]
    assert all(plain.answer in other.answer for plain, other in zip(many, restyled, strict=True))


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published prompt files are not beside this clone")
def test_a_published_prompt_file_comes_out_as_it_went_in(llama):
    path = PUBLISHED / "inst_1k_v4.help.txt"
    writer = urial.aligned(Generator(llama), load_urial(path))
    page = writer.prompt("What is a lake?")
    assert page.startswith("# Instruction\n") and writer.shots == 3
    question_block = "\n# Query:\n```\nWhat is a lake?\n```\n\n# Answer:\n```\n"
    assert page.endswith(question_block)
    published = path.read_text().replace("\r\n", "\n").rstrip()
    squeezed = "\n".join(line.rstrip() for line in page.removesuffix(question_block).splitlines() if line.strip())
    assert squeezed == "\n".join(line.rstrip() for line in published.splitlines() if line.strip())


def test_the_second_turn_reads_the_models_own_first_answer(llama):
    talks = [
        Conversation(f"c{i}", (Message("user", f"Say {word}"), Message("user", "Again, please")), references=("x", "y"))
        for i, word in enumerate(("red", "blue house"))
    ]
    writer = urial.aligned(Generator(llama), PromptFile("Be short.", (Demonstration("Say a", "a"),)))
    how = Decoding(max_new_tokens=5, stop=("```",))
    first, second = urial.talk(writer, talks, how)
    for one, a, b in zip(talks, first, second, strict=True):
        page = writer.prompt(one.messages[0].content)
        assert a.text == generate(llama, [page], Decoding(max_new_tokens=5, stop=("```",))).completions[0].text.strip()
        page += f"{a.text}\n```\n\n# Query:\n```\nAgain, please\n```\n\n# Answer:\n```\n"
        assert b.text == generate(llama, [page], Decoding(max_new_tokens=5, stop=("```",))).completions[0].text.strip()


def test_talks_of_different_lengths_are_refused(llama):
    one = Conversation("a", (Message("user", "x"),))
    two = Conversation("b", (Message("user", "x"), Message("user", "y")))
    with pytest.raises(ValueError, match="the same number of user turns"):
        urial.talk(Generator(llama), [one, two])
    assert urial.talk(Generator(llama), []) == []


def test_a_conversation_is_decoded_as_its_writer_is(llama):
    one = Conversation("a", (Message("user", "x"),))
    how = Decoding(max_new_tokens=1, stop=())
    assert len(urial.talk(Generator(llama, style="urial", how=how), [one])[0][0].tokens) == 1
