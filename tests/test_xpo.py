"""The toy is exact; learning from the base model's samples needs y* among them, and XPO does not."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from adaptlab.methods.xpo import SHARPENED, SoftmaxToy, base_pairs, explore, objective, offline, residuals, shares

BETA, SEEDS = 0.05, range(20)


@pytest.fixture
def toy() -> SoftmaxToy:
    return SoftmaxToy.make(200, 0)


@pytest.mark.parametrize(("answers", "coverage"), [(200, 40), (400, 75), (2000, 350)])
def test_the_toy_is_what_it_says(answers, coverage):
    for seed in range(3):
        toy = SoftmaxToy.make(answers, seed)
        assert toy.features.shape == (answers, 8) and toy.best == answers - 1
        assert np.linalg.norm(toy.features, axis=1) == pytest.approx(np.ones(answers))
        assert not toy.features[:-1, 7].any() and not toy.features[-1, :7].any()
        assert toy.log_base[toy.best] - np.sort(toy.log_base)[-2] == pytest.approx(0.5)
        assert toy.coverage == pytest.approx(coverage, rel=0.2)
        assert np.exp(toy.log_policy(np.arange(8) - 900.0)).sum() == pytest.approx(1, abs=1e-12)
    assert toy.optimum(BETA)[toy.best] == pytest.approx(0.9999, abs=1e-4)


@pytest.mark.parametrize("beta", [0.1, 0.5, 1, 2])
def test_every_residual_is_zero_at_the_optimum_and_not_at_the_base(toy, beta):
    pairs = np.array(list(product(range(0, 200, 7), (0, 50, toy.best))))
    optimum = np.log(toy.optimum(beta))
    assert optimum == pytest.approx(toy.log_policy(toy.weights * (1 + 1 / beta)), abs=1e-9)  # it is in the class
    assert np.abs(residuals(toy, optimum, pairs, beta)).max() <= 1e-10
    gap = toy.log_base[pairs[:, 0]] - toy.log_base[pairs[:, 1]]
    assert residuals(toy, toy.log_base, pairs, beta) == pytest.approx(-gap)


def test_the_objective_and_its_slope(toy):
    pairs, weights = base_pairs(toy, 9, seed=1), toy.weights + np.arange(8)
    log_policy = toy.log_policy(weights)
    loss, bonus = (residuals(toy, log_policy, pairs, BETA) ** 2).sum(), log_policy[pairs[:, 1]].sum()
    assert objective(weights, toy, pairs, BETA, 0.3)[0] == pytest.approx(loss + 0.3 * bonus)
    slope = approx_fprime(weights, lambda at: objective(at, toy, pairs, BETA, 0.3)[0])
    assert objective(weights, toy, pairs, BETA, 0.3)[1] == pytest.approx(slope, abs=1e-5)


def test_the_printed_minus_sign_seeks_the_largest_error_that_the_box_allows(toy):
    pairs = base_pairs(toy, 20, seed=0)

    def loss(weights):
        return objective(weights, toy, pairs, BETA, 0)[0]

    def minus(weights):  # concave, so a corner of the box is least
        return objective(weights, toy, pairs, BETA, 1e-3)[0] - 2 * loss(weights)

    corners = {box: toy.weights + box * np.array(list(product((-1, 1), repeat=8))) for box in (10, 60, 600)}
    worst = {box: loss(min(corners[box], key=minus)) for box in corners}
    assert loss(toy.weights) < worst[10] < worst[60] / 4 < worst[600] / 16
    assert loss(offline(toy, 20, BETA, seed=0)) < 1e-12  # with the plus sign, and next to no bonus


def test_offline_succeeds_if_and_nearly_only_if_y_star_was_drawn(toy):
    for n in (10, 20, 50, 100):
        drawn = np.array([(base_pairs(toy, n, seed) == toy.best).any() for seed in range(60)])
        log_policies = np.array([toy.log_policy(offline(toy, n, BETA, seed)) for seed in range(60)])
        good = np.exp(log_policies[:, toy.best]) >= SHARPENED
        assert drawn.mean() == pytest.approx(1 - (1 - 1 / toy.coverage) ** (2 * n), abs=0.2)
        assert not (good & ~drawn).any() and (drawn & ~good).sum() <= 3
    assert (base_pairs(toy, 100, 3)[:10] == base_pairs(toy, 10, 3)).all()


@pytest.mark.parametrize(("answers", "seeds"), [(200, 8), (2000, 4)])
def test_xpo_finds_y_star_in_a_dozen_prompts_however_improbable(answers, seeds):
    toy = SoftmaxToy.make(answers, 0)
    for seed in range(seeds):
        run = explore(toy, 12, BETA, seed)
        assert len(run) <= 12 and run[-1] >= SHARPENED > max(run[:-1]), seed
    assert explore(toy, 3, BETA, seed) == run[:3]


def test_by_gradients_the_bonus_finds_nothing_that_plain_learning_does_not(toy):
    for prompts in (15, 40):
        runs = [[explore(toy, prompts, BETA, seed, bonus, "gradient")[-1] for seed in SEEDS] for bonus in (1e-3, 0)]
        bonus, plain = np.array(runs) >= SHARPENED
        drawn = [(base_pairs(toy, prompts, seed)[:, 1] == toy.best).any() for seed in SEEDS]  # of the same chances
        assert 0.2 < np.mean(drawn) < 0.9  # what y' brings is all: a policy that has left y* never draws it
        assert (bonus != drawn).sum() <= 1 and (plain != drawn).sum() <= 1  # one may turn on how a draw fell


def test_the_figure_s_numbers(toy):
    frame = shares(toy, (4, 40), range(6))
    table = frame.pivot(index="method", columns="prompts", values="share")
    assert table.loc["XPO, global search"].tolist() == [0, 1]
    assert table.loc["XPO, gradients"].to_numpy() == pytest.approx(table.loc["on-policy, no bonus"], abs=0.17)
    assert table.shape == (4, 2) and len(frame) == 8 and (frame.seeds == 6).all()
    assert table.loc["offline", 4] < table.loc["offline", 40] and table.drop("XPO, global search").to_numpy().max() < 1


def test_what_can_not_be_is_refused_with_a_sentence(toy):
    for call, sentence in (
        (lambda: SoftmaxToy.make(8, 0), "'answers': expected 9 or more, found 8"),
        (lambda: toy.optimum(0), "'beta': expected a number above 0, found 0"),
        (lambda: offline(toy, 0, BETA, 0), "'pairs': expected 1 or more, found 0"),
        (lambda: explore(toy, 9, 0.01, 0), "'beta': expected 0.03. or more, for its optimum to lie in the box"),
        (lambda: explore(toy, 9, BETA, 0, 0), "'bonus': expected above 0, or 0 with 'gradient', found 0"),
        (lambda: explore(toy, 9, BETA, 0, search="grid"), "'search': expected one of 'global', 'gradient'"),
        (lambda: shares(toy, (), (1,)), "'prompts or seeds': expected at least one of each"),
    ):
        with pytest.raises(ValueError, match=sentence):
            call()
