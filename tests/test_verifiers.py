"""Checks of instructions: right on texts built to obey and to miss, at the boundary too, and closed to all else."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptlab.evidence.verifiers import (
    CHECKS,
    UNSUPPORTED,
    check,
    check_arguments,
    variants,
    verify,
    verify_loose,
)
from adaptlab.tasks.records import FieldError
from verifier_cases import CASES

every_check = pytest.mark.parametrize("name", CHECKS)
DRAWS = 90


def drawn(name: str, count: int = DRAWS) -> list:
    return [CASES[name](random.Random(f"{name} {seed}")) for seed in range(count)]


def refused(name, text="Kelp.", **arguments) -> FieldError:
    with pytest.raises(FieldError) as caught:
        check(name, text, **arguments)
    return caught.value


# ---------------------------------------------------------------- every check


def test_all_of_ifeval_is_here_but_the_language():
    assert len(CHECKS) == 24 and UNSUPPORTED == ("language:response_language",)
    assert set(CASES) == set(CHECKS)
    assert all(known.description for known in CHECKS.values())


@every_check
def test_built_texts_are_told_apart(name):
    cases = drawn(name)
    for arguments, good, bad in cases:
        assert check(name, good, **arguments) is True, (arguments, good)
        assert check(name, bad, **arguments) is False, (arguments, bad)
    assert len({good for _, good, _ in cases}) >= 50
    assert len({bad for _, _, bad in cases}) >= 50


@every_check
def test_a_thousand_calls_agree(name):
    arguments, good, bad = drawn(name, 1)[0]
    assert {check(name, good, **arguments) for _ in range(1000)} == {True}
    assert {check(name, bad, **arguments) for _ in range(1000)} == {False}


@every_check
def test_blank_text_passes_nothing(name):
    for arguments, _, _ in drawn(name, 5):
        assert not any(check(name, blank, **arguments) for blank in ("", " ", "\n\n", "\t\r\n\u2003"))


@every_check
def test_line_ends_do_not_matter(name):
    for arguments, good, bad in drawn(name, 20):
        assert check(name, good.replace("\n", "\r\n"), **arguments)
        assert not check(name, bad.replace("\n", "\r\n"), **arguments)


@given(text=st.text(st.sampled_from(list("aZ.é 1,*\n\"'-[]<>{}#_PSps:!你")), max_size=60), seed=st.integers(0, 999))
def test_any_text_gets_a_verdict_and_loose_is_no_stricter(text, seed):
    arguments = [case(random.Random(seed))[0] for case in CASES.values()]
    strict, loose = verify(text, list(CASES), arguments), verify_loose(text, list(CASES), arguments)
    assert {type(verdict) for verdict in strict + loose} == {bool}
    assert all(late or not early for early, late in zip(strict, loose, strict=True))
    assert strict == verify(text, list(CASES), arguments) and loose == verify_loose(text, list(CASES), arguments)


def test_long_hostile_texts_are_judged_at_once():
    rng = random.Random(0)
    for name, case in CASES.items():
        arguments = case(rng)[0]
        for unit in ("[", "<<", "* ", "*a", '" ', "{", "\n\n", "P.", "a-", "******", "<<a"):
            assert check(name, unit * 30_000, **arguments) in (True, False)


# ---------------------------------------------------------------- what is refused


def test_an_unknown_check_is_refused():
    for name in ("keywords:existance", "no_comma", "", "punctuation", None, 3, ["punctuation:no_comma"]):
        error = refused(name)
        assert error.field == "check" and "'punctuation:no_comma'" in error.expected and repr(name) == error.found


def test_a_check_of_language_is_refused_by_name():
    error = refused("language:response_language", language="kn")
    assert error.field == "language:response_language" and "not supported" in error.found


@every_check
def test_a_missing_or_unknown_argument_is_refused(name):
    arguments, good, _ = drawn(name, 1)[0]
    for missing in arguments:
        error = refused(name, good, **{key: value for key, value in arguments.items() if key != missing})
        assert (error.field, error.found) == (f"{name}.{missing}", "none")
    error = refused(name, good, **arguments, num_wrods=3)
    assert error.field == f"{name}.num_wrods"
    assert all(argument in error.expected for argument in arguments)
    assert check_arguments(name, arguments) is CHECKS[name]


NUMBERS = (0, -1, 1.0, 2.5, "3", True, None, [3])
TEXTS = ("", "  ", 3, None, ["kelp"], "lone \ud800")
WRONG = {
    **dict.fromkeys(("relation", "let_relation", "capital_relation"), ("at most", "exactly", "", "AT LEAST", 3, None)),
    **dict.fromkeys(("keyword", "prompt_to_repeat", "postscript_marker", "section_spliter", "end_phrase"), TEXTS),
    **dict.fromkeys(("keywords", "forbidden_words"), ([], "kelp", [""], [3], ["kelp", None], {"kelp": 1}, None)),
    "letter": ("#", "!", "", "ab", "1", " ", 3, None, ["a"]),
    "first_word": (*TEXTS, "two words", "#", "-"),
}


@every_check
def test_a_wrong_argument_is_refused_whatever_the_text(name):
    arguments = drawn(name, 1)[0][0]
    for argument in arguments:
        for bad in WRONG.get(argument, NUMBERS):
            for text in ("Kelp.", ""):
                error = refused(name, text, **(arguments | {argument: bad}))
                assert error.field.startswith(f"{name}.{argument}"), bad


def test_a_refusal_says_what_is_allowed():
    error = refused("length_constraints:number_words", relation="at most", num_words=3)
    assert str(error) == (
        "field 'length_constraints:number_words.relation': expected one of 'at least', 'less than', found 'at most'"
    )
    assert "one letter" in str(
        refused("keywords:letter_frequency", letter="#", let_frequency=4, let_relation="at least")
    )


@pytest.mark.parametrize("text", [None, 3, b"Kelp.", ["Kelp."], "lone \ud800"])
def test_what_is_no_text_is_refused(text):
    assert refused("punctuation:no_comma", text).field == "text"
    with pytest.raises(FieldError):
        verify_loose(text, ["punctuation:no_comma"], [{}])


@pytest.mark.parametrize(
    ("names", "arguments"),
    [
        ([], []),
        (["punctuation:no_comma"], []),
        (["punctuation:no_comma"], [{}, {}]),
        (["punctuation:no_comma"], [None]),
        (["punctuation:no_comma"], [{3: 4}]),
        (["punctuation:no_comma", "language:response_language"], [{}, {"language": "kn"}]),
    ],
)
def test_a_row_that_does_not_fit_together_is_refused(names, arguments):
    for judge in (verify, verify_loose):
        with pytest.raises(FieldError):
            judge("Kelp", names, arguments)


# ---------------------------------------------------------------- strict and loose


def test_the_eight_variants():
    assert variants("Sure:\n*kelp*\nBye.") == (
        "Sure:\n*kelp*\nBye.",
        "Sure:\nkelp\nBye.",
        "*kelp*\nBye.",
        "kelp\nBye.",
        "Sure:\n*kelp*",
        "Sure:\nkelp",
        "*kelp*",
        "kelp",
    )
    assert variants("kelp")[2:] == ("",) * 6


@pytest.mark.parametrize(
    ("name", "text", "strict", "loose"),
    [
        ("startend:quotation", 'Sure:\n"kelp"', False, True),
        ("startend:quotation", '"kelp"\nBye.', False, True),
        ("startend:quotation", 'Sure:\n**"kelp"**\nBye.', False, True),
        ("startend:quotation", 'Sure:\n\n"kelp"', False, True),
        ("startend:quotation", 'So,\nsure:\n"kelp"', False, False),
        ("startend:quotation", '"kelp"', True, True),
        ("punctuation:no_comma", "Well, so:", False, False),  # without its one line nothing is left to pass
        ("detectable_format:json_format", "Here:\n[1]", False, True),
    ],
)
def test_loose_forgives_an_opening_a_close_and_emphasis(name, text, strict, loose):
    assert (verify(text, [name], [{}]), verify_loose(text, [name], [{}])) == ((strict,), (loose,))


def test_a_row_has_a_verdict_for_each_instruction_in_order():
    names = ["punctuation:no_comma", "startend:quotation", "keywords:frequency", "keywords:frequency"]
    word = {"keyword": "kelp", "frequency": 2}
    arguments = [{}, {}, word | {"relation": "at least"}, word | {"relation": "less than"}]
    assert verify("Kelp, kelp.", names, arguments) == (False, False, True, False)
    # Each instruction may be met by another reading: the last line has no comma, the text has two kelps.
    text = "Kelp, he said:\nkelp."
    assert verify(text, names, arguments) == (False, False, True, False)
    assert verify_loose(text, names, arguments) == (True, False, True, True)
