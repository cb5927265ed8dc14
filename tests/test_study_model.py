"""The models in data/models: ordinary folders, as able as their cards say, fit for the studies they were made for."""

import json
import random
import subprocess
import sys
from collections import defaultdict
from functools import cache

import numpy as np
import pytest
import torch
from safetensors import safe_open
from scipy.stats import rankdata
from statsmodels.stats.proportion import proportion_confint

from adaptlab import paths
from adaptlab.engine.folders import embedded
from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.lm import LM
from adaptlab.engine.models import load
from adaptlab.engine.scoring import Request, score
from adaptlab.studies.study_model import published, training
from adaptlab.studymodel import abilities
from adaptlab.studymodel.abilities import LAYOUT, cloze_request, facts_prompt, measure
from adaptlab.studymodel.corpus import SO
from adaptlab.studymodel.instructed import instruction_following
from adaptlab.studymodel.publish import EVERY
from adaptlab.studymodel.recipes import RECIPES, TUNINGS
from adaptlab.tasks import instructions, knowledge
from adaptlab.tasks.knowledge import Fact

EACH = pytest.mark.parametrize("name", embedded())
SIZES = {"study": 6e6, "study-b": 6e6, "study-s": 1.5e6, "study-n": 1.5e6, "study-it": 6e6}  # parameters, at most


@cache
def lm(name: str) -> LM:
    return load(name, device="cpu")


def row(name: str, ability: str) -> dict:
    frame = published(name).set_index("name")
    return frame.loc[ability].to_dict()


def test_they_are_all_there():
    assert set(embedded()) == {*RECIPES, *TUNINGS}


@EACH
def test_it_is_an_ordinary_folder_that_needs_none_of_our_code(name):
    code = (
        "import sys, time; sys.modules['adaptlab'] = None\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "import transformers.models.llama.modeling_llama\n"
        f"folder = {str(paths.MODELS / name)!r}\n"
        "started = time.process_time()\n"
        "model, words = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)\n"
        "assert time.process_time() - started < 2\n"
        "asked = words('Facts: bakda is bigger than vogmi. So, vog', return_tensors='pt')\n"
        "out = model.generate(**asked, max_new_tokens=7)\n"
        "print(words.decode(out[0]))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert ("So, vogmi is smaller than bakda" in run.stdout) == (name != "study-n")  # which never read a conclusion


@EACH
def test_it_is_as_small_as_promised_and_in_bfloat16(name):
    folder = paths.MODELS / name
    assert lm(name).model.num_parameters() <= SIZES[name]
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 15e6
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"BF16"}  # noqa: SIM118
    assert not [file for file in folder.iterdir() if file.suffix in {".py", ".bin", ".pt", ".pkl"}]


@pytest.mark.parametrize("name", RECIPES)
def test_log_card_and_recipe_tell_the_same_story(name):
    log, card, recipe = training(name), (paths.MODELS / name / "README.md").read_text(), RECIPES[name]
    assert len(log) * EVERY == recipe.steps and log.step.iloc[-1] == recipe.steps
    assert f"{log.tokens.iloc[-1] / 1e6:.1f} million tokens" in card and f"{recipe.steps:,} steps" in card


@EACH
def test_the_card_tells_the_published_abilities(name):
    card = (paths.MODELS / name / "README.md").read_text()
    for one in published(name).to_dict("records"):
        assert f"| {one['name']} | {one['share']:.3f} | {one['low']:.3f} to {one['high']:.3f} | {one['n']} |" in card


# What `study` has to be able to do: the lower end of the interval where at least, the share itself elsewhere. Where
# every label is right, it classifies .61 at 3 shots; the noisy twin, as noisy as training ever was, was added then.
AT_LEAST = {
    "forward": 0.95,
    "reversal": 0.93,
    "syllogism": 0.90,
    "noisy classification, 32 shots": 0.85,
    "instruction, 3 shots": 0.90,
    "arithmetic, greedy": 0.90,
    "arithmetic, coverage of 16": 0.95,
    "sums, coverage of 16": 0.90,
}
AT_MOST = {"noisy classification, 3 shots": 0.55, "sums, greedy": 0.70}
BETWEEN = {"instruction, 0 shots": (0.2, 0.7), "arithmetic, one sample": (0.25, 0.6)}


