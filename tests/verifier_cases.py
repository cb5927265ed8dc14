"""For every check: texts built to obey the instruction, and texts built to miss it, most by the least that is possible.

None of it uses the checks' own code.
"""

import json
import random
from collections.abc import Callable

from verifier_counts import (
    WORDS,
    Case,
    bullets,
    capitals,
    exactly,
    highlights,
    keyword_text,
    least,
    letters,
    paragraphs_text,
    placeholders,
    prose,
    related,
    scattered,
    sections,
    sentence,
    sentences_text,
    some,
    words_text,
)


def existence(rng):
    wanted = rng.sample(["alpha", "beta", "gamma ray", "C++", "a.b"], k=rng.randint(1, 5))
    shown = [rng.choice((word, word.upper(), f"({word})")) for word in wanted]
    lost = rng.randrange(len(wanted))
    spoilt = {"alpha": "alphabet", "beta": "alphabeta", "gamma ray": "gamma rayon", "C++": "C+", "a.b": "a b axb"}
    missed = [*shown[:lost], rng.choice(("", spoilt[wanted[lost]])), *shown[lost + 1 :]]
    return {"keywords": wanted}, " ".join([*some(rng), *shown]), " ".join([*some(rng), *missed])


def forbidden(rng):
    barred = rng.sample(["yes", "no", "dose", "rich"], k=rng.randint(1, 4))
    near = rng.choices(["yesterday", "nobody", "dosed", "enrich", "know", "richly", *WORDS], k=8)
    slip = rng.choice([f"{word}{end}" for word in barred for end in (".", "!", "'s", "")])
    return {"forbidden_words": barred}, " ".join(near), scattered(rng, [rng.choice((slip, slip.upper()))], near)


def nth_paragraph(rng):
    number = rng.randint(1, 5)
    nth = rng.randint(1, number)
    blocks = [prose(rng) for _ in range(number)]
    gaps = [rng.choice(("\n\n", "\n\n\n", "\n \n", "\n\n\n\n")) for _ in blocks]
    opening = rng.choice(("Zebra", "zebra", '"Zebra', "**Zebra**", "# ZEBRA:"))
    told = [*blocks[: nth - 1], f"{opening} {blocks[nth - 1]}", *blocks[nth:]]
    wrong = rng.choice(
        (blocks, [*told, "More."], [*blocks[: nth - 1], f"Zebras {blocks[nth - 1]}", *blocks[nth:]])
        + ((told[1:] + told[:1],) if number > 1 else ())
    )
    lead = rng.choice(("", "\n\n", "\n\n\n\n"))

    def join(parts):
        return lead + "".join(part + gap for part, gap in zip(parts, [*gaps, "\n"], strict=False))

    return {"num_paragraphs": number, "nth_paragraph": nth, "first_word": "zebra"}, join(told), join(wrong)


def postscripts(rng):
    marker, good, bad = rng.choice(
        (
            ("P.S.", ("P.S.", "p.s.", "P. S.", "**P.S.**"), ("PS", "P.P.S.", "P. P. S.", "S.P.", "Tip.S.")),
            ("P.P.S", ("P.P.S.", "P.P.S", "p.p.s", "P. P. S."), ("P.S.", "PPS", "P.P.Soon")),
            ("PS:", ("PS:", "ps:"), ("tips:", "PS", "P.S.")),
        )
    )
    lead, tail = prose(rng) + rng.choice(("\n\n", " ")), " " + sentence(rng)
    missed = rng.choice((lead + rng.choice(bad) + tail, lead + rng.choice(good), lead + tail))
    return {"postscript_marker": marker}, lead + rng.choice(good) + tail, missed


def constrained(rng):
    options = [f"My answer is {word}." for word in ("yes", "no", "maybe")]
    said = rng.choice(options)
    two = " ".join(rng.sample(options, 2))
    bad = rng.choice((two, said[:-1], said.lower(), said.replace("My", "Your"), "My answer is perhaps.", "Yes."))
    around = rng.choice(("{}", "\n{}\n", "Well. {}", "{} So it is.", '"{}"')) + rng.choice(("", " ", "\n")) + prose(rng)
    return {}, around.format(said), around.format(bad)


def json_texts(rng):
    value = rng.choice(
        ({"kelp": some(rng), "n": rng.random()}, some(rng), [1, None, {"a": some(rng)}], {"é": [prose(rng)]})
    )
    good = json.dumps(value, indent=rng.choice((None, 1)))
    good = rng.choice(("{}", "\n {} \n", "```json\n{}\n```", "```\n{}\n```", "```JSON {}```")).format("%s") % good
    said = json.dumps(prose(rng))
    wrong = (good.strip() + " Done.", "Here: " + good, good.replace("]", ")").replace("}", ")"), said, "null", "4.2")
    more = (f"[NaN, {said}]", f'{{"a": -Infinity, "b": {said}}}', f"{{'a': {said}}}", f'{{"a": {said},}}')
    cut = (f"```json\n[{said}]", f"[{said}]\n```", f'[{said}] {{"b": 2}}', "[" * 99_999)
    return {}, good, rng.choice(wrong + more + cut)


