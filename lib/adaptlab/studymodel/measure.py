"""All abilities of a study model: a quick look while it trains, and a long one when it has."""

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adaptlab.engine.models import LM
from adaptlab.studymodel import abilities, solving
from adaptlab.studymodel.abilities import Ability
from adaptlab.tasks import instructions, reasoning

PROBED = ("forward", "reversal", "syllogism", "classification, 3 shots", "classification, 32 shots")


def probe(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, n: int = 64) -> dict[str, float]:
    """A quick look at a model in training, for its log: shares of right answers over ``n`` items each."""
    lm = LM("probe", model.eval(), tokenizer, "in training")
    seen: list[Ability] = [
        *(abilities.choices(lm, name, "probe", n) for name in PROBED),
        *(abilities.instruction(lm, shots, "probe", n) for shots in (0, 3)),
        *(
            one
            for family in reasoning.FAMILIES
            for one in solving.graded(solving.solve(lm, family, "probe", n, samples=0))
        ),
    ]
    model.train()
    return {ability.name: round(ability.share, 4) for ability in seen}


def measure(lm: LM, n: int = 500) -> list[Ability]:
    """Every ability on the test nouns and problems, ``n`` items each (tens of thousands of answers: minutes)."""
    measured = [abilities.choices(lm, name, "test", n) for name in abilities.CHOICES]
    measured += [abilities.instruction(lm, shots, "test", n) for shots in (0, 1, 3)]
    measured += [abilities.instruction(lm, s, "test", n, cluster=c) for c in instructions.CLUSTERS for s in (0, 3)]
    for family in reasoning.FAMILIES:
        solved = solving.solve(lm, family, "test", n)
        measured += [*solving.graded(solved), *solving.favoured(solved, solving.preferred(lm, solved))]
    return measured