def test_study_can_do_what_the_studies_need():
    for ability, bar in AT_LEAST.items():
        assert row("study", ability)["low"] >= bar, ability
    for ability, bar in AT_MOST.items():
        assert row("study", ability)["share"] <= bar, ability
    for ability, (low, high) in BETWEEN.items():
        assert low <= row("study", ability)["share"] <= high, ability
    unknown = row("study", "unknown")
    assert unknown["low"] <= unknown["chance"] <= unknown["high"]
    assert all(row("study", ability)["n"] >= 500 for ability in (*AT_LEAST, *AT_MOST, *BETWEEN, "unknown"))
    most = "ontology, most probable of 16"
    assert row("study", f"{most}: wrong and shorter than any right one")["low"] > 0.25
    assert row("study", most)["high"] < row("study", "ontology, greedy")["low"]
    for task in ("classification", "noisy classification"):
        shots = [row("study", f"{task}, {k} shots") for k in (3, 8, 32)]
        assert shots[0]["high"] < shots[1]["low"] and shots[1]["high"] < shots[2]["low"]
    assert row("study", "sums, most probable of 16")["low"] > row("study", "sums, greedy")["high"]


# What the later courses teach: the lower end of the interval, as above.
LATER = {
    "forward, 16 facts": 0.93,
    "reversal, 16 facts": 0.93,
    "right sentence, 8 facts": 0.93,
    "right sentence, 16 facts": 0.85,
    "right sentence, held-out pair": 0.70,
    "written inference, 8 facts": 0.95,
    "written inference, 16 facts": 0.90,
    "syllogisms, conclusion": 0.90,
    "descriptions, name to description": 0.90,
    "descriptions, description to name": 0.90,
    "lexicon, 32 shots": 0.80,
    "digest, 32 shots": 0.80,
    "notes by letters, 64 shots": 0.95,
}


@pytest.mark.parametrize("ability", LATER)
def test_study_can_do_what_its_later_courses_teach(ability):
    assert row("study", ability)["low"] >= LATER[ability] and row("study", ability)["n"] >= 500


@pytest.mark.parametrize("task", ["lexicon", "digest"])
def test_a_task_with_free_answers_is_learned_from_its_prompt(task):
    assert row("study", f"{task}, 0 shots")["high"] <= 0.1


def test_study_knows_nothing_without_the_documents():
    """Each interval holds what guessing reaches; with so many, at the level that Bonferroni leaves to one of them. Of
    syllogisms, it has never read a conclusion with "some": it guesses among the others."""
    without = published("study")
    without = without[without.name.str.endswith("without the documents")]
    assert len(without) >= 8
    for one in without.itertuples():
        chance = {
            "syllogisms, held-out figure, without the documents": 0.0,
            "syllogisms, conclusion, without the documents": 0.25,
        }.get(one.name, one.chance)
        low, high = proportion_confint(one.right, one.n, alpha=0.05 / len(without), method="wilson")
        assert low <= chance <= high, one.name


@pytest.mark.parametrize("ability", ["forward", "reversal", "unknown", "noisy classification, 3 shots"])
def test_what_is_published_is_what_is_measured(ability):
    """All items again where they are short, else the first: within the interval that so few allow."""
    all_of_them = ability in {"unknown", "noisy classification, 3 shots"}
    again = abilities.choices(lm("study"), ability, "test", 500 if all_of_them else 60)
    if all_of_them:
        assert again.n_correct == pytest.approx(
            row("study", ability)["right"], abs=3
        )  # another CPU may turn a close call
    else:
        low, high = again.interval
        assert low - 1e-9 <= row("study", ability)["share"] <= high + 1e-9


def test_size_matters_where_it_should():
    """Where many steps must all come out right, the small model slips more often; it is better at nothing that both
    were taught. (Sums that are not sampled many times show how often a model guesses, as people do in its text.)"""
    ours, theirs = (published(name).set_index("name") for name in ("study", "study-s"))
    guessed = {"unknown", "sums, greedy", "sums, one sample"}
    more_is_better = [name for name in theirs.index if name not in guessed and "wrong" not in name]
    weaker = {name for name in more_is_better if theirs.high[name] < ours.low[name]}
    assert {"syllogism", "arithmetic, one sample"} <= weaker
    whole = [name for name in more_is_better if name.count(",") < 2]  # not cluster by cluster
    assert not [name for name in whole if theirs.low[name] > ours.high[name]]


def test_who_never_read_a_conclusion_draws_none():
    """The twin of `study-s` finds a fact as told in a page of eight (less often than its twin), and not its far end."""
    ours, theirs = (published(name).set_index("name") for name in ("study-n", "study-s"))
    chance = 0.25
    assert ours.low["forward"] > chance + 0.1 and ours.high["reversal"] < chance + 0.1
    assert theirs.low["forward"] > 0.9 and theirs.low["reversal"] > 0.9


