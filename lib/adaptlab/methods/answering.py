"""Models that answer items: one that chooses among options, and one that generates a completion."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from adaptlab.engine.generation import Completion, Decoding, generate
from adaptlab.engine.kv_sharing import EMPTY, PrefixCache
from adaptlab.engine.lm import LM
from adaptlab.engine.scoring import Cost, OptionScore, Request, score
from adaptlab.methods.prompting import CHAT, check_format, class_prompt
from adaptlab.tasks.prompt_formats import FORMATS
from adaptlab.tasks.records import Conversation, Instruction, Labelled
from adaptlab.tasks.splits import LabelledSet, TooFew

if TYPE_CHECKING:
    from adaptlab.engine.training import Trained
    from adaptlab.tasks.worlds import Item

MAX_NEW_TOKENS = 32  # of an answer


@dataclass(frozen=True)
class OptionScores:
    """For every item, the score of each option by its label; what that cost; the prefix cache for a longer prompt."""

    options: list[dict[str, OptionScore]]
    cost: Cost
    prefix_cache: PrefixCache = EMPTY


@dataclass(frozen=True)
class Generations:
    """For every item, the completion and the score of the right answer; what that cost; the prefix cache."""

    completions: list[Completion]
    gold: list[OptionScore]
    cost: Cost
    prefix_cache: PrefixCache = EMPTY


@dataclass(frozen=True)
class Chooser:
    """A model that chooses: it scores the options of each item behind the item's prompt.

    ``ask`` makes of an item its context and {label: option}, for instance a `ClassPrompt` or a `WorldPrompt`;
    ``shots``: how many demonstrations or documents the prompt holds.
    """

    lm: LM
    ask: Callable[["Labelled | Item"], tuple[str, Mapping[str, str]]]
    shots: int = 0
    name: str = "in-context"

    @property
    def model(self) -> str:
        """The name of the language model."""
        return self.lm.name

    def request(self, item: "Labelled | Item") -> Request:
        """The item's prompt with its options, to be scored."""
        context, options = self.ask(item)
        return Request(context, tuple(options.values()))

    def answer(self, items: Sequence["Labelled | Item"], prefix_cache: PrefixCache = EMPTY) -> OptionScores:
        """Score all options of all items; ``prefix_cache``: that of a shorter prompt's `OptionScores`."""
        asked = [self.ask(item) for item in items]
        requests = [Request(context, tuple(options.values())) for context, options in asked]
        scores = score(self.lm, requests, prefix_cache=prefix_cache)
        named = [dict(zip(options, row, strict=True)) for (_, options), row in zip(asked, scores.options, strict=True)]
        return OptionScores(named, scores.cost, scores.prefix_cache)

    def tokens(self, item: "Labelled | Item") -> int:
        """How many tokens the item's prompt takes with its longest option."""
        request = self.request(item)
        return max(len(self.lm.encode(request.context + option)) for option in request.options)


@dataclass(frozen=True)
class PMIChooser(Chooser):
    """As `Chooser`, by what an item's prompt adds to each option: log p(option | prompt) - log p(option | ``bare``).

    Domain-conditional PMI (Holtzman et al. 2021, arXiv 2104.08315): an option that is probable behind anything gains
    nothing by that. ``bare`` is what an option can stand behind where nothing is asked.
    """

    bare: str = ""

    def answer(self, items: Sequence["Labelled | Item"], prefix_cache: PrefixCache = EMPTY) -> OptionScores:
        """As `Chooser.answer`; the bare options are scored and paid for as well."""
        found = super().answer(items, prefix_cache)
        bare = score(self.lm, [Request(self.bare, tuple(self.ask(item)[1].values())) for item in items])
        less = [
            {
                label: replace(one, logprob=one.logprob - alone.logprob)
                for (label, one), alone in zip(row.items(), least, strict=True)
            }
            for row, least in zip(found.options, bare.options, strict=True)
        ]
        return OptionScores(less, found.cost + bare.cost, found.prefix_cache)


def in_context(
    lm: LM,
    data: LabelledSet,
    shots: int,
    seed: int = 0,
    *,
    label_mapping: str = "words",
    prompt_format: str = "plain",
    order: int = 0,
    chosen: Mapping[str, Sequence[Labelled]] | None = None,
) -> Chooser:
    """The model that sorts behind ``shots`` demonstrations, a balanced sample of the pool or those ``chosen`` for each
    text; the other settings are those of `class_prompt`."""
    tokenizer = lm.tokenizer if prompt_format == CHAT else None
    settings = {"label_mapping": label_mapping, "prompt_format": prompt_format, "order": order, "tokenizer": tokenizer}
    shown = [] if chosen else data.sample(shots, seed)
    return Chooser(lm, class_prompt(data, shown, seed, **settings, chosen=chosen), shots)


