"""`study-it`: the study model, instruction-tuned by the kit's own loop on plain and correct answers.

The base has read answers in many styles, and answers a bare request in the style that is usual for its wording. Tuning
teaches one style, whatever the wording, and to do what a follow-up asks for with nothing shown.
"""

import copy
import json
import random
from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from adaptlab.engine.adapters import Full, prepare_for_training
from adaptlab.engine.generation import Decoding
from adaptlab.engine.lm import LM
from adaptlab.engine.loss_mask import TrainingExample, tokenize_with_mask
from adaptlab.engine.models import load, prepare
from adaptlab.engine.seal import ABILITIES
from adaptlab.engine.training import train
from adaptlab.studymodel import corpus, tokenizer
from adaptlab.studymodel.abilities import LAYOUT, Ability, finished
from adaptlab.studymodel.publish import check_folder, measure, thin_log, tuned_card, write
from adaptlab.studymodel.recipes import Tuning
from adaptlab.tasks.instructions import LIST_TASKS
from adaptlab.tasks.reasoning import FAMILIES, worked
from adaptlab.tasks.sets import answered, conversation
from adaptlab.tasks.templates import dataset
from adaptlab.tasks.words import study

LAYOUTS = (LAYOUT, LAYOUT, corpus.DIALOGUE)  # taken in turn; the last is that of the chat template
# Texts end as in training: EOS ends the answer that was trained; a blank line ends answers before it.
CHAT_TEMPLATE = tokenizer.CHAT_TEMPLATE.replace(
    "Assistant: {{ message.content }}\n\n",
    "Assistant: {{ message.content }}{{ eos_token if loop.last and not add_generation_prompt else '\\n\\n' }}",
)
MAX_NEW_TOKENS = 48  # tokens of an answer; five words doubled twice, with the end, are 41

Turns = list[tuple[str, str]]  # (query, answer)


def texts(tuning: Tuning, split: str) -> list[Turns]:
    """Requests in ten wordings, conversations of two turns, and problems with their steps, in random order."""
    rng, words = random.Random(f"{tuning.name} {split} {tuning.training.seed}"), study(split)
    requests = dataset(tuning.training.seed, tuning.requests, list(LIST_TASKS), words)
    found = [[(one.instruction, one.output)] for one in requests]
    for _ in range(tuning.conversations):
        messages = [one.content for one in answered(conversation(rng, words), rng).messages]
        found.append(list(zip(messages[::2], messages[1::2], strict=True)))
    for _ in range(tuning.problems):
        problem = FAMILIES[rng.choice(list(FAMILIES))](rng, split)
        found.append([(problem.question, worked(problem))])
    return rng.sample(found, len(found))


def build_examples(lm: LM, tuning: Tuning, split: str = "train") -> list[TrainingExample]:
    """One training example for each answer: its prompt carries no loss; the answer and EOS do.

    What closes an earlier answer of a conversation carries no loss either: it would teach to go on where all other
    answers teach to end.
    """
    examples = []
    for place, turns in enumerate(texts(tuning, split)):
        layout = LAYOUTS[place % len(LAYOUTS)]
        for number, (query, answer) in enumerate(turns):
            prompt = layout.prompt("", turns[:number], query)
            examples.append(tokenize_with_mask(lm, [(prompt, False), (f"{layout.separator}{answer}", True)]))
    return examples


def instruction_following(lm: LM, n: int = 500, split: str = "test") -> list[Ability]:
    """How often bare requests in ten wordings, and both turns of conversations, are answered exactly, and the answer
    ended. The second turn follows the model's own first answer; it is correct if it fits a correct one."""
    requests = dataset(0, n, list(LIST_TASKS), study(split))
    rng = random.Random(f"conversations {split}")
    conversations = [conversation(rng, study(split)) for _ in range(n)]
    queries = [[message.content for message in one.messages] for one in conversations]
    bare = _answers(lm, [LAYOUT.asked(one.instruction) for one in requests])
    first = _answers(lm, [LAYOUT.asked(query) for query, _ in queries])
    pairs = zip(queries, first, strict=True)
    second = _answers(lm, [LAYOUT.prompt("", [(query, answer)], more) for (query, more), answer in pairs])
    return [
        Ability("instruction, 0 shots, ten wordings", _equal(bare, [one.output for one in requests])),
        Ability("two turns, the first", _equal(first, [one.references[0] for one in conversations])),
        Ability("two turns, the second", _equal(second, [one.references[1] for one in conversations])),
    ]


def _answers(lm: LM, prompts: Sequence[str]) -> list[str]:
    return [text.strip() for text in finished(lm, prompts, Decoding(max_new_tokens=MAX_NEW_TOKENS))]


def _equal(answers: Sequence[str], correct: Sequence[str]) -> tuple[bool, ...]:
    return tuple(a == b for a, b in zip(answers, correct, strict=True))


def make_instructed(tuning: Tuning, folder: Path, out: Path, device: str = "auto", n: int = 500) -> None:
    """Tune a copy of the base, or go on from what ``folder`` holds, and write the model folder ``out``, with every
    ability measured on ``n`` items.

    Raises `publish.NotAStudyModel` where ``out`` holds something else, and `checkpoints.CannotResume` where ``folder``
    holds another run or one that is at work.
    """
    check_folder(out)
    base = load(tuning.base, device, dtype="float32")
    tuned, examples = prepare_for_training(base, Full(), tuning.training.seed), build_examples(base, tuning)
    held_out = build_examples(base, tuning.held_out, "probe")
    trained = train(tuned.model, examples, tuning.training, held_out=held_out, folder=folder)
    published = json.loads((prepare(tuning.base) / ABILITIES).read_text())
    before = {row["name"]: row["right"] / row["n"] for row in published}
    before |= {one.name: one.share for one in instruction_following(base, n)}
    write(
        out,
        tuned.model,
        chat_tokenizer(base),
        thin_log(trained.log, ("loss",)),
        measure=lambda lm: [*measure(lm, n), *instruction_following(lm, n)],
        card=lambda abilities: tuned_card(tuning, base, examples, trained, abilities, before),
    )


def chat_tokenizer(base: LM) -> PreTrainedTokenizerBase:
    """The base's tokenizer with a chat template that renders texts as they were trained."""
    words = copy.deepcopy(base.tokenizer)
    words.chat_template = CHAT_TEMPLATE
    for key in ("is_local", "local_files_only"):  # how it was loaded; transformers would write that down
        words.init_kwargs.pop(key, None)
    return words
