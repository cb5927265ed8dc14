"""Whether a text obeys an instruction, decided by a program: the instructions of IFEval (Zhou et al., 2311.07911).

Checks and their arguments have IFEval's names, so that the rows of its public file can be scored (`formats_ifeval`).
All are pure, without chance or a model, and they fail closed: blank text passes nothing, and an unknown check or an
unsound argument is a `FieldError`, never a pass. `verifier_checks` says how each instruction is read. IFEval's
checks of language are not here (`UNSUPPORTED`): scores on its file are of the other rows, and not those that other
programs report.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adaptlab.evidence import verifier_checks as checks
from adaptlab.tasks.formats_io import within
from adaptlab.tasks.records import FieldError, check_choice, check_text, shown

RELATIONS = ("at least", "less than")
UNSUPPORTED = ("language:response_language",)  # they need language detection, which is a model's guess

Kind = Callable[[str, Any], None]  # of an argument: raises a FieldError that names it


@dataclass(frozen=True)
class Check:
    """An instruction that a program can check: `function(text, **arguments)`, the kinds of its arguments by name, and
    what it asks for."""

    function: Callable[..., bool]
    arguments: Mapping[str, Kind]
    description: str


def _count(field: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise FieldError(field, "a whole number from 1", shown(value))


def _relation(field: str, value: Any) -> None:
    check_choice(field, value, RELATIONS)


def _text(field: str, value: Any) -> None:
    check_text(field, value)


def _texts(field: str, value: Any) -> None:
    if not isinstance(value, list | tuple) or not value:
        raise FieldError(field, "a list of texts, not empty", shown(value))
    for place, part in enumerate(value):
        check_text(f"{field}[{place}]", part)


def _letter(field: str, value: Any) -> None:
    if not isinstance(value, str) or len(value) != 1 or not value.isalpha():
        raise FieldError(field, "one letter", shown(value))


def _word(field: str, value: Any) -> None:
    if not isinstance(value, str) or not checks.WORD.fullmatch(value.strip()):
        raise FieldError(field, "one word", shown(value))


CHECKS: dict[str, Check] = {
    "change_case:capital_word_frequency": Check(
        checks.capital_word_frequency,
        {"capital_frequency": _count, "capital_relation": _relation},
        "so many words in capitals",
    ),
    "change_case:english_capital": Check(checks.english_capital, {}, "all letters capital"),
    "change_case:english_lowercase": Check(checks.english_lowercase, {}, "all letters small"),
    "combination:repeat_prompt": Check(checks.repeat_prompt, {"prompt_to_repeat": _text}, "the prompt, then an answer"),
    "combination:two_responses": Check(checks.two_responses, {}, "two different answers, ****** between them"),
    "detectable_content:number_placeholders": Check(
        checks.number_placeholders, {"num_placeholders": _count}, "at least so many [placeholders]"
    ),
    "detectable_content:postscript": Check(checks.postscript, {"postscript_marker": _text}, "a postscript"),
    "detectable_format:constrained_response": Check(checks.constrained_response, {}, "one of three set answers"),
    "detectable_format:json_format": Check(checks.json_format, {}, "JSON and nothing else"),
    "detectable_format:multiple_sections": Check(
        checks.multiple_sections, {"section_spliter": _text, "num_sections": _count}, "at least so many sections"
    ),
    "detectable_format:number_bullet_lists": Check(
        checks.number_bullet_lists, {"num_bullets": _count}, "exactly so many bullets"
    ),
    "detectable_format:number_highlighted_sections": Check(
        checks.number_highlighted_sections, {"num_highlights": _count}, "at least so many *highlights*"
    ),
    "detectable_format:title": Check(checks.title, {}, "a <<title>>"),
    "keywords:existence": Check(checks.keyword_existence, {"keywords": _texts}, "all of the keywords"),
    "keywords:forbidden_words": Check(checks.forbidden_words, {"forbidden_words": _texts}, "none of the words"),
    "keywords:frequency": Check(
        checks.keyword_frequency,
        {"keyword": _text, "frequency": _count, "relation": _relation},
        "a keyword so many times",
    ),
    "keywords:letter_frequency": Check(
        checks.letter_frequency,
        {"letter": _letter, "let_frequency": _count, "let_relation": _relation},
        "a letter so many times",
    ),
    "length_constraints:nth_paragraph_first_word": Check(
        checks.nth_paragraph_first_word,
        {"num_paragraphs": _count, "nth_paragraph": _count, "first_word": _word},
        "exactly so many paragraphs, and the first word of one",
    ),
    "length_constraints:number_paragraphs": Check(
        checks.number_paragraphs, {"num_paragraphs": _count}, "exactly so many paragraphs, *** between them"
    ),
    "length_constraints:number_sentences": Check(
        checks.number_sentences, {"num_sentences": _count, "relation": _relation}, "so many sentences"
    ),
    "length_constraints:number_words": Check(
        checks.number_words, {"num_words": _count, "relation": _relation}, "so many words"
    ),
    "punctuation:no_comma": Check(checks.no_comma, {}, "no comma"),
    "startend:end_checker": Check(checks.end_checker, {"end_phrase": _text}, "a set phrase at the end"),
    "startend:quotation": Check(checks.quotation, {}, "double quotation marks around everything"),
}


def check_arguments(name: str, arguments: Mapping[str, Any]) -> Check:
    """The check of that name, if it takes these arguments; it takes all of its own and no others.

    Raises a `FieldError` that names the check, the argument, what is allowed and what was found. Called on every row
    of a file before scoring, it tells which rows can be scored.
    """
    if name in UNSUPPORTED:
        raise FieldError(name, "a check without language detection", "one that needs it and is not supported")
    kinds = CHECKS[check_choice("check", name, tuple(CHECKS))].arguments
    with within(name):
        if not isinstance(arguments, Mapping):
            raise FieldError("", "arguments by their names", shown(arguments))
        for argument in arguments:
            if argument not in kinds:
                raise FieldError(str(argument), f"only {', '.join(kinds) or 'no argument'}", "an argument of that name")
        for argument, kind in kinds.items():
            if argument not in arguments:
                raise FieldError(argument, "a value", "none")
            kind(argument, arguments[argument])
    return CHECKS[name]


def check(name: str, text: str, /, **arguments: Any) -> bool:
    """Whether the text obeys the instruction `name`, a key of `CHECKS`. Blank text obeys none.

    Errors: `FieldError` for an unknown or unsupported check, arguments that are not its own, and a text that is none.
    """
    return _decided(name, text, arguments)


def _decided(name: str, text: str, arguments: Mapping[str, Any]) -> bool:
    known = check_arguments(name, arguments)
    plain = check_text("text", text, blank=True).replace("\r\n", "\n")
    return bool(plain.strip()) and known.function(plain, **arguments)


def verify(text: str, names: Sequence[str], arguments: Sequence[Mapping[str, Any]]) -> tuple[bool, ...]:
    """IFEval's strict verdicts on a row: for each instruction, whether the text obeys it. The row counts as followed
    where all are True. A row without instructions is refused, since any text would follow it."""
    if not names or len(names) != len(arguments):
        raise FieldError(
            "arguments", "one set an instruction, and an instruction", f"{len(arguments)} for {len(names)}"
        )
    return tuple(_decided(name, text, chosen) for name, chosen in zip(names, arguments, strict=True))


def verify_loose(text: str, names: Sequence[str], arguments: Sequence[Mapping[str, Any]]) -> tuple[bool, ...]:
    """IFEval's loose verdicts on a row: an instruction is obeyed where one of the text's `variants` obeys it.

    Each instruction may take another variant. What `verify` passes passes here.
    """
    return tuple(map(any, zip(*(verify(variant, names, arguments) for variant in variants(text)), strict=True)))


def variants(text: str) -> tuple[str, ...]:
    """The eight readings of IFEval's loose scoring: the text as it is, without its first line, its last, and both (an
    opening such as "Sure:" and a closing remark), each with and without its asterisks (Markdown's emphasis)."""
    lines = check_text("text", text, blank=True).replace("\r\n", "\n").split("\n")
    cut = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    return tuple(kept for whole in (text, *cut) for kept in (whole, whole.replace("*", "")))
