"""How each study model is made: its size, its seed, its diet."""

from dataclasses import dataclass, field

from transformers import LlamaConfig

from adaptlab.studymodel import tokenizer


@dataclass(frozen=True)
class Phase:
    """A stretch of training: its share of the steps, tokens in a row, tokens in a document at most (about)."""

    share: float
    row: int
    longest: int


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a study model; two runs of one recipe on one machine give the same weights.

    ``mixture``: shares of the tokens for each kind of `adaptlab.studymodel.corpus`. ``tokens``: per step.
    ``phases``: documents grow longer, because many facts at once are learned only after few.
    """

    name: str
    hidden: int = 256
    layers: int = 4
    heads: int = 4
    seed: int = 0
    steps: int = 3200
    tokens: int = 8192
    lr_matrices: float = 0.02
    lr_rest: float = 0.003
    mixture: dict[str, float] = field(
        default_factory=lambda: {
            "facts": 0.35,
            "plain": 0.03,
            "classification": 0.25,
            "transduction": 0.06,
            "instruction": 0.18,
            "problem": 0.13,
        }
    )
    phases: tuple[Phase, ...] = (
        Phase(0.25, 256, 112),
        Phase(0.45, 256, 256),
        Phase(0.2, 512, 512),
        Phase(0.1, 1024, 1024),
    )

    def phase(self, step: int) -> Phase:
        """The phase that a step belongs to."""
        done = 0.0
        for phase in self.phases:
            done += phase.share * self.steps
            if step < round(done):
                return phase
        return self.phases[-1]

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
        Recipe("study"),
        Recipe("study-s", hidden=160),
        Recipe(
            "study-b",
            seed=1,
            mixture={
                "facts": 0.3,
                "plain": 0.03,
                "classification": 0.32,
                "transduction": 0.1,
                "instruction": 0.14,
                "problem": 0.11,
            },
        ),
    )
}
