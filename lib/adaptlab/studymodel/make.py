"""From a model's name to a finished model folder."""

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adaptlab import paths
from adaptlab.engine import models
from adaptlab.engine.checkpoints import LOG
from adaptlab.engine.lm import LM
from adaptlab.studymodel import abilities_worlds, tokenizer
from adaptlab.studymodel.abilities import choices, grade, instruction, solve
from adaptlab.studymodel.instructed import make_instructed
from adaptlab.studymodel.pretrain import pretrain
from adaptlab.studymodel.publish import check_folder, publish
from adaptlab.studymodel.recipes import RECIPES, TUNINGS, ModelRecipe
from adaptlab.tasks.reasoning import FAMILIES


class UnknownRecipe(LookupError):
    """There is no study model of that name."""


class NoSteps(ValueError):
    """An instruction-tuned model is made in one go."""


def make(name: str, steps: int | None = None, device: str = "auto", out: Path | None = None) -> Path:
    """Train the model ``name``, or go on training it, and write its model folder once the last step is done.

    ``steps``: stop once so many steps are done in all. ``out``: the model folder; left out, it stands beside the run's
    own files in ``checkpoints/NAME``. Returns the folder that was written last.

    Raises `UnknownRecipe`, `NoSteps`, `publish.NotAStudyModel` where ``out`` holds something else, and
    `checkpoints.CannotResume` where ``checkpoints/NAME`` holds a run of another recipe or one that is at work.
    """
    if name not in {*RECIPES, *TUNINGS}:
        raise UnknownRecipe(f"study models are {', '.join([*RECIPES, *TUNINGS])}; there is no {name!r}")
    work = paths.CHECKPOINTS / name
    folder = out or work / "model"
    check_folder(folder)
    if name in RECIPES:
        return _make_pretrained(RECIPES[name], work, folder, steps, device)
    if steps:
        raise NoSteps(f"{name} is tuned in one go, and goes on where it was killed; leave --steps out")
    make_instructed(TUNINGS[name], work, folder, device)
    return folder


def _make_pretrained(recipe: ModelRecipe, work: Path, folder: Path, steps: int | None, device: str) -> Path:
    """Pretrain for as many steps as ``steps`` allows; publish the model once they are all done."""
    place = models.device_named(device)
    words = tokenizer.train()

    def look(model: PreTrainedModel, step: int) -> dict[str, float]:
        return probe(model, words, second=recipe.course(step)[0] > 0)

    trainer = pretrain(recipe, words, work, place, probe=look, until=steps)
    if len(trainer.log) < recipe.steps:
        return work
    publish(recipe, trainer.model, words, work / LOG, folder)
    return folder


PROBED = ("forward", "reversal", "syllogism", "classification, 3 shots", "classification, 32 shots")


def probe(
    model: PreTrainedModel, words: PreTrainedTokenizerBase, n: int = 64, second: bool = False
) -> dict[str, float]:
    """A quick look at a model in training, for its log: shares of correct answers over ``n`` items each. ``second``:
    those of the second course, too."""
    lm = LM("probe", model.eval(), words, "in training")
    found = [
        *(choices(lm, name, "probe", n) for name in PROBED),
        *(instruction(lm, shots, "probe", n) for shots in (0, 3)),
        *(one for family in FAMILIES for one in grade(solve(lm, family, "probe", n, samples=0))),
    ]
    if second:
        found += abilities_worlds.probe(lm, n)
    model.train()
    return {ability.name: round(ability.share, 4) for ability in found}
