"""From a recipe's name to a finished model folder."""

from pathlib import Path

from adaptlab import paths
from adaptlab.engine import models
from adaptlab.studymodel import tokenizer
from adaptlab.studymodel.measure import probe
from adaptlab.studymodel.pretrain import LOG, pretrain
from adaptlab.studymodel.publish import check_place, publish
from adaptlab.studymodel.recipes import RECIPES


class UnknownRecipe(LookupError):
    """No study model of that name is known."""


def make(name: str, steps: int | None = None, device: str = "auto", out: Path | None = None) -> Path:
    """Train ``name``, or go on training it, and write the model folder once the recipe's last step is done.

    ``steps``: stop once so many are done in all. ``out``: the model folder; left out, it stands beside the run's own
    files in ``checkpoints/NAME``. Returns the folder that was written last.

    Raises `UnknownRecipe`, `publish.NotAStudyModel` where ``out`` holds something else, and `checkpoints.CannotResume`
    where ``checkpoints/NAME`` holds a run of another recipe or one that is at work.
    """
    if name not in RECIPES:
        raise UnknownRecipe(f"study models are {', '.join(RECIPES)}; there is no {name!r}")
    recipe, work = RECIPES[name], paths.CHECKPOINTS / name
    folder = out or work / "model"
    check_place(folder)
    place = models.device_named(device)
    words = tokenizer.train()
    trainer = pretrain(recipe, words, work, place, probe=lambda model: probe(model, words), until=steps)
    if trainer.done < recipe.steps:
        return work
    publish(recipe, trainer.model, words, work / LOG, folder)
    return folder