@dataclass(frozen=True)
class Generator:
    """A model that generates an answer to each item, and scores the right one.

    ``demonstrations``: their text in front of the query; ``instruction`` fills the head of the prompt format.
    ``decoding``: greedy, up to where the format ends an answer, unless given. ``generates`` False: right answers are
    scored and nothing is written, which costs less. ``trained``: what training took, for a tuned model; it is a part
    of the cost.
    """

    lm: LM
    demonstrations: str = ""
    shots: int = 0
    prompt_format: str = "question"
    instruction: str = ""
    decoding: Decoding | None = None
    generates: bool = True
    seed: int = 0
    trained: "Trained | None" = None

    def __post_init__(self) -> None:
        stop = FORMATS[check_format(self.prompt_format)].stop
        if self.decoding is None:
            object.__setattr__(self, "decoding", Decoding(max_new_tokens=MAX_NEW_TOKENS, stop=stop))

    @property
    def name(self) -> str:
        """How results call the method."""
        return "tuned" if self.trained else "in-context"

    @property
    def model(self) -> str:
        """The name of the language model."""
        return self.lm.name

    def prompt(self, query: str) -> str:
        """The text up to where the answer begins."""
        layout = FORMATS[self.prompt_format]
        return layout.header(self.instruction) + self.demonstrations + layout.asked(query, self.instruction)

    def request(self, item: Instruction) -> Request:
        """The item's prompt with its right answer, to be scored."""
        return Request(self.prompt(item.query), (FORMATS[self.prompt_format].separator + item.output,))

    def answer(self, items: Sequence[Instruction], prefix_cache: PrefixCache = EMPTY) -> Generations:
        """Generate an answer to each item, and score the right one; both share the prompt.

        What closes the answer is not scored: whether another turn follows or the text ends is not the model's to know.
        """
        requests = [self.request(item) for item in items]
        scores = score(self.lm, requests, prefix_cache=prefix_cache)
        cost, completions = scores.cost, [Completion("", False)] * len(items)
        if self.generates:
            prompts = [request.context for request in requests]
            generated = generate(self.lm, prompts, self.decoding, seed=self.seed, prefix_cache=scores.prefix_cache)
            cost, completions = cost + generated.cost, generated.completions
        if self.trained:
            cost = replace(cost, trained=self.trained.tokens, seconds=cost.seconds + self.trained.seconds)
        return Generations(completions, [row[0] for row in scores.options], cost, scores.prefix_cache)

    def complete(self, queries: Sequence[str]) -> list[Completion]:
        """What the model generates for each query."""
        prompts = [self.prompt(query) for query in queries]
        return generate(self.lm, prompts, self.decoding, seed=self.seed).completions

    def tokens(self, item: Instruction) -> int:
        """How many tokens the item takes: prompt and right answer, or prompt and the room that is kept to generate."""
        request, room = self.request(item), self.decoding.max_new_tokens if self.generates else 0
        scored = len(self.lm.encode(request.context + request.options[0]))
        return max(scored, len(self.lm.encode(request.context)) + room)

    def converse(self, conversations: Sequence[Conversation]) -> list[list[Completion]]:
        """Answer every user turn of every conversation, with the model's own answers to the turns before in the prompt.

        Answers lose the white space around them, as URIAL's published post-processing does; that also deletes every
        fence, which destroys answers that hold code: not done here. Returns one list of answers a turn, in the order of
        conversations. Raises ValueError unless all have the same number of user turns.
        """
        if not conversations:
            return []
        layout = FORMATS[self.prompt_format]
        turns = [[m.content for m in one.messages if m.role == "user"] for one in conversations]
        if len({len(queries) for queries in turns}) > 1:
            raise ValueError("conversations must have the same number of user turns")
        histories = [self.demonstrations] * len(turns)
        answers: list[list[Completion]] = []
        for queries in zip(*turns, strict=True):
            asked = [replace(self, demonstrations=history) for history in histories]
            prompts = [one.prompt(query) for one, query in zip(asked, queries, strict=True)]
            completions = generate(self.lm, prompts, self.decoding, seed=self.seed).completions
            answers.append([replace(one, text=one.text.strip()) for one in completions])
            histories = [
                history + layout.turns([(query, one.text)], self.instruction)
                for history, query, one in zip(histories, queries, answers[-1], strict=True)
            ]
        return answers


def shown(lm: LM, records: Sequence[Instruction | Conversation], prompt_format: str = "question", **more) -> Generator:
    """The model with these records in its prompt, question and right answer of each; ``more``: of `Generator`."""
    layout = FORMATS[check_format(prompt_format)]
    text = "".join(layout.turns(record.turns) for record in records)
    return Generator(lm, text, len(records), prompt_format, **more)


def fitting(
    make: Callable[[int], Sequence[Chooser | Generator]],
    items: Sequence[Labelled] | Sequence[Instruction],
    shots: Sequence[int],
    needed: Sequence[int] = (),
) -> tuple[list[int], list[int]]:
    """(the numbers of shots that fit into the model's context, those that do not), both ascending.

    ``make`` gives all methods with that many shots, one for each seed, label mapping and so on: a number stays if the
    longest item fits in all of them, so that no curve ends earlier than the others, and if the pool has so many. Raises
    ValueError where not even the smallest number fits, or one of those that are ``needed`` does not.
    """
    kept: list[int] = []
    left_out: list[int] = []
    for k in sorted(shots):
        try:
            methods = make(k)
        except TooFew:
            left_out.append(k)
            continue
        longest = _longest(methods[0].lm, items)
        fits = all(m.tokens(item) <= m.lm.context_length for m in methods for item in longest)
        (kept if fits else left_out).append(k)
    if missed := [k for k in left_out if k in needed or not kept]:
        room = make(missed[0])[0].lm.context_length
        raise ValueError(f"the model has room for {room:,} tokens: too few for {missed[0]} shots of this data")
    return kept, left_out


def _longest(lm: LM, items: Sequence) -> list:
    """The item with the longest query, and the one with the longest query and answer, in tokens: which one needs most
    depends on whether its answer is scored or room is kept to generate one."""
    return [
        max(items, key=lambda item: len(lm.encode(item.query))),
        max(items, key=lambda item: len(lm.encode(f"{item.query} {item.answer}"))),
    ]