def titles(rng):
    name = " ".join(some(rng))
    bad = rng.choice(
        (f"<{name}>", f"<<{name}>", f"<{name}>>", "<<>>", "<< >>", f"<<{name}\n>>", f">>{name}<<", "<<<>>>")
    )
    around = rng.choice(("{}", "Kelp.\n{}\nGrove.", "a < b {} c > d"))
    return {}, around.format(rng.choice((f"<<{name}>>", f"<<<{name}>>>", f"<< {name} < 3 >>"))), around.format(bad)


def two(rng):
    first, second, third = (f"{start} {prose(rng)}" for start in ("One:", "Two:", "Three:"))
    line = rng.choice(("******", "\n******\n", "\n\n  ******\n\n"))
    bad = rng.choice(
        (
            first,
            line.join((first, first)),
            line.join((first, second, third)),
            first + line,
            line.join((first, "", second)),
            f"{first}*****{second}",
            f"{first}*******{second}",
            f"{first}************{second}",
            f"{first} *** *** {second}",
        )
    )
    return {}, rng.choice(("", "******\n")) + line.join((first, second)) + rng.choice(("", "\n******")), bad


def repeats(rng):
    prompt, answer = prose(rng), prose(rng)
    said = rng.choice((prompt, prompt.upper(), "\n" + prompt))
    bad = rng.choice(
        (prompt, prompt + "\n...", f"Sure: {prompt} {answer}", f"{prompt[1:]} {answer}", f"{answer} {prompt}")
    )
    swapped = prompt.split()[::-1]
    wrong = bad if len(set(swapped)) < 2 or rng.random() < 0.7 else " ".join([*swapped, "thus", answer])
    return {"prompt_to_repeat": prompt}, f"{said}{rng.choice((' ', chr(10)))}{answer}", wrong


def ends(rng):
    phrase = sentence(rng)
    said = rng.choice((phrase, phrase.upper(), phrase + '"', phrase + "  \n", phrase.replace(" ", "\n")))
    bad = rng.choice((phrase + " Yes.", phrase[:-1], phrase + "!!", phrase + " P", phrase[1:], "re" + phrase, ""))
    return {"end_phrase": phrase}, f"{prose(rng)} {said}", "".join((prose(rng), " Thus ", bad))


def cased(change: Callable[[str], str], other: Callable[[str], str]):
    def case(rng: random.Random) -> Case:
        text = prose(rng) + rng.choice(("", " 42!", " été", " «—»"))
        places = [place for place, sign in enumerate(text) if sign.isalpha()]
        at = rng.choice(places)
        slip = change(text[:at]) + other(text[at]) + change(text[at + 1 :])
        return {}, change(text), rng.choice((slip, slip, slip, "42 !", change(text) + " 你好", change(text) + " ا"))

    return case


def commas(rng):
    text = prose(rng)
    at = rng.randint(0, len(text))
    return {}, text + rng.choice(("", ";", " — 1.5")), text[:at] + "," + text[at:]


def quotes(rng):
    text = prose(rng)
    bad = rng.choice((text, f'"{text}', f'{text}"', f"'{text}'", f"“{text}”", '"', '""', '" "', f'"{text}" Kelp.'))
    return {}, rng.choice(('"{}"', '\n"{}"\n', '" {} "', '"{} "Ha." "')).format(text), bad


CASES: dict[str, Callable[[random.Random], Case]] = {
    "change_case:capital_word_frequency": related(capitals, "capital_frequency", "capital_relation"),
    "change_case:english_capital": cased(str.upper, str.lower),
    "change_case:english_lowercase": cased(str.lower, str.upper),
    "combination:repeat_prompt": repeats,
    "combination:two_responses": two,
    "detectable_content:number_placeholders": least(placeholders, "num_placeholders"),
    "detectable_content:postscript": postscripts,
    "detectable_format:constrained_response": constrained,
    "detectable_format:json_format": json_texts,
    "detectable_format:multiple_sections": least(sections, "num_sections", section_spliter="SECTION"),
    "detectable_format:number_bullet_lists": exactly(bullets, "num_bullets"),
    "detectable_format:number_highlighted_sections": least(highlights, "num_highlights"),
    "detectable_format:title": titles,
    "keywords:existence": existence,
    "keywords:forbidden_words": forbidden,
    "keywords:frequency": related(keyword_text, "frequency", keyword="joist"),
    "keywords:letter_frequency": related(letters, "let_frequency", "let_relation", letter="q"),
    "length_constraints:nth_paragraph_first_word": nth_paragraph,
    "length_constraints:number_paragraphs": exactly(paragraphs_text, "num_paragraphs"),
    "length_constraints:number_sentences": related(sentences_text, "num_sentences"),
    "length_constraints:number_words": related(words_text, "num_words"),
    "punctuation:no_comma": commas,
    "startend:end_checker": ends,
    "startend:quotation": quotes,
}
