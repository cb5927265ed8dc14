"""How each study model is made: its size, its seed, its data mixture."""

from dataclasses import dataclass, replace

from transformers import LlamaConfig

from adaptlab.engine.training import TrainingConfig
from adaptlab.studymodel import tokenizer


@dataclass(frozen=True)
class Phase:
    """A phase of a course: its steps, tokens in a row, tokens in a document at most (about), the share of the tokens
    for each kind of document of `corpus.KINDS`, and a factor of the learning rate."""

    steps: int
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
        Phase(432, 128, 80, BEGINNING),
        Phase(468, 256, 220, EARLY),
        Phase(200, 256, 220, {"facts": 0.15, "chains": 0.15, "labels": 0.7}),
        Phase(240, 256, 220, {"facts": 0.15, "chains": 0.15, "classification": 0.7}),
        Phase(960, 256, 220, middle),
        Phase(680, 256, 220, last),
        Phase(420, 512, 480, last),
        Phase(300, 1024, 1000, {"facts": 0.12, "classification": 0.6, "instruction": 0.08, "problem": 0.2}, rate=2),
        Phase(300, 1024, 1000, last),
    )


@dataclass(frozen=True)
class Course:
    """A part of training for which the learning rate rises in ``warm_up`` steps, stays and falls once. It begins with
    new optimizers, from weights rounded to bfloat16, as models are published.

    ``lr``: the peak learning rate of AdamW for all weights; 0 leaves matrices to Muon, at the rates of the recipe.
    ``falls``: the share of the steps over which the learning rate falls.
    """

    phases: tuple[Phase, ...]
    lr: float = 0.0
    warm_up: int = 100
    falls: float = 0.5

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases)

    @property
    def starts(self) -> list[tuple[int, Phase]]:
        """The phases, each with its first step in the course."""
        return [(sum(phase.steps for phase in self.phases[:i]), phase) for i, phase in enumerate(self.phases)]


FIRST = Course(curriculum(MIDDLE, LAST))
OLD: Mixture = {"facts": 0.16, "chains": 0.12, "classification": 0.24, "instruction": 0.12, "problem": 0.36}


def beside_old(share: float, **parts: float) -> Mixture:
    """``share`` of the tokens for what the first course taught, the rest in the proportions of ``parts``."""
    old = {kind: round(share * part, 4) for kind, part in OLD.items()}
    return old | {kind: round((1 - share) * part / sum(parts.values()), 4) for kind, part in parts.items()}


