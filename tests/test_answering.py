"""Models that answer: the same as from plain requests, prompts with the published structure, shots that fit."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import adaptlab as al
from adaptlab.engine.generation import Completion, Decoding, Generated, generate
from adaptlab.engine.kv_sharing import EMPTY
from adaptlab.engine.scoring import Cost, Request, score
from adaptlab.methods import ablations, answering, urial
from adaptlab.methods.answering import Chooser, Generator, PMIChooser, fitting, in_context, shown
from adaptlab.methods.prompting import WorldPrompt, reordered
from adaptlab.methods.selection import SELECTIONS, select
from adaptlab.tasks.prompt_formats import FORMATS
from adaptlab.tasks.reading import read
from adaptlab.tasks.records import Conversation, Demonstration, Instruction, Labelled, Message, PromptFile
from adaptlab.tasks.splits import LabelledSet, OpenSet
from adaptlab.tasks.words import study
from adaptlab.tasks.worlds import reversals
from conftest import tiny_lm

DATA = al.load_open("requests", pool=60, test=12)
LAYOUT = FORMATS["question"]
PUBLISHED = Path(__file__).parents[2] / "shared" / "data" / "urial_prompts"
WORLD = reversals(0, facts=8, articles=1, words=study("test"))
ITEMS = [item for item in WORLD.items if item.split == "reversal"]
LABELS = ("hot", "cold")
WEATHER = [("sunny", "hot"), ("icy", "cold")] * 6
SORTING = LabelledSet(
    "weather",
    LABELS,
    tuple(Labelled(f"p{i}", f"{word} day {i}", label) for i, (word, label) in enumerate(WEATHER)),
    tuple(Labelled(f"t{i}", f"{word} night {i}", label) for i, (word, label) in enumerate(WEATHER[:8])),
)
ks = st.integers(1, 20)


def answers_of(text: str) -> list[str]:
    return [block.split("Answer: ")[1] for block in text.strip().split("\n\n")]


# ---- choosers


def test_a_world_prompt_is_the_documents_and_the_stem(llama):
    context, options = WorldPrompt(WORLD.documents, lead="So,")(ITEMS[0])
    assert context.startswith(f"{WORLD.documents[0].text} {WORLD.documents[1].text} ")
    assert context.endswith(f" So, {ITEMS[0].stem}") and WorldPrompt()(ITEMS[0])[0] == ITEMS[0].stem
    assert options == {text: f" {text}" for text in ITEMS[0].options()}
    assert set(WorldPrompt(pool="seen")(ITEMS[0])[1]) == set(ITEMS[0].options("seen"))


def test_choices_are_those_of_one_request_at_a_time():
    chooser = Chooser(al.load("study", device="cpu"), WorldPrompt(WORLD.documents), len(WORLD.documents))
    answered = chooser.answer(ITEMS)
    for item, options in zip(ITEMS, answered.options, strict=True):
        alone = score(chooser.lm, [chooser.request(item)], plan="plain").options[0]
        assert [o.logprob for o in options.values()] == pytest.approx([o.logprob for o in alone], abs=1e-4)


def test_what_a_prompt_adds_is_weighed_against_the_bare_option(llama):
    ask = WorldPrompt(WORLD.documents[:2], lead="So,")
    plain, weighed = Chooser(llama, ask), PMIChooser(llama, ask, bare="So,")
    for item, row in zip(ITEMS, weighed.answer(ITEMS).options, strict=True):
        (full,) = score(llama, [plain.request(item)], plan="plain").options
        (bare,) = score(llama, [Request("So,", plain.request(item).options)], plan="plain").options
        gains = [one.logprob - other.logprob for one, other in zip(full, bare, strict=True)]
        assert [one.logprob for one in row.values()] == pytest.approx(gains, abs=1e-4)
    (nothing,) = PMIChooser(llama, lambda item: ("So,", {"a": " a", "b": " b"}), bare="So,").answer(ITEMS[:1]).options
    assert [one.logprob for one in nothing.values()] == pytest.approx([0, 0], abs=1e-4)


def test_a_chooser_offers_every_class_by_its_name(llama):
    chooser = in_context(llama, SORTING, 2, 0, label_mapping="letters")
    names = dict(chooser.ask.label_names)
    assert chooser.request(SORTING.test[0]).options == tuple(f" {name}" for name in names.values())
    assert chooser.request(SORTING.test[0]).context.endswith("Message: sunny night 0\nDesk:") and chooser.shots == 2
    urials = in_context(llama, SORTING, 2, 0, label_mapping="letters", prompt_format="urial")
    assert urials.request(SORTING.test[0]).options == tuple(names.values())


@pytest.mark.parametrize("way", SELECTIONS)
def test_every_item_is_shown_what_was_chosen_for_it(llama, way):
    few = SORTING.items(4)
    chosen = select(llama, SORTING, few, 2, way, 0)
    chooser = in_context(llama, SORTING, 2, 0, chosen=chosen)
    for item in few:
        context = chooser.request(item).context
        assert len(chosen[item.text]) == 2
        assert all(f"Message: {one.text}\nDesk: {one.label}\n" in context for one in chosen[item.text])
        assert context.count("Message:") == 3
    with pytest.raises(ValueError, match=r"'way': expected one of 'random', .* found 'best'"):
        select(llama, SORTING, few, 2, "best", 0)


def test_orders_permute_the_sample_and_nothing_else(llama):
    numbers = list(range(8))
    assert reordered(numbers, 0) == numbers
    assert sorted(reordered(numbers, 1)) == numbers and len({tuple(reordered(numbers, o)) for o in range(3)}) == 3
    one, other = (in_context(llama, SORTING, 4, 3, order=order).ask for order in (0, 1))
    assert sorted(one.demonstrations) == sorted(other.demonstrations) != list(one.demonstrations)
    assert one.label_names == other.label_names
    for k, count in ((2, 2), (3, 6), (4, 24)):
        assert len({tuple(reordered(range(k), order)) for order in range(count)}) == count


# ---- generators


def test_gold_and_text_are_those_of_plain_requests(llama):
    decoding = Decoding(max_new_tokens=6, stop=("\n",))
    generator = shown(llama, DATA.pool[:1], decoding=decoding)
    answered = generator.answer(DATA.test[:4])
    prompts = [generator.prompt(item.query) for item in DATA.test[:4]]
    assert answered.completions == generate(llama, prompts, decoding).completions
    requests = [Request(p, (f" {i.output}",)) for p, i in zip(prompts, DATA.test[:4], strict=True)]
    plain = score(llama, requests, plan="plain").options
    assert [o.logprob for o in answered.gold] == pytest.approx([row[0].logprob for row in plain], abs=1e-4)
    silent = Generator(llama, generator.demonstrations, 1, generates=False).answer(DATA.test[:4])
    assert silent.gold == answered.gold and silent.cost.decoded == 0 < answered.cost.decoded


def test_records_are_shown_as_they_would_be_asked(llama):
    records = DATA.sample(4, 0)
    assert shown(llama, records).demonstrations == "".join(
        f"Question: {record.query}\nAnswer: {record.output}\n\n" for record in records
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda lm: Generator(lm, prompt_format="xml"),
        lambda lm: shown(lm, [], "xml"),
        lambda lm: in_context(lm, SORTING, 1, prompt_format="xml"),
        lambda lm: al.build_examples(lm, DATA.pool[:1], "xml"),
        lambda lm: al.build_examples(lm, DATA.pool[:1], "chat"),
        lambda lm: OpenSet("odd", (), DATA.test, "xml"),
    ],
)
def test_an_unknown_prompt_format_is_refused_where_it_is_named(llama, make):
    with pytest.raises(ValueError, match=r"expected one of 'plain', 'question', .*'alpaca'.*, found '(xml|chat)'"):
        make(llama)


# ---- shots that fit


def test_a_curve_ends_where_a_prompt_would_not_fit(llama):
    shots = [0, 4, 8, 10, 12]
    make = lambda k: [in_context(llama, SORTING, k, seed, order=o) for seed in (0, 1) for o in (0, 1)]  # noqa: E731
    kept, left_out = fitting(make, SORTING.test, shots)
    assert kept + left_out == shots and 0 < len(left_out) < 5
    al.grid(lambda seed, shots: in_context(llama, SORTING, shots, seed), SORTING.items(), seed=[0, 1], shots=kept)
    with pytest.raises(ValueError, match="has room for 256"):
        in_context(llama, SORTING, left_out[0], 0).answer(SORTING.test)


@pytest.mark.parametrize("generates", [True, False])
def test_room_is_kept_for_the_item_that_needs_most(generates):
    """One item has the longer answer to score, another the longer question to write behind."""
    lm, words = tiny_lm("llama"), "option two three four yes no a b c d".split()
    spread = Instruction("a", "red", "", " ".join(words * 3))
    asked = Instruction("b", " ".join(words * 2), "", "d")
    data = OpenSet("odd", tuple(Instruction(f"p{i}", f"{w} {w}", "", w) for i, w in enumerate(words)), (spread, asked))
    make = lambda k: [shown(lm, data.sample(k, 0), generates=generates)]  # noqa: E731
    seen = 0
    for room in range(60, 240, 12):
        lm.model.config.max_position_embeddings = room
        try:
            kept, left_out = fitting(make, data.test, range(9))
        except ValueError:
            continue
        for k in kept:
            make(k)[0].answer(data.test)
        if left_out:
            seen += 1
            with pytest.raises(ValueError, match=rf"{room} tokens|room for {room}"):
                make(left_out[0])[0].answer(data.test)
    assert seen > 3


def test_what_never_fits_is_refused(llama):
    long = [Labelled("x", "sunny " * 300, "hot")]
    with pytest.raises(ValueError, match="too few for 0 shots"):
        fitting(lambda k: [in_context(llama, SORTING, k)], long, [0, 2])


# ---- tampered demonstrations


@given(k=st.integers(2, 20), seed=st.integers(0, 99))
def test_shifting_loses_the_pairing_and_nothing_else(k, seed):
    records = DATA.sample(k, seed)
    right, moved = (make(LAYOUT, records, DATA.pool, seed) for make in (ablations.correct, ablations.shifted))
    assert sorted(right) == sorted(moved) and len(right) == len(moved), "length-matched"
    assert answers_of(moved) == [answers_of(right)[-1], *answers_of(right)[:-1]]


@given(k=ks, seed=st.integers(0, 99))
def test_other_answers_are_wrong_and_of_the_task_they_should_be(k, seed):
    records, by_output = DATA.sample(k, seed), {}
    for record in DATA.pool:
        by_output.setdefault(record.output, set()).add(record.category)
    same = answers_of(ablations.same_task(LAYOUT, records, DATA.pool, seed))
    other = answers_of(ablations.other_task(LAYOUT, records, DATA.pool, seed))
    for record, a, b in zip(records, same, other, strict=True):
        assert a != record.output and record.category in by_output[a]
        assert b != record.output and by_output[b] - {record.category}


@pytest.mark.parametrize("prompt_format", FORMATS)
def test_questions_alone_hold_no_answer_and_no_place_for_one(prompt_format):
    records = DATA.sample(5, 0)
    bare = ablations.no_answers(FORMATS[prompt_format], records, DATA.pool, 0)
    cue = FORMATS[prompt_format].turn.split("{query}")[1].strip(" \n`").splitlines()[0]
    assert cue and cue not in bare and all(record.query in bare for record in records)


def test_broken_formats_hold_what_they_say():
    records = DATA.sample(5, 0)
    broken = ablations.broken_format(LAYOUT, records, DATA.pool, 0)
    assert "Question" not in broken and all(f"{r.query} {r.output} " in broken for r in records)


def test_a_third_of_mixed_demonstrations_is_wrong_and_they_are_nested():
    wrong, n = 0, 0
    for seed in range(60):
        records = DATA.sample(12, seed)
        text = ablations.mixed(LAYOUT, records, DATA.pool, seed)
        assert text.startswith(ablations.mixed(LAYOUT, records[:5], DATA.pool, seed))
        wrong += sum(a != r.output for a, r in zip(answers_of(text), records, strict=True))
        n += len(records)
    assert 0.28 < wrong / n < 0.39
    with pytest.raises(ValueError, match="wrong must be a chance between 0 and 1; found 2"):
        ablations.mixed(LAYOUT, DATA.pool[:3], DATA.pool, 0, wrong=2)
    with pytest.raises(ValueError, match="the pool has no other answer for record"):
        ablations.same_task(LAYOUT, DATA.pool[:1], DATA.pool[:1], 0)


# ---- URIAL


@pytest.mark.parametrize("response_style", urial.RESPONSE_STYLES)
def test_the_prompt_has_urials_structure(llama, response_style):
    file = urial.demonstrations(DATA, 3, response_style, seed=1)
    prompt = urial.aligned(llama, file).prompt("Say x")
    blocks = "".join(f"\n# Query:\n```\n{q}\n```\n\n# Answer:\n```\n{a}\n```\n" for q, a in file.demonstrations)
    assert prompt == f"# Instruction\n\n{urial.SYSTEM}\n{blocks}\n# Query:\n```\nSay x\n```\n\n# Answer:\n```\n"


def test_few_demonstrations_begin_many_and_each_is_of_another_task():
    many = urial.demonstrations(DATA, 12, "plain", seed=2).demonstrations
    assert urial.demonstrations(DATA, 3, "plain", seed=2).demonstrations == many[:3]
    category = {record.query: record.category for record in DATA.pool}
    assert len({category[d.query] for d in many}) == 12
    restyled = urial.demonstrations(DATA, 12, "restyled", seed=2).demonstrations
    assert [d.query for d in restyled] == [d.query for d in many]
    assert all(plain.answer in other.answer for plain, other in zip(many, restyled, strict=True))


@pytest.mark.parametrize("response_style", urial.RESPONSE_STYLES[1:])
def test_a_response_style_is_known_again_and_no_other_is(response_style):
    record = Instruction("x", "say it", "", "bakda vogmi", "")
    assert urial.has_style(urial.apply_style(record, response_style), response_style)
    others = [style for style in urial.RESPONSE_STYLES if style != response_style]
    assert not any(urial.has_style(urial.apply_style(record, other), response_style) for other in others)
    assert urial.has_style("Answer: yes. In short, no.", "restyled")
    assert not urial.has_style("Answer: yes. In short, no. Bye", "restyled")
    assert not urial.has_style("Answer: yes.", "restyled") and not urial.has_style("Answer: . In short, .", "restyled")


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published prompt files are not beside this clone")
def test_a_published_prompt_file_comes_out_as_it_went_in(llama):
    path = PUBLISHED / "inst_1k_v4.help.txt"
    generator = urial.aligned(llama, read(path).prompt)
    prompt = generator.prompt("What is a lake?")
    assert prompt.startswith("# Instruction\n") and generator.shots == 3
    block = "\n# Query:\n```\nWhat is a lake?\n```\n\n# Answer:\n```\n"
    assert prompt.endswith(block)
    published = path.read_text().replace("\r\n", "\n").rstrip()
    squeezed = "\n".join(line.rstrip() for line in prompt.removesuffix(block).splitlines() if line.strip())
    assert squeezed == "\n".join(line.rstrip() for line in published.splitlines() if line.strip())


def test_the_second_turn_reads_the_models_own_first_answer(llama, monkeypatch):
    asked = []

    def generate(lm, prompts, decoding, seed):
        asked.append(prompts)
        texts = [f" answer {len(asked)}.{place}\n" for place in range(len(prompts))]
        return Generated([Completion(text, stopped=True) for text in texts], Cost(), EMPTY, "trie")

    monkeypatch.setattr(answering, "generate", generate)
    turns = (Message("user", "Say red"), Message("user", "Again, please"))
    talks = [Conversation(f"c{i}", turns, references=("x", "y")) for i in range(2)]
    generator = urial.aligned(llama, PromptFile("Be short.", (Demonstration("Say a", "a"),)))
    first, second = generator.converse(talks)
    assert [one.text for one in first + second] == ["answer 1.0", "answer 1.1", "answer 2.0", "answer 2.1"]
    begun = generator.prompt("Say red")
    assert asked[0] == [begun, begun]
    end = "\n```\n\n# Query:\n```\nAgain, please\n```\n\n# Answer:\n```\n"
    assert asked[1] == [f"{begun}answer 1.{place}{end}" for place in range(2)]


def test_conversations_of_different_lengths_are_refused(llama):
    one = Conversation("a", (Message("user", "x"),))
    two = Conversation("b", (Message("user", "x"), Message("user", "y")))
    with pytest.raises(ValueError, match="the same number of user turns"):
        Generator(llama).converse([one, two])
    assert Generator(llama).converse([]) == []
