"""Notebooks 06, 06b and 06c: fair problems, rewards that see what they say, and tables that count right."""

import random
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from adaptlab.engine.generation import Completion
from adaptlab.engine.scoring import Cost
from adaptlab.evidence.evaluate import once
from adaptlab.methods.sharpening import Pool
from adaptlab.studies import self_training
from adaptlab.studies import sharpening as study
from adaptlab.studies.sharpening import Asked, Attempts
from adaptlab.studymodel.abilities import OTHERS
from adaptlab.tasks import english_problems
from adaptlab.tasks.reasoning import FAMILIES, Problem, solution
from conftest import tiny_lm

GSM8K = '{{"question": "What is {0} and {0}?", "answer": "{0} + {0} = {1}.\\n#### {1}"}}\n'


def said(text: str, *logprobs: float, stopped: bool = True) -> Completion:
    return Completion(text, stopped, tuple(range(len(logprobs))), logprobs)


@pytest.fixture
def attempts() -> Attempts:
    """Two problems of three samples: of one, the short wrong one is the most probable; of the other, a right one."""
    asked = [
        Asked(Problem("sums", f"Sum {a} {b}.", str(a + b), (a, b)), f"Sum {a} {b}. A:") for a, b in ((3, 4), (1, 1))
    ]
    rows = [
        [said("Quick: 9.", -1.0), said("3 + 4 = 7. So 7.", -0.5, -1.0), said("So", -0.1, -0.1, stopped=False)],
        [said("So 2.", -0.2), said("So 3.", -0.4), said("So 2.", -0.2)],
    ]
    greedy = [said("Quick: 9.", -1.0), said("So 2.", -0.2)]
    return Attempts(tiny_lm("llama"), asked, Pool([[5, 6], [5, 7]], rows, Cost()), greedy)


@pytest.mark.parametrize("family", [*FAMILIES, *english_problems.FAMILIES])
def test_problems_are_seeded_and_of_their_split_and_answers_are_balanced(family):
    one, again, other = (study.problems(family, "test", 12, seed) for seed in (0, 0, 1))
    assert one == again != other
    trained = study.problems(family, "train", 40, 0)
    assert not {a.problem.question for a in one} & {a.problem.question for a in trained}
    answers = Counter(a.problem.answer for a in one)
    assert answers == {"yes": 6, "no": 6} or not {"yes", "no"} & answers.keys()
    for a in one:
        assert a.prompt.rstrip().endswith("Answer:") and a.problem.question in a.prompt
        worked = "Answer: " in a.prompt
        assert worked == (family not in FAMILIES), "English problems stand behind worked ones"


def test_what_is_computed_once_is_so_however_it_is_called():
    calls = []

    @once
    def noted(family, seed):
        calls.append((family, seed))
        return object()

    assert noted("sums", 1) is noted(family="sums", seed=1) is noted(seed=1, family="sums")
    assert noted("sums", 2) is not noted("sums", 1) and len(calls) == 2


def test_an_unknown_family_is_refused():
    with pytest.raises(ValueError, match="family"):
        study.problems("riddles", "test", 2, 0)


def test_word_problems_of_a_file_are_split_and_counted(tmp_path):
    file = tmp_path / "gsm8k.jsonl"
    file.write_text("".join(GSM8K.format(i, 2 * i) for i in range(44)))
    test, train = (study.problems("word-problems", split, 9, 0, str(file)) for split in ("test", "train"))
    assert not {a.problem.question for a in test} & {a.problem.question for a in train}
    assert all(a.problem.correct(f"So it is {a.problem.answer}.") for a in test)
    assert "What is 3 and 3?" in test[0].prompt and "\n#### " not in test[0].prompt
    with pytest.raises(ValueError, match="has 10 problems for test; 11 are wanted"):
        study.problems("word-problems", "test", 11, 0, str(file))


