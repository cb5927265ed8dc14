r"""What each check of `verifiers` looks at: one pure function an instruction, True where the text obeys it.

The instructions are those of IFEval (Zhou et al., 2311.07911), and the arguments have its names. Each function is
written from what the instruction says. The text is not blank, its lines end in LF, and the arguments are sound:
`verifiers.check` sees to that. Where the instruction leaves something open, the docstring says how it is read;
"unlike IFEval" marks a reading on which the checker that the paper published gives another verdict.
"""

import json
import re
from collections.abc import Callable, Iterable

_SIGN = r"[^\W_]"  # a letter or a digit
_BARE_WORD = re.compile(rf"{_SIGN}+")
WORD = re.compile(rf"{_SIGN}+(?:['’-]{_SIGN}+)*")  # "don't" and "well-known" are one word each
_ANSWERS = tuple(f"My answer is {word}." for word in ("yes", "no", "maybe"))
_ABBREVIATIONS = frozenset("mr. mrs. ms. dr. prof. st. vs. approx. fig.".split())  # a sentence goes on after them
# "U.S.", "e.g." and the initial of a name; "I." is the pronoun at a sentence's end.
_DOTTED = re.compile(r"(?:[^\W\d_]\.){2,}|(?!I\.)[A-Z]\.")
_LIST_NUMBER = re.compile(r"\d+[.)]")
_AROUND = "\"'“”‘’()[]*_"  # quotes, brackets and markup around a word
_HIGHLIGHT = re.compile(r"\*\*(?=[^\s*])[^*\n]*(?<=\S)\*\*|\*(?=[^\s*])[^*\n]*(?<=\S)\*")
_TITLE = re.compile(r"<<((?:[^<>\n]|<(?!<)|>(?!>))+)>>")
_FENCED = re.compile(r"```(?:json)?(.*)```", re.DOTALL | re.IGNORECASE)


def _related(count: int, relation: str, bound: int) -> bool:
    """The two relations there are: "at least" is >= and "less than" is <."""
    return {"at least": count >= bound, "less than": count < bound}[relation]


def _apart(expression: str) -> str:
    """The expression where it does not begin or end inside a word."""
    return rf"(?:(?<!{_SIGN})|(?!{_SIGN})){expression}(?:(?!{_SIGN})|(?<!{_SIGN}))"


def _whole(phrase: str) -> str:
    """An expression for the phrase as whole words, in any spacing between them."""
    return _apart(r"\s+".join(map(re.escape, phrase.split())))


def _occurrences(text: str, phrase: str) -> int:
    return len(re.findall(_whole(phrase), text, re.IGNORECASE))


def keyword_existence(text: str, keywords: Iterable[str]) -> bool:
    """Every keyword occurs, in any case, as a whole word: unlike IFEval, "forward" does not hold "war", nor is a
    keyword an expression."""
    return all(_occurrences(text, keyword) for keyword in keywords)


def keyword_frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    """The keyword occurs so often, as a whole word as in `keyword_existence`: unlike IFEval, a plural is another."""
    return _related(_occurrences(text, keyword), relation, frequency)


def forbidden_words(text: str, forbidden_words: Iterable[str]) -> bool:
    """None of the words occurs, in any case, as a whole word."""
    return not any(_occurrences(text, word) for word in forbidden_words)


def letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    """The letter occurs so often, in any case. Unlike IFEval, which counts a random letter where `letter` is none
    ("#" and "!" in the rows 1122 and 1129), such an argument is refused before this is called."""
    return _related(text.lower().count(letter.lower()), let_relation, let_frequency)


def number_words(text: str, num_words: int, relation: str) -> bool:
    """So many runs of letters and digits: "don't" is two, as in IFEval. Unlike there, underscores alone are none."""
    return _related(len(_BARE_WORD.findall(text)), relation, num_words)


def number_sentences(text: str, num_sentences: int, relation: str) -> bool:
    """So many sentences of English, by rule; IFEval takes them from Punkt, a trained model, and counts can differ.

    A sentence ends at a word that ends in . ! ? or …, closing quotes and markup aside, and at a blank line. It
    holds a letter or a digit. Usual abbreviations, initials and the numbers of a list do not end one.
    """
    paragraphs = re.split(r"\n\s*\n", text)
    return _related(sum(map(_sentences, paragraphs)), relation, num_sentences)


def _sentences(paragraph: str) -> int:
    count, begun = 0, False
    for token in paragraph.split():
        if not begun and _LIST_NUMBER.fullmatch(token):
            continue
        begun = begun or _BARE_WORD.search(token) is not None
        if begun and _ends_sentence(token.strip(_AROUND)):
            count, begun = count + 1, False
    return count + begun


def _ends_sentence(word: str) -> bool:
    return word.endswith((".", "!", "?", "…")) and not (word.lower() in _ABBREVIATIONS or _DOTTED.fullmatch(word))


def number_paragraphs(text: str, num_paragraphs: int) -> bool:
    """Exactly so many paragraphs between lines of three asterisks. Such a line may open or close the text; two in a
    row enclose an empty paragraph, and the text fails. Unlike IFEval, asterisks within a line divide nothing."""
    parts = _divided(r"(?m)^[ \t]*\*{3}[ \t]*$", text)
    return all(parts) and len(parts) == num_paragraphs


def _divided(divider: str, text: str) -> list[str]:
    """What stands between the dividers, without white space around it; blank parts at the two ends are left out."""
    parts = [part.strip() for part in re.split(divider, text)]
    return parts[not parts[0] : len(parts) - (not parts[-1])]


