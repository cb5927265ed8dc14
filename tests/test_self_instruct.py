"""The Self-Instruct loop: what models write is read, filtered with a reason, and never lost, whoever kills the run."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from adaptlab.engine.models import load
from adaptlab.methods import generation_recipes
from adaptlab.methods.generation_recipes import ALPACA, GENERATION_RECIPES, PAGES, SELF_INSTRUCT, Draft, instances
from adaptlab.methods.self_instruct import ANSWERED, ASKED, NOVEL, Made, _fault, self_instruct
from adaptlab.tasks import templates, words
from adaptlab.tasks.instructions import LIST_TASKS
from adaptlab.tasks.reading import read
from adaptlab.tasks.records import Instruction
from adaptlab.tasks.rows import FormatError
from adaptlab.tasks.sets import load_seed
from adaptlab.tasks.similarity import rouge_l
from format_files import PUBLIC, public

SEEDS = templates.dataset(0, 24, tuple(LIST_TASKS), words.study("train"), templates=3)


@cache
def lm(name: str = "study"):
    return load(name, device="cpu")


def run(path: Path, rounds: int, **changed) -> Made:
    how = {"wanted": 1000, "rounds": rounds, "prompts": 4, "seed": 5} | changed
    return self_instruct(lm(), SEEDS, PAGES, path, **how)


def test_every_draft_is_kept_or_rejected_with_a_reason(tmp_path):
    made = run(tmp_path / "log", rounds=3)
    assert made.rounds == 3 and len(made.kept) + len(made.rejects) == 12
    assert all(reject.filter and reject.reason for reject in made.rejects)
    assert made.survival[0]["in"] == 12 and made.survival[-1]["out"] == len(made.kept)
    assert len({one.id for one in made.kept}) == len(made.kept)


def test_what_is_kept_is_novel_to_seeds_and_to_each_other(tmp_path):
    made = run(tmp_path / "log", rounds=4, prompts=8)
    texts = [one.instruction for one in (*SEEDS, *made.kept)]
    for place, one in enumerate(made.kept, start=len(SEEDS)):
        assert max(rouge_l(one.instruction, other) for other in texts[:place]) <= NOVEL


def test_the_study_model_writes_requests_that_a_program_understands(tmp_path):
    made = run(tmp_path / "log", rounds=4, prompts=8)
    answers = [(one.output, templates.solve_text(one.instruction)) for one in made.kept]
    known = [(given, right) for given, right in answers if right is not None]
    assert len(known) > 0.8 * len(answers)
    assert sum(given == right for given, right in known) > 0.6 * len(known)


def test_it_stops_at_the_number_wanted(tmp_path):
    made = run(tmp_path / "log", rounds=50, wanted=6)
    assert 6 <= len(made.kept) < 6 + 4 and made.rounds <= 3


def test_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path):
    whole = run(tmp_path / "whole", rounds=3)
    run(tmp_path / "parts", rounds=1)
    run(tmp_path / "parts", rounds=2)
    assert run(tmp_path / "parts", rounds=3) == whole
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_finished_run_is_read_and_not_repeated(tmp_path, monkeypatch):
    made = run(tmp_path / "log", rounds=2)
    monkeypatch.setattr(generation_recipes, "generate", None)
    assert run(tmp_path / "log", rounds=2) == made


def test_it_goes_on_after_a_kill_without_a_record_twice(tmp_path):
    code = (
        "import sys; sys.path.insert(0, 'tests'); from pathlib import Path; import test_self_instruct as t; "
        f"t.run(Path({str(tmp_path / 'log')!r}), rounds=200)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[1], env=os.environ)
    for _ in range(1200):
        if (tmp_path / "log").exists() and len((tmp_path / "log").read_text().splitlines()) > 2:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    rounds = len((tmp_path / "log").read_text().splitlines())  # the head and the finished rounds, plus one
    resumed = run(tmp_path / "log", rounds=rounds)
    assert resumed == run(tmp_path / "other", rounds=rounds)
    assert len({one.instruction for one in resumed.kept}) == len(resumed.kept)


@pytest.mark.parametrize("change", [{"seed": 6}, {"prompts": 5}])
def test_another_runs_file_is_refused(tmp_path, change):
    run(tmp_path / "log", rounds=1)
    with pytest.raises(FormatError, match=f"log:1: field '{next(iter(change))}'"):
        run(tmp_path / "log", rounds=2, **change)
    with pytest.raises(FormatError, match="field 'seeds'"):
        self_instruct(lm(), SEEDS[1:], PAGES, tmp_path / "log", wanted=9, rounds=2, prompts=4, seed=5)


def test_a_broken_file_is_refused_with_its_line(tmp_path):
    run(tmp_path / "log", rounds=2)
    text = (tmp_path / "log").read_text()
    (tmp_path / "log").write_text(text[:-20])
    with pytest.raises(FormatError, match="log:3: expected valid JSON"):
        run(tmp_path / "log", rounds=3)


@pytest.mark.parametrize(
    ("draft", "caught"),
    [
        (Draft("Say hello"), "length"),
        (Draft(" ".join(["word"] * 151)), "length"),
        (Draft("Describe the picture, please, in a few words."), "unfit word"),
        (Draft("Write a program that sorts a list"), "unfit word"),
        (Draft("Please go to the shop and buy bread"), "unfit word"),
        (Draft("Now reverse your answer, please."), "unfit word"),
        (Draft("- a list of four words"), "odd start"),
        (Draft("Été comme hiver, que faire ici"), "odd start"),
        (Draft("Say which of these words is longest: a b"), None),
        (Draft("Depict the mapping of words to numbers"), None),  # "map" inside a word does no harm
    ],
)
def test_instructions_are_caught_by_the_filter_meant_for_them(draft, caught):
    fault = _fault(draft, ASKED)
    assert (fault and fault[0]) == caught
    assert fault is None or fault[1]


def test_answers_are_caught_when_blank_or_an_echo():
    assert _fault(Draft("x", "", " "), ANSWERED) == ("output", "the output is blank")
    assert _fault(Draft("x", "same", "same"), ANSWERED) == ("output", "the output repeats the input")
    assert _fault(Draft("x", "one", "two"), ANSWERED) is None


def test_lists_are_read_and_the_cut_off_item_is_left_out():
    text = " Name a bird.\n10. Sum 2 and 3.\n11.  Write two\nlines.\n12. Cut off he"
    assert SELF_INSTRUCT.read(text, True)[2] == Draft("Write two\nlines.")
    assert SELF_INSTRUCT.read(text, False) == [
        Draft("Name a bird."),
        Draft("Sum 2 and 3."),
        Draft("Write two\nlines."),
    ]


def test_blocks_are_read_and_what_is_no_block_comes_back_as_text():
    text = (
        " Instruction: Add.\nInput: 2 3\nOutput: 5\n###\n5. Instruction: Greet.\nInput: <none>\nOutput: Hello!\n###\n"
        "6. Something else\n###\n7. Instruction: Cut\nInput: o"
    )
    assert ALPACA.read(text, False) == [Draft("Add.", "2 3", "5"), Draft("Greet.", "", "Hello!"), "6. Something else"]


@pytest.mark.parametrize("text", ["Copy this: a b", "\nAnswer: a", "Copy this: a\nAns: a", ""])
def test_a_turn_without_question_or_answer_comes_back_as_text(text):
    assert PAGES.read(text, True) == [text]
    assert PAGES.read(" Copy this: a\nAnswer: a", True) == [Draft("Copy this: a", "", "a")]
    assert PAGES.read(" Copy this: a\nAnswer: a", False) == [" Copy this: a\nAnswer: a"]


@pytest.mark.parametrize("recipe", GENERATION_RECIPES.values(), ids=GENERATION_RECIPES)
def test_a_recipe_reads_what_its_own_prompt_shows(recipe):
    """A model that goes on exactly as the prompt began is understood."""
    examples = [one for one in load_seed() if len(one.instruction.split()) < 20 and not one.input][:5]
    page, longer = (recipe.prompt(examples[:n]).rstrip() for n in (3, 5))
    assert longer.startswith(page)
    completions = longer.removeprefix(page)
    completions = min((completions.split(stop)[0] for stop in recipe.stop), key=len)
    first = recipe.read(completions, True)[0]
    assert isinstance(first, Draft) and first.instruction == examples[3].instruction
    assert first.output in ("", examples[3].output)


def test_six_of_eight_examples_are_seeds_once_there_are_two_others():
    rng = random.Random(0)
    own = [Instruction(f"own-{i}", f"own {i}", "", "x") for i in range(3)]
    shown = SELF_INSTRUCT.shown(rng, SEEDS, own)
    assert len(shown) == 8 and sum(one in SEEDS for one in shown) == 6
    assert len(SELF_INSTRUCT.shown(rng, SEEDS, [])) == 8 and len(ALPACA.shown(rng, SEEDS, own)) == 3


def test_instances_are_written_for_every_instruction_in_order():
    drafts = [Draft("Copy the words of the input."), Draft("Say whether the message is sad or glad.")]
    whole = instances(lm(), drafts, load_seed(), random.Random(0))
    assert [one.instruction for one in whole] == [one.instruction for one in drafts]
    assert instances(lm(), [], load_seed(), random.Random(0)) == []


def test_two_step_recipes_run_and_resume(tmp_path):
    short = replace(SELF_INSTRUCT, name="short", human=2, made=1, max_new_tokens=60)

    def go(path, rounds):
        return self_instruct(lm(), load_seed(), short, path, wanted=99, rounds=rounds, prompts=2)

    go(tmp_path / "a", 1)
    assert go(tmp_path / "a", 2) == go(tmp_path / "b", 2)
    assert json.loads((tmp_path / "a").read_text().splitlines()[0])["recipe"] == "short"


@pytest.mark.slow
@public
@pytest.mark.parametrize("recipe", ["self-instruct", "alpaca"])
def test_a_pretrained_model_runs_the_loop_on_the_published_seeds(tmp_path, recipe):
    seeds = read(PUBLIC / "self_instruct_seed_tasks.jsonl").records
    model = load("smollm2-135m-instruct", device="cpu")
    how = {"wanted": 200, "prompts": 4}
    made = self_instruct(model, seeds, GENERATION_RECIPES[recipe], tmp_path / "log", rounds=3, **how)
    print(json.dumps(made.survival))
    again = self_instruct(model, seeds, GENERATION_RECIPES[recipe], tmp_path / "log", rounds=3, **how)
    assert made == again and made.rounds == 3 and made.survival[0]["in"] >= 10
    assert len({one.instruction for one in made.kept}) == len(made.kept)
