"""From a model's name to a finished model folder."""

from pathlib import Path

from adaptlab import paths
from adaptlab.engine import models
from adaptlab.studymodel import tokenizer
from adaptlab.studymodel.abilities import probe
from adaptlab.studymodel.instructed import make_instructed
from adaptlab.studymodel.pretrain import LOG, pretrain
from adaptlab.studymodel.publish import check_place, publish
from adaptlab.studymodel.recipes import RECIPES, TUNINGS, ModelRecipe


class UnknownRecipe(LookupError):
    """No study model of that name is known."""


class NoSteps(ValueError):
    """An instruction-tuned model is made in one go."""


def make(name: str, steps: int | None = None, device: str = "auto", out: Path | None = None) -> Path:
    """Train ``name``, or go on training it, and write the model folder once its last step is done.

    ``steps``: stop once so many are done in all. ``out``: the model folder; left out, it stands beside the run's own
    files in ``checkpoints/NAME``. Returns the folder that was written last.

    Raises `UnknownRecipe`, `NoSteps`, `publish.NotAStudyModel` where ``out`` holds something else, and
    `checkpoints.CannotResume` where ``checkpoints/NAME`` holds a run of another recipe or one that is at work.
    """
    if name not in {*RECIPES, *TUNINGS}:
        raise UnknownRecipe(f"study models are {', '.join([*RECIPES, *TUNINGS])}; there is no {name!r}")
    work = paths.CHECKPOINTS / name
    folder = out or work / "model"
    check_place(folder)
    if name in RECIPES:
        return _raised(RECIPES[name], work, folder, steps, device)
    if steps:
        raise NoSteps(f"{name} is tuned in one go, and goes on where it was killed; leave --steps out")
    make_instructed(TUNINGS[name], work, folder, device)
    return folder


def _raised(recipe: ModelRecipe, work: Path, folder: Path, steps: int | None, device: str) -> Path:
    """A model from nothing, or as much of it as ``steps`` allow."""
    place = models.device_named(device)
    words = tokenizer.train()
    trainer = pretrain(recipe, words, work, place, probe=lambda model: probe(model, words), until=steps)
    if trainer.done < recipe.steps:
        return work
    publish(recipe, trainer.model, words, work / LOG, folder)
    return folder
