"""The instruction-tuned study model: what its texts are, and how it is made."""

import functools
import json
import re
import shutil
from functools import cache

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaForCausalLM
from typer.testing import CliRunner

from adaptlab import paths
from adaptlab.engine import loss_mask, training
from adaptlab.engine.checkpoints import LOG
from adaptlab.engine.generation import Completion, Generated
from adaptlab.engine.kv_sharing import EMPTY
from adaptlab.engine.lm import LM
from adaptlab.engine.models import load
from adaptlab.engine.scoring import Cost
from adaptlab.engine.training import TrainingConfig
from adaptlab.runner.cli import app
from adaptlab.studymodel import abilities, instructed, make
from adaptlab.studymodel.instructed import build_examples, instruction_following, texts
from adaptlab.studymodel.publish import ABILITIES, CARD, TRAINING
from adaptlab.studymodel.recipes import TUNINGS, ModelRecipe, Tuning
from adaptlab.tasks import instructions, reasoning
from adaptlab.tasks.words import FIRST, SECOND, nouns
from tiny import use

BASE = "study"
TUNING = TUNINGS["study-it"]
PLAN = TrainingConfig(epochs=2, batch=4, lr=1e-3, patience=1, seed=3)
TINY = Tuning("tiny-it", requests=20, conversations=10, problems=10, training=PLAN)
NOUN = re.compile(rf"\b(?:{'|'.join(FIRST)})(?:{'|'.join(SECOND)})\b")
TEN, SECOND_TURN = "instruction, 0 shots, ten wordings", "two turns, the second"


@cache
def lm(name: str) -> LM:
    return load(name, device="cpu")


@cache
def taught() -> list[instructed.Turns]:
    return texts(TUNING, "train")


# --- what it learns from ----------------------------------------------------------------------------------------------


def test_texts_are_as_many_of_each_kind_as_promised_and_a_seed_draws_them():
    problems = [turns for turns in taught() if re.match(r"Start with \d|Sum \d|Given: ", turns[0][0])]
    talks = [turns for turns in taught() if len(turns) == 2]
    assert (len(problems), len(talks)) == (TUNING.problems, TUNING.conversations)
    assert len(taught()) == TUNING.requests + TUNING.conversations + TUNING.problems
    assert {len(turns) for turns in taught()} == {1, 2}
    assert texts(TINY, "train") == texts(TINY, "train")
    other = Tuning("tiny-it", requests=20, conversations=10, problems=10, training=TrainingConfig(seed=4))
    assert not {str(t) for t in texts(TINY, "train")} & {str(t) for t in texts(other, "train")}


def words_of(found: list[instructed.Turns]) -> set[str]:
    return {noun for turns in found for pair in turns for text in pair for noun in NOUN.findall(text)}


def test_no_text_is_about_what_the_model_is_tested_on(monkeypatch):
    """Nouns of one split only, in what is trained and in what is held out; and no prompt of the measurements."""
    assert words_of(taught()) <= set(nouns("train"))
    held_out = texts(TUNING.held_out, "probe")
    assert words_of(held_out) <= set(nouns("probe"))
    measured = []

    def collect(lm, prompts, *_):
        measured.extend(prompts)
        return [""] * len(prompts)

    def written(lm, prompts, *_, **__):
        return Generated([Completion("", False)] * len(collect(lm, prompts)), Cost(), EMPTY, "trie")

    for module in (abilities, instructed):
        monkeypatch.setattr(module, "finished", collect)
    monkeypatch.setattr(abilities, "generate", written)
    instruction_following(None, 500)
    abilities.instruction(None, 0, "test", 500)
    for family in reasoning.FAMILIES:
        abilities.solve(None, family, "test", 500, samples=0)
    asked = {abilities.LAYOUT.asked(turns[0][0]) for turns in taught() + held_out}
    assert len(measured) >= 7 * 500 and len(asked) > 4000 and not asked & set(measured)


PLAIN = re.compile(r"[a-z0-9]+(?: [a-z0-9]+)*")


def test_every_answer_is_plain_and_right():
    followed_up = [turns[1] for turns in taught() if len(turns) == 2]
    assert all(PLAIN.fullmatch(answer) for _, answer in followed_up)
    for query, answer in (turns[0] for turns in taught()):
        if match := re.match(r"Sum ([\d ]+)\.", query):
            assert answer.endswith(f"So {sum(map(int, match[1].split()))}.")
        elif re.match(r"Start with \d", query):
            signed = re.findall(r"(Start with|Add|Take) (\d+)", query)
            assert answer.endswith(f"So {sum(-int(n) if what == 'Take' else int(n) for what, n in signed)}.")
        elif query.startswith("Given:"):
            assert re.search(r"So (yes|no)\.$", answer)
        else:
            assert PLAIN.fullmatch(answer)