def test_what_is_cut_off_is_never_right_and_never_chosen(attempts):
    assert attempts.right.tolist() == [[False, True, False], [True, False, True]]
    assert attempts.answers.tolist() == [["9", "7", None], ["2", "3", "2"]]
    curves = study.curves(attempts, [1, 3]).set_index(["item", "rule", "n"]).accuracy
    assert curves["item 1", "log p", 3] == 0 and curves["item 1", "log p / tokens", 3] == 1
    assert curves["item 1", "log p", 1] == pytest.approx(1 / 3)
    assert curves["item 1", "coverage", 3] == 1 and curves["item 1", "greedy", 1] == 0
    assert curves["item 1", "majority", 3] == 0.5, "two answers, one vote each"
    assert curves["item 2", "majority", 3] == 1


def test_the_greedy_text_is_beaten_where_a_sample_is_more_probable(attempts):
    found = study.greedy_text(attempts).set_index("item")
    assert found.beaten.tolist() == [0, 0], "a text that was cut off beats nothing"
    assert found["above half"].tolist() == [0, 1]


REWARDED = {
    "log-p": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]],
    "right": [[0, 1, 0], [1, 0, 1]],
    "majority": [[1 / 3, 1 / 3, 0], [2 / 3, 1 / 3, 2 / 3]],
    "format": [[0, 1, 0], [0, 0, 0]],
    "shortest": [[-1, -2, -2], [-1, -1, -1]],
}


@pytest.mark.parametrize("name", self_training.REWARDS)
def test_a_reward_sees_what_its_name_says(attempts, name):
    reward = self_training.reward_named(name, [attempts.asked[1], attempts.asked[0]])
    found = reward(attempts.pool, [1, 0], np.arange(6.0).reshape(2, 3))
    if name == "random":
        assert found.shape == (2, 3) and len(set(found.ravel())) == 6
    else:
        assert np.allclose(found, REWARDED[name])
    assert reward.__qualname__ == f"reward of {name}"
    with pytest.raises(ValueError, match="reward"):
        self_training.reward_named("praise", [])


def test_a_model_that_was_not_trained_has_not_moved():
    lm = tiny_lm("llama")
    asked = study.problems("sums", "test", 4, 0)
    base = study.attempt(lm, asked, 3)
    found = self_training.grade(study.attempt(lm, asked, 3, base=base))
    assert np.allclose(found.kl, 0, atol=1e-4) and found.accuracy.between(0, 1).all()
    assert (found.distinct <= 3).all() and (found["any"] >= found.accuracy).all()
    moved = self_training.grade(study.attempt(tiny_lm("llama", seed=1), asked, 3, base=base))
    assert moved.kl.abs().max() > 0.01 and set(moved.model) == {lm.name}


def test_forgetting_is_what_the_base_could_and_follows_kl():
    rows = []
    for trained, kl, kept in (("nothing", 0.0, 1.0), ("a", 0.1, 0.9), ("b", 0.5, 0.6), ("c", 2.0, 0.2)):
        known = dict.fromkeys(OTHERS, kept) | {"instruction, 3 shots": 0.5}
        rows += [{"seed": s, "family": "sums", "trained": trained, "accuracy": 0.5, "kl": kl, **known} for s in (0, 1)]
    lost = self_training.forgetting(pd.DataFrame(rows))
    assert set(lost.trained) == {"a", "b", "c"}
    assert lost[lost.trained == "b"]["forward"].tolist() == pytest.approx([0.4, 0.4])
    assert lost[lost.trained == "c"].forgotten.tolist() == pytest.approx([0.6, 0.6])
    found = self_training.kl_and_forgetting(lost, "m").set_index(["of", "item"]).correlation
    assert found["KL and forgetting", "forward"].tolist() == pytest.approx([1, 1])
    assert found["KL and forgetting", "instruction, 3 shots"].tolist() == [0, 0], "an ability that nobody lost"


def test_savings_count_what_is_decoded():
    rng = random.Random(1)
    problem = FAMILIES["ontology"](rng, "test")
    texts = [solution(problem, rng) for _ in range(6)]
    pool = Pool([[5]], [[said(text, *[-0.5] * len(text.split())) for text in texts]], Cost())
    found = study.savings(Attempts(tiny_lm("llama"), [Asked(problem, "")], pool, []))
    assert found.decoded[0] == sum(len(text.split()) for text in texts)
    assert 0 <= found.alone[0] < 1 and 0 <= found.together[0] < 1 and 1 <= found.stops[0] <= 6
