"""How instructions are read where they leave something open: the readings that the checks' docstrings promise."""

import pytest

from adaptlab.evidence.verifiers import RELATIONS, check


@pytest.mark.parametrize("count", [1, 2, 7])
def test_relations_at_their_boundaries(count):
    text = " ".join(["kelp"] * count)
    for bound, relation in ((bound, relation) for bound in range(1, 10) for relation in RELATIONS):
        expected = count >= bound if relation == "at least" else count < bound
        assert check("length_constraints:number_words", text, num_words=bound, relation=relation) is expected
        assert check("keywords:frequency", text, keyword="Kelp", frequency=bound, relation=relation) is expected


@pytest.mark.parametrize("lead", ["", "\n\n", "\n\n\n\n", "\n \n\n"])
def test_blank_lines_do_not_shift_the_paragraphs(lead):
    text = f"{lead}one here\n\n\n\ntwo here\n\nthree here\n\n"
    for nth, word in enumerate(("one", "two", "three"), start=1):
        for claim in ("one", "two", "three", "here"):
            arguments = {"num_paragraphs": 3, "nth_paragraph": nth, "first_word": claim}
            assert check("length_constraints:nth_paragraph_first_word", text, **arguments) is (claim == word)
    for number, nth in ((2, 1), (4, 1), (3, 4)):
        arguments = {"num_paragraphs": number, "nth_paragraph": nth, "first_word": "one"}
        assert not check("length_constraints:nth_paragraph_first_word", text, **arguments)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "He met Dr. J. Kelp of the U.S. navy at 3.5 knots, e.g. at sea."),
        (2, "Really?! Yes..."),
        (2, '"Go." (He went.)'),
        (2, "A heading\n\nA sentence\nthat goes on."),
        (3, "1. Wash.\n2. Rinse.\n3) Dry"),
        (2, "It was I. So it was."),
        (3, "we had one. we had 1984. we had none"),
    ],
)
def test_sentences(count, text):
    for bound in (count, count + 1):
        verdict = check("length_constraints:number_sentences", text, num_sentences=bound, relation="less than")
        assert verdict is (bound > count)


P, W, T = "length_constraints:number_paragraphs", "detectable_content:postscript", "combination:two_responses"
B, S, H = (
    "detectable_format:number_bullet_lists",
    "detectable_format:multiple_sections",
    "detectable_format:number_highlighted_sections",
)
READINGS = [
    ("keywords:existence", {"keywords": ["war"]}, "Forward, and reward.", "Of War."),
    ("keywords:existence", {"keywords": ["a.c"]}, "abc", "a.c"),
    ("keywords:existence", {"keywords": ["ice cream"]}, "ice creams", "ice\ncream"),
    ("keywords:existence", {"keywords": ["kelp", "larch"]}, "kelp", "larches? A larch, a kelp"),
    ("keywords:existence", {"keywords": ["kelp"]}, "kelps", "_kelp_"),
    ("keywords:frequency", {"keyword": "kelp", "frequency": 2, "relation": "at least"}, "kelp kelps", "kelp-kelp"),
    ("keywords:forbidden_words", {"forbidden_words": ["no"]}, "No.", "Nobody knows."),
    ("keywords:letter_frequency", {"letter": "É", "let_frequency": 2, "let_relation": "at least"}, "éE", "éÉ"),
    ("length_constraints:number_words", {"num_words": 2, "relation": "at least"}, "snow ___ -", "don't"),
    (P, {"num_paragraphs": 2}, "one\n***\n***\ntwo", "one\n***\ntwo"),
    (P, {"num_paragraphs": 2}, "one *** two", "***\n***one***\n\nstill one\n***\ntwo\n***"),
    (P, {"num_paragraphs": 1}, "***", "one"),
    (P, {"num_paragraphs": 2}, "***\n***\none", "\n***\none\n***\ntwo"),
    ("detectable_content:number_placeholders", {"num_placeholders": 1}, "[] [ ]", "[name]"),
    (W, {"postscript_marker": "P.S."}, "Bye. P.P.S. Kelp.", "The last step. P.S. Kelp."),
    (W, {"postscript_marker": "P.S."}, "Bye. P.S.", "Bye.\np. s. kelp"),
    (W, {"postscript_marker": "PS:"}, "Some tips: kelp.", "PS: kelp."),
    (B, {"num_bullets": 1}, "* kelp\n- larch", "*Larch*\n* kelp\n---\n-5 degrees"),
    ("detectable_format:constrained_response", {}, "My answer is yes. My answer is no.", "So: My answer is no. Sorry."),
    (H, {"num_highlights": 3}, "**kelp**-**larch**", "*kelp*, **larch** and ***hazel***"),
    (H, {"num_highlights": 1}, "* kelp *\n*larch", "* a *kelp*"),
    (S, {"section_spliter": "SECTION", "num_sections": 2}, "SECTION 1, as SECTION 1 says", "SECTION 1 SECTION 02"),
    (S, {"section_spliter": "Day", "num_sections": 1}, "Monday 1, day 2", "**Day 1:**"),
    ("detectable_format:json_format", {}, '"kelp"', "{}"),
    ("detectable_format:json_format", {}, "[NaN]", "```json\n[]\n```"),
    ("detectable_format:json_format", {}, "```\n[1]", "[1]"),
    ("detectable_format:title", {}, "<< >>", "<<a < b>>"),
    (T, {}, "******\n******\none", "******\none\n******\ntwo"),
    (T, {}, "one ****** one", "one ****** two"),
    (T, {}, "one ******* two", "one******two"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it. "}, "Say it.", "SAY IT. Kelp."),
    ("startend:end_checker", {"end_phrase": "end."}, "The bend.", '"The END."'),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 3, "capital_relation": "at least"},
        "I'm COVID-19 KELP",
        "I KELP/LARCH",
    ),
    ("change_case:english_capital", {}, "KELP 海", "ÉTÉ 4!"),
    ("change_case:english_lowercase", {}, "42", "été 4!"),
    ("startend:quotation", {}, '""', '"A" is "B"'),
    ("startend:quotation", {}, "“kelp”", '"kelp"'),
]


@pytest.mark.parametrize(("name", "arguments", "misses", "obeys"), READINGS)
def test_readings(name, arguments, misses, obeys):
    assert not check(name, misses, **arguments)
    assert check(name, obeys, **arguments)