def test_what_is_read_is_a_prompt_and_what_is_trained_is_the_answer_with_its_end():
    """In both layouts; in that of the chat template, texts are what the template writes."""
    base, dialogues = lm(BASE), 0
    words = instructed.chat_tokenizer(base)
    examples = iter(build_examples(base, TINY))
    for turns in texts(TINY, "train"):
        messages = []
        for query, answer in turns:
            one = next(examples)
            start = one.loss_mask.index(True)
            assert all(one.loss_mask[start:])
            prompt, end = words.decode(one.ids[:start]), words.decode(one.ids[start:])
            assert prompt.startswith("<bos>") and end == f" {answer}<eos>"
            messages.append({"role": "user", "content": query})
            if "User:" in prompt:
                dialogues += 1
                asked = words.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
                assert asked == list(one.ids[:start])
            else:
                assert prompt.endswith(f"Question: {query}\nAnswer:")
            messages.append({"role": "assistant", "content": answer})
            if "User:" in prompt:
                assert words.apply_chat_template(messages, return_dict=False) == list(one.ids)
    assert not list(examples) and 10 <= dialogues <= 20


# --- how it is made ---------------------------------------------------------------------------------------------------


@pytest.fixture
def kit(tmp_path, monkeypatch):
    """A kit with a base of a few thousand weights, and measurements that take a moment."""
    source = paths.MODELS / BASE
    use(tmp_path, monkeypatch.setattr)
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    torch.manual_seed(0)
    folder = tmp_path / "models" / BASE
    LlamaForCausalLM(ModelRecipe(BASE, hidden=32, heads=2, layers=1).config()).save_pretrained(folder)
    for name in (ABILITIES, "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(source / name, folder / name)
    few = {name: instructions.LIST_TASKS[name] for name in ("copy", "reverse")}
    monkeypatch.setattr(instructions, "LIST_TASKS", few)
    monkeypatch.setattr(make, "make_instructed", functools.partial(instructed.make_instructed, n=3))
    monkeypatch.setitem(TUNINGS, TINY.name, TINY)
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(app, ["pretrain", *map(str, arguments)])


def run(folder, out):
    """Tune the tiny model: its published log without times, and its weights."""
    instructed.make_instructed(TINY, folder, out, "cpu", n=3)
    log = [json.loads(line) for line in (out / TRAINING).read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in log], load_file(out / "model.safetensors")


def test_from_the_command_line_to_a_folder_that_loads(kit):
    out = kit / "models" / TINY.name
    result = call(TINY.name, "--out", out, "--device", "cpu")
    assert result.exit_code == 0 and result.output.strip().endswith(TINY.name), result.output
    base, made = load(BASE, device="cpu"), load(TINY.name, device="cpu")
    assert {tensor.dtype for tensor in load_file(out / "model.safetensors").values()} == {torch.bfloat16}
    moved = [not torch.equal(p, q) for p, q in zip(base.model.parameters(), made.model.parameters(), strict=True)]
    assert all(moved), "all weights learn"
    assert (out / "tokenizer.json").read_bytes() == (kit / "models" / BASE / "tokenizer.json").read_bytes()
    card = (out / CARD).read_text()
    assert base.digest in card and f"adaptlab pretrain {TINY.name}" in card and "20 requests, 10 conv" in card
    names = [one["name"] for one in json.loads((out / ABILITIES).read_text())]
    assert {"forward", TEN, SECOND_TURN} <= set(names) and all(f"| {name} |" in card for name in names)
    assert (kit / "checkpoints" / TINY.name / LOG).is_file()


def test_twice_the_same_and_interrupted_the_same(kit, monkeypatch):
    monkeypatch.setattr(instructed, "measure", lambda lm, n: [])
    log, weights = run(kit / "one", kit / "models" / "one")
    assert [line["step"] for line in log] == [10, 20, 26] and "before" in log[0] and "held_out" in log[-1]
    left = iter(range(15))

    @functools.wraps(loss_mask.losses)
    def failing(model, items):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return loss_mask.losses(model, items)

    with monkeypatch.context() as patch:
        patch.setattr(instructed, "train", functools.partial(training.train, save_every=3, loss=failing))
        with pytest.raises(KeyboardInterrupt):
            run(kit / "two", kit / "models" / "two")
    assert (kit / "two" / LOG).is_file() and not (kit / "models" / "two").exists()
    again, others = run(kit / "two", kit / "models" / "two")
    assert again == log and all(torch.equal(weights[name], others[name]) for name in weights | others)