# What the later courses taught us: one run, and trials of its parts, one or two each, probed on 64 items. An ability
# comes within 50 to 300 steps once its pages can be got right in no other way and its own tokens carry the loss, not
# within a thousand where there is another way. So each has a stretch of its own, before all come together.
# - Far ends at three fifths or two fifths of the tokens: right sentence among eight facts from .75 to 1.00 in 100 to
#   150 steps. With Muon in place of AdamW, at a fifth to three fourths of its first rate, 80 to 100 steps brought
#   nothing.
# - All kinds at once, 500 steps after that: of a syllogism in the kit's wording the direction alone, each conclusion
#   being told as "all" (.48). Weight on the quantifier alone: .55 for 400 steps, then .83 within a hundred.
# - Follow-ups, weight on their answers alone: .03 to .81 in a hundred steps. Beside pages of other habits they fall to
#   between .3 and .9 behind four conversations.
# - People: where roles differ, they are told apart by their roles, and what they are of is not read: after 1,150 steps
#   of `people` and `introductions`, .20 (description to name) and .08 (back) of twelve people. Three people of one role
#   (`colleagues`): both .97 among three after 150 steps, and the way back .92 among twelve. Description to name stayed
#   at .2 among twelve, where "is called" was answered with what stood behind an earlier "is called", until `portraits`
#   left nothing else to ask: 1.00 after 200 steps.
# - Lexicons beside other new pages: no list right after 500 steps. By themselves: the first word of a list .99, the
#   second .93 after 350.
# - `extracts`, one token in twenty: .00 to .92 in 400 steps.
# - Hierarchies of mixed questions, 450 steps: from the other end .2, inherited .4. `members`, with one property each:
#   from the other end .2 to .95 among twelve categories in 150 steps. What is inherited did not come in 200 steps of
#   `heirs`: a hierarchy asks a few such questions on a page, and where several answers are right, a model that names
#   any property of the page is often right.
# - 32 requests on a page: from .58 to .97 in 300 steps in which a tenth of the tokens were such pages.
# - All together, on pages that grow to 2,000 tokens, 950 steps: what had come stayed, except follow-ups.
# - What is inherited, once more: after 200 steps of `families`, where one ending is right, it was right in what a
#   category has itself (.96 to 1.00, told forward) and at chance in what it inherits. Where each line of categories
#   was asked for, the last could be told by exclusion, and was (300 steps). Where half of them were (`lines`): .72 on
#   pages of two or three lines after 100 steps, .78 after 400, and a half of two lines in a plain test, which is
#   chance. Half of the pages in the plainest words (`lineages`): .95 to 1.00 of two to eight lines within a hundred
#   steps. From the state before `families`, 500 steps of `lineages` alone had not brought it: what came before
#   mattered, or luck did.
# - The habit of a page of conversations (`habits`) was not read in 300 steps of them and 600 beside others: whether the
#   conversations shown obey or repeat, the answers are the same.
# - Measured on 500 test items at the end: follow-ups .33 behind four conversations, .39 bare; hierarchies of 24
#   categories .85 in other words, .62 from the other end, .33 of what is inherited; the held-out pair of relations
#   1.00, the held-out figure .00.
SHOTS = {"requests": 1, "conversations": 3, "lexicons": 1.5, "extracts": 2}
WORLDS = {"far_ends": 1, "comparisons": 1.5, "quantifiers": 0.5, "syllogisms": 1.5, "portraits": 1, "descriptions": 1.5}
KEPT = {"follow_ups": 0.4, "lexicons": 0.4, "extracts": 0.6, "quantifiers": 0.3, "far_ends": 0.2}
SECOND = Course(
    (
        Phase(150, 256, 240, beside_old(0.4, far_ends=1)),
        Phase(450, 256, 240, beside_old(0.1, quantifiers=8, far_ends=0.5)),
        Phase(200, 256, 240, beside_old(0.1, follow_ups=7, quantifiers=1, far_ends=0.5)),
        Phase(250, 256, 180, beside_old(0.1, people=8, quantifiers=0.5, far_ends=0.3, follow_ups=0.3)),
        Phase(350, 256, 240, beside_old(0.1, introductions=8, people=1, quantifiers=0.4, far_ends=0.2, follow_ups=0.3)),
        Phase(550, 512, 480, beside_old(0.1, introductions=6, people=3, quantifiers=0.4, far_ends=0.2, follow_ups=0.3)),
        Phase(300, 256, 240, beside_old(0.1, lexicons=8, introductions=0.6, quantifiers=0.4, far_ends=0.2)),
        Phase(350, 512, 480, beside_old(0.1, lexicons=8, introductions=0.6, quantifiers=0.4, far_ends=0.2)),
        Phase(100, 512, 480, beside_old(0.1, links=8, introductions=0.6, lexicons=0.6, quantifiers=0.4, far_ends=0.2)),
        Phase(200, 256, 100, beside_old(0.1, colleagues=8, **KEPT)),
        Phase(300, 256, 240, beside_old(0.1, people=3, introductions=1, colleagues=3, **KEPT)),
        Phase(100, 512, 480, beside_old(0.1, links=7, people=0.6, colleagues=0.6, **KEPT)),
        Phase(250, 512, 480, beside_old(0.1, portraits=7, introductions=1, **KEPT)),
        Phase(350, 512, 480, beside_old(0.1, links=7, portraits=1, introductions=0.5, **KEPT)),
        Phase(150, 512, 240, beside_old(0.1, members=8, links=0.5, portraits=0.6, introductions=0.3, **KEPT)),
        Phase(
            200, 512, 240, beside_old(0.1, heirs=8, members=0.8, links=0.5, portraits=0.6, introductions=0.3, **KEPT)
        ),
        Phase(200, 512, 480, beside_old(0.1, heirs=4, members=3, links=2, portraits=0.6, introductions=0.3, **KEPT)),
    ),
    lr=0.001,
    warm_up=20,
    falls=0,
)
THIRD = Course(
    (
        Phase(500, 512, 480, beside_old(0.3, **WORLDS, **SHOTS, links=1, members=1, heirs=1.5, hierarchy=2)),
        Phase(300, 1024, 1000, beside_old(0.3, **WORLDS, **SHOTS, links=1, members=1, heirs=1, hierarchy=3)),
        Phase(150, 2048, 2000, beside_old(0.25, **WORLDS, **SHOTS, links=1, members=0.5, heirs=0.5, hierarchy=5)),
    ),
    lr=0.001,
    warm_up=20,
    falls=0.7,
)