def nth_paragraph_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Exactly so many paragraphs, parted by blank lines, and the nth (from 1) begins with the word, in any case.

    Unlike IFEval, which counts the paragraphs that are not blank and looks the nth up among all, both are done with
    the same list. Markup and quotes before the word do not count, and an `nth_paragraph` beyond the last fails.
    """
    paragraphs = [part for part in re.split(r"\n\s*\n", text) if part.strip()]
    if len(paragraphs) != num_paragraphs or nth_paragraph > num_paragraphs:
        return False
    found = WORD.search(paragraphs[nth_paragraph - 1])
    return found is not None and found[0].lower() == first_word.strip().lower()


def number_placeholders(text: str, num_placeholders: int) -> bool:
    """At least so many placeholders such as [name]. Unlike IFEval, empty brackets are none."""
    return len(re.findall(r"\[[^\[\]\n]*[^\s\[\]][^\[\]\n]*\]", text)) >= num_placeholders


def postscript(text: str, postscript_marker: str) -> bool:
    """The marker occurs, in any case and with or without a space after its full stops, and a word follows it. Unlike
    IFEval, "P.P.S." holds no "P.S.", and "tips" no "PS"."""
    body = re.sub(r"(\\\.)(?!$)", r"\1\\s?", re.escape(postscript_marker.strip()))
    return re.search(rf"(?<!\bp\.)(?<!\bp\.\s){_apart(body)}[\W_]*{_SIGN}", text, re.IGNORECASE) is not None


def number_bullet_lists(text: str, num_bullets: int) -> bool:
    """Exactly so many lines that are Markdown bullets: "*" or "-", white space, text. Unlike IFEval, which asks
    for no white space, a line that begins with *italics* or a minus number, or is a divider such as ---, is none."""
    return len(re.findall(r"(?m)^[ \t]*[*-][ \t]+[^\n]*[^\s*-]", text)) == num_bullets


def constrained_response(text: str) -> bool:
    """One of "My answer is yes.", "My answer is no.", "My answer is maybe." occurs, in that spelling; the text may say
    more. Unlike IFEval, a text with two of them has not answered."""
    return sum(re.search(_whole(answer), text) is not None for answer in _ANSWERS) == 1


def number_highlighted_sections(text: str, num_highlights: int) -> bool:
    """At least so many stretches of one line in *single* or **double** asterisks. As in Markdown and unlike IFEval,
    no white space stands inside next to an asterisk, so the asterisk of a bullet opens none."""
    return len(_HIGHLIGHT.findall(text)) >= num_highlights


def multiple_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    """At least so many sections marked by the word, in that case, and a number. Unlike IFEval, a section that is
    mentioned again is not another: different numbers count."""
    found = re.findall(rf"(?<!{_SIGN}){re.escape(section_spliter.strip())}\s?(\d+)", text)
    return len({number.lstrip("0") for number in found}) >= num_sections


def json_format(text: str) -> bool:
    """All of the text, or all inside its one code fence, is a JSON object or list. Unlike IFEval, a bare string or
    number is no JSON format, NaN is no JSON, and a fence that opens must close."""
    fenced = _FENCED.fullmatch(text.strip())
    try:
        value = json.loads((fenced[1] if fenced else text).strip(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict | list)


def _no_constant(name: str) -> None:
    raise ValueError(name)


def title(text: str) -> bool:
    """A title in double angle brackets, <<so>>, on one line and not blank."""
    return any(found.strip(" \t<>") for found in _TITLE.findall(text))


def two_responses(text: str) -> bool:
    """Exactly two different answers between six asterisks, and no blank one; the divider may open or close the text.
    Unlike IFEval, seven asterisks are no divider."""
    parts = _divided(r"(?<!\*)\*{6}(?!\*)", text)
    return all(parts) and len(parts) == 2 and parts[0] != parts[1]


def repeat_prompt(text: str, prompt_to_repeat: str) -> bool:
    """The text begins with the prompt, in any case, and goes on. Unlike IFEval, the prompt alone is no answer."""
    prompt = prompt_to_repeat.strip().lower()
    start = text.strip().lower()
    return start.startswith(prompt) and _BARE_WORD.search(start[len(prompt) :]) is not None


def end_checker(text: str, end_phrase: str) -> bool:
    """The text ends with the phrase, in any case; only quotation marks (") and white space may follow. Unlike IFEval,
    the phrase begins at a word's beginning."""
    return re.search(rf'{_whole(end_phrase)}[\s"]*\Z', text, re.IGNORECASE) is not None


def capital_word_frequency(text: str, capital_frequency: int, capital_relation: str) -> bool:
    """So many words in capitals throughout; "I" and "A" are such words, as in IFEval."""
    return _related(sum(word.isupper() for word in WORD.findall(text)), capital_relation, capital_frequency)


def english_capital(text: str) -> bool:
    """There are letters, and all are capitals; a letter without case, such as a Chinese one, fails.

    That the text is English is not checked, since that takes language detection, which IFEval adds: a French text in
    capitals passes here.
    """
    return _all_letters(text, str.isupper)


def english_lowercase(text: str) -> bool:
    """There are letters, and all are small; otherwise as `english_capital`."""
    return _all_letters(text, str.islower)


def _all_letters(text: str, test: Callable[[str], bool]) -> bool:
    letters = [sign for sign in text if sign.isalpha()]
    return bool(letters) and all(map(test, letters))


def no_comma(text: str) -> bool:
    """No "," occurs."""
    return "," not in text


def quotation(text: str) -> bool:
    """All of the text stands between two straight double quotation marks. Unlike IFEval, `""` holds no text."""
    inside = text.strip()
    return inside[0] == inside[-1] == '"' and bool(inside[1:-1].strip())
