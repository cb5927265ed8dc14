"""The published study-it: what it can do that its base cannot, and that its folder says so and stands by itself."""

import subprocess
import sys
from functools import partial

from adaptlab import paths
from adaptlab.studies import study_model
from adaptlab.studymodel import abilities
from adaptlab.studymodel.instructed import CHAT_TEMPLATE, instruction_following
from adaptlab.studymodel.publish import CARD, EVERY
from test_study_model import lm
from test_study_model import row as published_row

NAME, BASE = "study-it", "study"
TEN, FIRST_TURN, SECOND_TURN = "instruction, 0 shots, ten wordings", "two turns, the first", "two turns, the second"


row = partial(published_row, NAME)
base_row = partial(published_row, BASE)


# The lower end of the 95 % interval, of 500 items each. What it loses is the use of demonstrations.
AT_LEAST = {
    TEN: 0.95,
    FIRST_TURN: 0.85,
    SECOND_TURN: 0.55,
    "instruction, 0 shots": 0.90,
    "reversal": 0.90,
    "arithmetic, greedy": 0.90,
    "sums, greedy": 0.90,
    "ontology, greedy": 0.90,
}


def test_it_does_what_it_was_tuned_for_and_keeps_what_it_could():
    for ability, bar in AT_LEAST.items():
        assert row(ability)["low"] >= bar and row(ability)["n"] >= 500, ability
    for ability in ("instruction, 0 shots", "sums, greedy", "arithmetic, one sample"):
        assert row(ability)["low"] > base_row(ability)["high"], ability
    assert row("instruction, 3 shots")["high"] < base_row("instruction, 3 shots")["low"]
    unknown = row("unknown")
    assert unknown["low"] <= unknown["chance"] <= unknown["high"]


def test_what_is_published_is_what_is_measured_and_the_base_is_far_behind():
    before, after = ({one.name: one for one in instruction_following(lm(name), 60)} for name in (BASE, NAME))
    for name in (TEN, FIRST_TURN, SECOND_TURN):
        low, high = after[name].interval
        assert low - 1e-9 <= row(name)["share"] <= high + 1e-9, name
        assert after[name].interval[0] > before[name].interval[1], name
    again = abilities.choices(lm(NAME), "reversal", "test", 60)
    assert again.interval[0] - 1e-9 <= row("reversal")["share"] <= again.interval[1] + 1e-9


def test_card_and_log_tell_of_the_published_run():
    log, card = study_model.training(NAME), (paths.MODELS / NAME / CARD).read_text()
    assert f"{log.step.iloc[-1]:,} steps, {log.tokens.iloc[-1] / 1e6:.2f} million tokens" in card
    assert (log.step.diff().dropna() <= EVERY).all() and log.held_out.dropna().iloc[-1] < log.before.iloc[0]
    assert lm(BASE).digest in card


def test_files_beside_the_weights_are_those_of_the_base():
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        assert (paths.MODELS / NAME / name).read_bytes() == (paths.MODELS / BASE / name).read_bytes(), name
    assert (paths.MODELS / NAME / "chat_template.jinja").read_text() == CHAT_TEMPLATE
    assert lm(BASE).tokenizer.chat_template != CHAT_TEMPLATE


def test_transformers_alone_gets_an_answer_that_ends():
    code = (
        "import sys; sys.modules['adaptlab'] = None\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        f"folder = {str(paths.MODELS / NAME)!r}\n"
        "model, words = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)\n"
        "asked = [{'role': 'user', 'content': 'Reverse this list: bakda vogmi sokfi'}]\n"
        "ids = words.apply_chat_template(asked, add_generation_prompt=True, return_tensors='pt', return_dict=True)\n"
        "out = model.generate(**ids, max_new_tokens=40, do_sample=False)\n"
        "print(words.decode(out[0]), end='')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "<bos>User: Reverse this list: bakda vogmi sokfi\nAssistant: sokfi vogmi bakda<eos>"
