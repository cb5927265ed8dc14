"""From prompt to weights: a model with documents in its prompt teaches itself without them.

Prompt (or context) distillation: Snell et al. 2022 (arXiv 2209.15189); on the student's own samples, and on a mix of
both, Agarwal et al. 2023 (GKD, arXiv 2306.13649); as a way to learn without forgetting, SDFT (arXiv 2601.19897, 2026).
Teacher and student are the same weights at the start; the teacher stays as it is.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel

from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.lm import LM, check_fields
from adaptlab.engine.loss_mask import TrainingExample, trained_logits

SAMPLE = Decoding(temperature=1.0, max_new_tokens=24, stop=(".",))


@dataclass(frozen=True)
class Lesson:
    """A completion behind the student's prompt, and what the teacher, who has the documents, thinks of each of its
    tokens: log-probabilities [tokens, vocabulary]; whether the student wrote it itself."""

    example: TrainingExample
    teacher: torch.Tensor = field(repr=False, compare=False)
    own: bool = False

    def __len__(self) -> int:
        return len(self.example)

    @property
    def weight(self) -> int:
        """What the lesson counts in a mean: its tokens that have a loss."""
        return self.example.weight


def divergence(model: PreTrainedModel, lessons: Sequence[Lesson]) -> torch.Tensor:
    """The divergence of teacher and student, over the whole vocabulary, summed over the tokens of each lesson, in nats,
    with gradients: [lessons].

    Of what the teacher wrote, KL(teacher, student): the student has to cover all that the teacher might say. Of what
    the student wrote, KL(student, teacher): it may not say what the teacher would not.
    """
    logits, owner = trained_logits(model, [one.example for one in lessons])
    student = logits.float().log_softmax(-1)
    teacher = torch.cat([lessons[i].teacher for i in dict.fromkeys(owner)]).to(student)
    own = torch.tensor([lessons[i].own for i in owner], device=student.device)[:, None]
    one, other = torch.where(own, student, teacher), torch.where(own, teacher, student)
    each = (one.exp() * (one - other)).sum(-1)
    return each.new_zeros(len(lessons)).index_add(0, torch.tensor(owner, device=each.device), each)


def judged(
    teacher: LM, contexts: Sequence[str], prompts: Sequence[str], tokens: Sequence[Sequence[int]], own: bool
) -> list[Lesson]:
    """Completions, as token ids, as lessons: the teacher reads a context in front of each prompt, the student the
    prompt alone."""
    example, pairs = TrainingExample.behind, list(zip(contexts, prompts, tokens, strict=True))
    with torch.inference_mode():
        logits, owner = trained_logits(teacher.model, [example(teacher.encode(c + p), ids) for c, p, ids in pairs])
        logprobs = logits.float().log_softmax(-1)
    sizes = [len(tokens[i]) for i in dict.fromkeys(owner)]
    rows = dict(zip(dict.fromkeys(owner), logprobs.split(sizes), strict=True))
    return [Lesson(example(teacher.encode(p), ids), rows[i].clone(), own) for i, (_, p, ids) in enumerate(pairs)]


@dataclass(frozen=True)
class SelfDistillation:
    """What the student learns from in every step, for `tuning.tune` with `divergence` as its loss: completions of
    ``batch`` prompts.

    ``contexts``: texts, documents with what joins them to a prompt, one of which the teacher reads. ``prompts``: for
    each context, what may be asked about it. ``own``: the share of completions that the student writes itself
    (on-policy); the rest the teacher writes, with the context. A student that gives the right answer no chance seldom
    writes it: so ``ramp`` steps pass until the share is ``own``, from 0 in a line.
    """

    teacher: LM = field(repr=False)
    contexts: Sequence[str]
    prompts: Sequence[Sequence[str]]
    own: float = 0.0
    ramp: int = 0
    batch: int = 16
    seed: int = 0
    decoding: Decoding = SAMPLE

    def __post_init__(self) -> None:
        check_fields(
            self,
            own=("a share, 0 to 1", 0 <= self.own <= 1),
            ramp=("0 or more", self.ramp >= 0),
            batch=("1 or more", self.batch >= 1),
            prompts=(
                f"one or more for each of {len(self.contexts)} contexts",
                len(self.prompts) == len(self.contexts) and all(self.prompts),
            ),
        )

    def share(self, step: int) -> float:
        """The share of completions that the student writes in a step."""
        return self.own * min(1.0, step / self.ramp if self.ramp else 1.0)

    def __call__(self, student: LM, step: int) -> list[Lesson]:
        rng = random.Random(f"distillation {self.seed} {step}")
        chosen = [rng.randrange(len(self.contexts)) for _ in range(self.batch)]
        contexts, asked = [self.contexts[i] for i in chosen], [rng.choice(self.prompts[i]) for i in chosen]
        own = round(self.share(step) * self.batch)
        made: list[Lesson] = []
        if own:
            tokens = self._write(student, asked[:own], step)
            made += judged(self.teacher, contexts[:own], asked[:own], tokens, own=True)
        if own < self.batch:
            tokens = self._write(self.teacher, [c + a for c, a in zip(contexts, asked, strict=True)][own:], step)
            made += judged(self.teacher, contexts[own:], asked[own:], tokens, own=False)
        return made

    def _write(self, lm: LM, prompts: Sequence[str], step: int) -> list[tuple[int, ...]]:
        return [one.tokens for one in generate(lm, prompts, self.decoding, seed=(self.seed, step)).completions]