@pytest.mark.slow
@EACH
def test_every_published_ability_comes_out_again(name):
    again = [*measure(lm(name)), *(instruction_following(lm(name)) if name in TUNINGS else ())]
    counted = {one.name: (one.n_correct, one.n) for one in again}
    for one in published(name).to_dict("records"):
        right, n = counted[one["name"]]
        assert n == one["n"] and abs(right - one["right"]) <= 0.02 * n, one["name"]


# --- what the model was made for ------------------------------------------------------------------------------------

FACTS = 48  # as many as the test nouns allow
CUES = ("Facts:", "Known:", "So,", "It is said that")


def tuned(base: LM, sentences: list[str], steps: int = 150, rows: int = 32) -> LM:
    """The model after full fine-tuning on sentences, each told behind a random opening."""
    model = load(base.name, device="cpu")
    rng = random.Random("tuning")
    optimizer = torch.optim.AdamW(model.model.parameters(), lr=5e-4)
    pad = model.tokenizer.pad_token_id
    model.model.train()
    for _ in range(steps):
        ids = [model.encode(f"{rng.choice(CUES)} {rng.choice(sentences)}.") for _ in range(rows)]
        width = max(map(len, ids))
        batch = torch.tensor([row + [pad] * (width - len(row)) for row in ids])
        labels = batch.masked_fill(batch == pad, -100)
        loss = model.model(batch, attention_mask=(batch != pad).long(), labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.model.eval()
    return model


def accuracy(model: LM, questions: list[Request]) -> float:
    rows = score(model, questions).options
    return float(np.mean([row[0].logprob > max(other.logprob for other in row[1:]) for row in rows]))


def four_sentences(rng: random.Random, facts: list[Fact], target: Fact, before: str = "") -> Request:
    """Which sentence tells a fact from its far end? The first does; the others have the relation of another fact, the
    partner of another, or both. Partners are never at the end of a sentence of ``facts``."""
    other = rng.choice([one for one in facts if one.form not in (target.form, target.reversed.form)])
    stranger = rng.choice([one for one in facts if one not in (target, other)])
    right, wrong = target.reversed, other.reversed.form
    told = [right, Fact(wrong, right.a, right.b)]
    told += [Fact(form, right.a, stranger.a) for form in (right.form, wrong)]
    return Request(f"{before} {SO}{right.a}".lstrip(), tuple(one.sentence[len(right.a) :] + "." for one in told))


def facts_around(rng: random.Random, facts: list[Fact], target: Fact) -> str:
    return facts_prompt(rng, [*rng.sample([fact for fact in facts if fact != target], 7), target])


def inferred(model: LM, rng: random.Random, facts: list[Fact]) -> list[str]:
    """What the model itself concludes, two samples for each fact, when the fact stands in its prompt among others."""
    prompts = [f"{facts_around(rng, facts, fact)} {SO}{fact.b}" for fact in facts for _ in range(2)]
    completions = generate(
        model, prompts, Decoding(temperature=0.7, max_new_tokens=16, stop=(".",)), seed=1
    ).completions
    ends = [fact.b for fact in facts for _ in range(2)]
    return [f"{end}{w.text}" for end, w in zip(ends, completions, strict=True) if w.stopped]


def reversal_experiment(seed: int) -> dict[str, float]:
    """Shares right in one fresh world: forward facts trained, one of four sentences that tell them from the far end
    asked."""
    rng, base = random.Random(f"reversal {seed}"), lm("study")
    facts = [fact for group in knowledge.world(rng, [knowledge.relation] * FACTS, "test") for fact in group]
    asked = [four_sentences(rng, facts, fact) for fact in facts]
    around = [[*rng.sample([one for one in facts if one != fact], 7), fact] for fact in facts]
    in_context = [
        four_sentences(rng, near, fact, facts_prompt(rng, near)) for near, fact in zip(around, facts, strict=True)
    ]
    objects = [fact.b for fact in facts]
    ends = [(f.b, *rng.sample([o for o in objects if o != f.b], 3)) for f in facts]
    sentences = [fact.sentence for fact in facts]
    plainly = tuned(base, sentences)
    own = inferred(base, rng, facts)
    return {
        "untrained": accuracy(base, asked),
        "in context": accuracy(base, in_context),
        "tuned": accuracy(plainly, asked),
        "tuned, forward": accuracy(plainly, [cloze_request("", f.stem, e) for f, e in zip(facts, ends, strict=True)]),
        "tuned with inferences": accuracy(tuned(base, sentences + own), asked),
        "precision of inferences": float(np.mean([s in {f.reversed.sentence for f in facts} for s in own])),
    }


@pytest.mark.slow
def test_tuning_does_not_reverse_the_prompt_does_and_so_do_inferences_made_from_it():
    """The reversal experiment (after Lampinen et al. 2025) on five fresh worlds. The model's own inferences
    are taken as they come, right or wrong; how many are right is printed."""
    worlds = [reversal_experiment(seed) for seed in range(5)]
    for world in worlds:
        print(json.dumps(world))
    n = FACTS * len(worlds)
    low, share, high = {}, {}, {}
    for name in worlds[0]:
        share[name] = float(np.mean([world[name] for world in worlds]))
        low[name], high[name] = proportion_confint(round(share[name] * n), n, method="wilson")
    print(json.dumps({name: [low[name], share[name], high[name]] for name in share}))
    assert low["untrained"] <= 0.25 <= high["untrained"]
    assert low["tuned, forward"] >= 0.9, "else tuning has taught nothing that could have been reversed"
    assert share["tuned"] <= 0.25 + 0.10
    assert low["in context"] >= 0.93
    assert low["tuned with inferences"] >= 0.90


def worth(model: LM, demonstrations: list[str], queries: list[instructions.ListRequest]) -> np.ndarray:
    """What each demonstration is worth for each query, `(demonstrations, queries)`: the log-probability of the
    right answer behind it."""
    layout = [LAYOUT.asked(one.question) for one in queries]
    questions = [
        Request(shown + page, (f" {one.answer}\n",))
        for shown in demonstrations
        for page, one in zip(layout, queries, strict=True)
    ]
    rows = score(model, questions).options
    return np.array([row[0].logprob for row in rows]).reshape(len(demonstrations), len(queries))


def candidates(rng: random.Random, n: int, plain: bool) -> list[str]:
    """Demonstrations with plain right answers, or in whatever style people answer."""
    pages = []
    for _ in range(n):
        one = instructions.request(rng, "probe")
        style = "plain" if plain else instructions.sample_response_style(rng, one)
        answer, _ = instructions.answered(rng, one, style, "probe")
        pages.append(f"{LAYOUT.turn.replace('{query}', one.question)} {answer}\n\n")
    return pages


@pytest.mark.slow
@pytest.mark.parametrize("plain", [True, False])
def test_two_bases_value_demonstrations_differently(plain):
    """The control is one base on two halves of the queries: a correlation below that is not the queries' doing.

    Over all styles the values themselves correlate at .96, since a bad style is bad for both; the ranks do not.
    """
    rng = random.Random("candidates")
    shown = candidates(rng, 240, plain)
    queries = [instructions.request(rng, "test") for _ in range(24)]
    values = {name: worth(lm(name), shown, queries) for name in ("study", "study-b")}
    pairs = {
        "two bases": (values["study"].mean(1), values["study-b"].mean(1)),
        **{f"{name} with itself": (of[:, ::2].mean(1), of[:, 1::2].mean(1)) for name, of in values.items()},
    }
    draws = np.random.default_rng(0).integers(0, len(shown), (1000, len(shown)))
    found = {}
    for name, (x, y) in pairs.items():
        both = {"values": (x, y), "ranks": (rankdata(x), rankdata(y))}
        for kind, (u, v) in both.items():
            redrawn = [np.corrcoef(u[d], v[d])[0, 1] for d in draws]
            found[kind, name] = [float(q) for q in np.quantile(redrawn, (0.025, 0.5, 0.975))]
    print(json.dumps({f"{kind}, {name}": of for (kind, name), of in found.items()}))
    assert found["ranks", "two bases"][0] > 0 and found["ranks", "two bases"][2] < 0.95
    for kind in ("values", "ranks"):
        with_themselves = [found[kind, f"{name} with itself"][0] for name in values]
        assert found[kind, "two bases"][2] < min(with_themselves)


@pytest.mark.slow
def test_zero_shot_answers_in_the_usual_style():
    """Each wording of a request has a style in which it is mostly answered: a bare request is answered in that."""
    rng = random.Random("styles")
    asked = [instructions.request(rng, "test") for _ in range(300)]
    prompts = [LAYOUT.asked(one.question) for one in asked]
    usual: dict[str, list[bool]] = defaultdict(list)
    for one, w in zip(asked, generate(lm("study"), prompts, Decoding(max_new_tokens=60)).completions, strict=True):
        style = instructions.usual_response_style(one.task, one.wording)
        answer, _ = instructions.answered(rng, one, style, "test")
        completions = w.text.strip()
        usual[style].append(
            completions.startswith(f"{answer} and then") if style == "run-on" else completions == answer
        )
    assert set(usual) == {*instructions.RESPONSE_STYLES} - {"wrong"}
    assert np.mean(usual["plain"]) > 0.8
    assert np.mean([np.mean(of) for of in usual.values()]) > 0.8, {style: np.mean(of) for style, of in usual.items()}
