"""How each study model is made: its size, its seed, its data mixture."""

from dataclasses import dataclass, replace

from transformers import LlamaConfig

from adaptlab.engine.training import TrainingConfig
from adaptlab.studymodel import tokenizer


@dataclass(frozen=True)
class Phase:
    """A phase of training: its share of the steps, tokens in a row, tokens in a document at most (about), the share of
    the tokens for each kind of document of `corpus.KINDS`, and a factor of the learning rate."""

    share: float
    row: int
    max_length: int
    mixture: dict[str, float]
    rate: float = 1.0


Mixture = dict[str, float]
BEGINNING: Mixture = {"relations": 1.0}
EARLY: Mixture = {"facts": 0.3, "chains": 0.2, "labels": 0.35, "instruction": 0.15}
MIDDLE: Mixture = {
    "facts": 0.22,
    "chains": 0.06,
    "plain": 0.01,
    "classification": 0.38,
    "transduction": 0.04,
    "instruction": 0.15,
    "problem": 0.14,
}
LAST: Mixture = {
    "facts": 0.16,
    "chains": 0.03,
    "plain": 0.02,
    "classification": 0.38,
    "transduction": 0.03,
    "instruction": 0.14,
    "problem": 0.24,
}


def curriculum(middle: Mixture, last: Mixture) -> tuple[Phase, ...]:
    """Looking up facts first, then what builds on it, then everything, in documents that grow longer.

    What trial runs showed, one or two each. Looking up a fact comes after 3 to 4 million tokens where documents hold
    two facts; it had not come after 4 million where they held up to four, nor after 12 with all kinds of documents from
    the start. Reading labels off notes came from 1.9 million tokens of labels that began at step 432, the last 0.6 of
    them in a phase of their own; begun at step 920, behind facts and chains alone, it had not come from 2.0. The
    trait that a note begins with was read off notes on one line (.92), not in prompts, where it stands farther from the
    label (.32); long documents laid out as prompts brought it to .6 in 200 steps at twice the rate.
    """
    return (
        Phase(0.108, 128, 80, BEGINNING),
        Phase(0.117, 256, 220, EARLY),
        Phase(0.05, 256, 220, {"facts": 0.15, "chains": 0.15, "labels": 0.7}),
        Phase(0.06, 256, 220, {"facts": 0.15, "chains": 0.15, "classification": 0.7}),
        Phase(0.24, 256, 220, middle),
        Phase(0.17, 256, 220, last),
        Phase(0.105, 512, 480, last),
        Phase(0.075, 1024, 1000, {"facts": 0.12, "classification": 0.6, "instruction": 0.08, "problem": 0.2}, rate=2),
        Phase(0.075, 1024, 1000, last),
    )


@dataclass(frozen=True)
class ModelRecipe:
    """Everything that decides a study model. Two runs of one recipe give the same weights on the processor of one
    machine with the same number of threads.

    ``tokens``: in a step, padding included. ``lr_matrices``, ``lr_rest``: peak learning rates of Muon and of AdamW.
    """

    name: str
    hidden: int = 256
    layers: int = 4
    heads: int = 4
    seed: int = 0
    steps: int = 4000
    tokens: int = 8192
    lr_matrices: float = 0.02
    lr_rest: float = 0.012
    phases: tuple[Phase, ...] = curriculum(MIDDLE, LAST)

    @property
    def mixture(self) -> Mixture:
        """Share of all tokens that each kind of document has."""
        kinds = dict.fromkeys(kind for phase in self.phases for kind in phase.mixture)
        return {kind: sum(phase.share * phase.mixture.get(kind, 0) for phase in self.phases) for kind in kinds}

    @property
    def starts(self) -> list[tuple[int, Phase]]:
        """The phases, each with its first step."""
        before = [sum(phase.share for phase in self.phases[:i]) for i in range(len(self.phases))]
        return [(round(share * self.steps), phase) for share, phase in zip(before, self.phases, strict=True)]

    def phase(self, step: int) -> Phase:
        """The phase that a step belongs to."""
        return next(phase for start, phase in reversed(self.starts) if step >= start)

    def config(self) -> LlamaConfig:
        """The architecture: Llama, with tied embeddings."""
        return LlamaConfig(
            vocab_size=tokenizer.SIZE,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            intermediate_size=round(self.hidden * 8 / 3 / 32) * 32,
            max_position_embeddings=max(phase.row for phase in self.phases),
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )


RECIPES = {
    recipe.name: recipe
    for recipe in (
        ModelRecipe("study"),
        ModelRecipe("study-s", hidden=160),
        ModelRecipe(
            "study-b",
            seed=1,
            phases=curriculum(
                MIDDLE | {"facts": 0.17, "instruction": 0.2}, LAST | {"problem": 0.19, "instruction": 0.19}
            ),
        ),
    )
}


INSTRUCTED = TrainingConfig(epochs=4, batch=32, lr=1e-3, patience=1)


@dataclass(frozen=True)
class Tuning:
    """Everything that decides an instruction-tuned study model: its base, how many texts of each kind it learns from,
    and how. The seed of ``training`` samples the texts too; a tenth as many, of the split ``probe``, are held out."""

    name: str
    base: str = "study"
    requests: int = 2400
    conversations: int = 800
    problems: int = 800
    training: TrainingConfig = INSTRUCTED

    @property
    def held_out(self) -> "Tuning":
        """The same with a tenth of the texts."""
        fewer = {kind: getattr(self, kind) // 10 for kind in ("requests", "conversations", "problems")}
        return replace(self, **fewer)


TUNINGS = {tuning.name: tuning for tuning in (Tuning("study-it"),)}