BESIDE = {"lexicons": 0.4, "extracts": 0.4, "quantifiers": 0.3, "far_ends": 0.2, "links": 0.6, "descriptions": 0.4}
ON_SHORT_ROWS = {kind: share for kind, share in BESIDE.items() if kind != "links"}  # they are longer than 256 tokens
FOURTH = Course(
    (
        Phase(300, 512, 300, beside_old(0.1, families=4, habits=4, **BESIDE)),
        Phase(400, 256, 140, beside_old(0.1, lines=8, **ON_SHORT_ROWS)),
        Phase(200, 256, 110, beside_old(0.1, lineages=12, **ON_SHORT_ROWS)),
    ),
    lr=0.001,
    warm_up=20,
    falls=0,
)
ALL_PAGES = {"far_ends": 0.5, "comparisons": 1, "quantifiers": 0.5, "syllogisms": 1, "portraits": 0.7}
ALL_PAGES |= {"descriptions": 1.5, "requests": 2, "habits": 3, "lexicons": 1.5, "extracts": 1}
FIFTH = Course(
    (
        Phase(300, 512, 480, beside_old(0.25, **ALL_PAGES, members=2, lineages=2, families=1, links=4, hierarchy=1)),
        Phase(
            100, 1024, 1000, beside_old(0.3, **ALL_PAGES, members=1, lineages=1.5, families=1, links=4, hierarchy=1.5)
        ),
        Phase(230, 2048, 2000, beside_old(0.2, **ALL_PAGES, members=2, lineages=2, families=1, links=11, hierarchy=5)),
    ),
    lr=0.001,
    warm_up=20,
    falls=0.7,
)


@dataclass(frozen=True)
class ModelRecipe:
    """Everything that decides a study model. Two runs of one recipe give the same weights on the processor of one
    machine with the same number of threads.

    ``concludes``: whether documents say what follows from what they state. ``tokens``: in a step, padding included.
    ``lr_matrices``, ``lr_rest``: peak learning rates of Muon and of AdamW.
    """

    name: str
    hidden: int = 256
    layers: int = 4
    heads: int = 4
    seed: int = 0
    concludes: bool = True
    tokens: int = 8192
    lr_matrices: float = 0.02
    lr_rest: float = 0.012
    courses: tuple[Course, ...] = (FIRST,)

    @property
    def steps(self) -> int:
        return sum(course.steps for course in self.courses)

    @property
    def beginnings(self) -> list[tuple[int, Course]]:
        """The courses, each with its first step."""
        return [(sum(one.steps for one in self.courses[:i]), course) for i, course in enumerate(self.courses)]

    @property
    def starts(self) -> list[tuple[int, Phase]]:
        """The phases of all courses, each with its first step."""
        return [(first + start, phase) for first, course in self.beginnings for start, phase in course.starts]

    @property
    def mixture(self) -> Mixture:
        """Share of all tokens that each kind of document has."""
        parts = [(phase, phase.steps / self.steps) for course in self.courses for phase in course.phases]
        kinds = dict.fromkeys(kind for phase, _ in parts for kind in phase.mixture)
        return {kind: sum(share * phase.mixture.get(kind, 0) for phase, share in parts) for kind in kinds}

    def course(self, step: int) -> tuple[int, Course]:
        """The course that a step belongs to, behind its first step."""
        return next(one for one in reversed(self.beginnings) if step >= one[0])

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
            max_position_embeddings=max(phase.row for _, phase in self.starts),
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )


RECIPES = {
    recipe.name: recipe
    for recipe in (
        ModelRecipe("study", courses=(FIRST, SECOND, THIRD, FOURTH, FIFTH)),
        ModelRecipe("study-s", hidden=160),
        ModelRecipe("study-n", hidden=160, concludes=False),
        ModelRecipe(
            "study-b",
            seed=1,
            courses=(
                Course(
                    curriculum(
                        MIDDLE | {"facts": 0.17, "instruction": 0.2}, LAST | {"problem": 0.19, "instruction": 0.19}
                    )
                ),
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
