"""IFEval's file: both published shapes are read, every defect is located, and what was read can be scored."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptlab.evidence.verifiers import check_arguments, verify, verify_loose
from adaptlab.tasks.formats_ifeval import VerifiablePrompt, load_ifeval
from adaptlab.tasks.formats_io import FormatError
from adaptlab.tasks.records import FieldError
from format_files import put

ROWS = (
    {
        "key": 7,
        "prompt": "Say kelp twice, without a comma.",
        "instruction_id_list": ["punctuation:no_comma", "keywords:frequency"],
        "kwargs": [{}, {"relation": "at least", "keyword": "kelp", "frequency": 2}],
    },
    {
        "key": 12,
        "prompt": "Name a plant.\nMention “larch”.",
        "instruction_id_list": ["keywords:existence"],
        "kwargs": [{"keywords": ["larch"]}],
    },
    {
        "key": 30,
        "prompt": "Use four # signs.",
        "instruction_id_list": ["keywords:letter_frequency"],
        "kwargs": [{"letter": "#", "let_frequency": 4, "let_relation": "at least"}],
    },
    {
        "key": 31,
        "prompt": "Answer in Kannada.",
        "instruction_id_list": ["language:response_language"],
        "kwargs": [{"language": "kn"}],
    },
)
NULLS = dict.fromkeys(("relation", "keyword", "frequency", "keywords", "letter", "language", "num_words", "end_phrase"))


def lines(rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def with_nulls(row: dict) -> dict:
    return row | {"kwargs": [NULLS | arguments for arguments in row["kwargs"]]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ifeval")


def refusal(path) -> FormatError:
    with pytest.raises(FormatError) as caught:
        load_ifeval(path)
    assert str(caught.value).startswith(f"{path.name}:{caught.value.line}: ")
    return caught.value


@pytest.mark.parametrize("shape", [dict, with_nulls])
def test_both_published_shapes_are_read_alike(tmp_path, shape):
    found = load_ifeval(put(tmp_path, lines(map(shape, ROWS))))
    assert [prompt.id for prompt in found] == ["7", "12", "30", "31"]
    assert found[0] == VerifiablePrompt(
        "7", ROWS[0]["prompt"], tuple(ROWS[0]["instruction_id_list"]), ({}, found[0].arguments[1])
    )
    assert found[0].arguments[1] == {"relation": "at least", "keyword": "kelp", "frequency": 2}
    assert found[1].prompt == "Name a plant.\nMention “larch”." and found[1].arguments == ({"keywords": ("larch",)},)


def test_what_was_read_is_scored_or_refused(tmp_path):
    twice, larch, signs, language = load_ifeval(put(tmp_path, lines(map(with_nulls, ROWS))))
    assert verify("Kelp and kelp.", twice.names, twice.arguments) == (True, True)
    assert verify("Kelp, and\nkelp kelp.", twice.names, twice.arguments) == (False, True)
    assert verify_loose("Kelp, and\nkelp kelp.", twice.names, twice.arguments) == (True, True)
    assert verify("A Larch.", larch.names, larch.arguments) == (True,)
    for prompt in (signs, language):
        with pytest.raises(FieldError) as caught:
            check_arguments(prompt.names[0], prompt.arguments[0])
        assert prompt.names[0] in caught.value.field


BROKEN = [
    ({"key": ...}, "key"),
    ({"key": "7"}, "key"),
    ({"key": True}, "key"),
    ({"key": 1.0}, "key"),
    ({"key": 12}, "id"),
    ({"prompt": ...}, "prompt"),
    ({"prompt": " "}, "prompt"),
    ({"prompt": 3}, "prompt"),
    ({"answer": "x"}, "answer"),
    ({"instruction_id_list": []}, "instruction_id_list"),
    ({"instruction_id_list": "punctuation:no_comma"}, "instruction_id_list"),
    ({"instruction_id_list": ["punctuation:no_comma", 3]}, "instruction_id_list[1]"),
    ({"instruction_id_list": ["punctuation:no_comma", ""]}, "instruction_id_list[1]"),
    ({"instruction_id_list": ["punctuation:no_comma"]}, "kwargs"),
    ({"kwargs": ...}, "kwargs"),
    ({"kwargs": None}, "kwargs"),
    ({"kwargs": []}, "kwargs"),
    ({"kwargs": [{}]}, "kwargs"),
    ({"kwargs": [{}, {}, {}]}, "kwargs"),
    ({"kwargs": [{}, None]}, "kwargs[1]"),
    ({"kwargs": [{}, []]}, "kwargs[1]"),
    ({"kwargs": [{}, {"frequency": 2.0}]}, "kwargs[1].frequency"),
    ({"kwargs": [{}, {"frequency": True}]}, "kwargs[1].frequency"),
    ({"kwargs": [{}, {"keyword": ""}]}, "kwargs[1].keyword"),
    ({"kwargs": [{"keywords": []}, {}]}, "kwargs[0].keywords"),
    ({"kwargs": [{"keywords": ["a", None]}, {}]}, "kwargs[0].keywords[1]"),
    ({"kwargs": [{"keywords": {"a": 1}}, {}]}, "kwargs[0].keywords"),
]


@pytest.mark.parametrize(("change", "field"), BROKEN)
def test_a_defect_is_located_or_set_aside(tmp_path, change, field):
    rows = copy.deepcopy([*ROWS[1:], ROWS[0] | change])
    rows[-1] = {name: value for name, value in rows[-1].items() if value is not ...}
    path = put(tmp_path, lines(rows))
    error = refusal(path)
    assert (error.line, error.field) == (4, field)
    aside = []
    assert [prompt.id for prompt in load_ifeval(path, aside)] == ["12", "30", "31"]
    assert [str(bad.error) for bad in aside] == [str(error)]


@given(cut=st.integers(0, len(lines(ROWS).encode()) - 2))
def test_a_cut_file_is_refused_or_ends_between_rows(folder, cut):
    whole = lines(ROWS).encode()
    data = whole[:cut]
    path, complete = put(folder, data), data.count(b"\n")
    tail = data.rpartition(b"\n")[2]
    if data and (not tail or tail + b"\n" in whole.splitlines(keepends=True)):
        assert len(load_ifeval(path)) == complete + bool(tail)
    else:
        assert refusal(path).line == complete + 1


def test_no_file_without_rows(tmp_path):
    for data in ("", "\n\n", "[]", "{}", "\ufeff", "null"):
        assert refusal(put(tmp_path, data)).line == 1


@pytest.mark.parametrize("field", ["id", "prompt", "names", "arguments"])
@pytest.mark.parametrize("bad", [3, None, "", (), ["x"], (3,), ("a", "b"), ({}, {})])
def test_a_record_refuses_what_does_not_belong(field, bad):
    sound = {"id": "7", "prompt": "Kelp?", "names": ("punctuation:no_comma",), "arguments": ({},)}
    assert VerifiablePrompt(**sound).names == sound["names"]
    with pytest.raises(FieldError):
        VerifiablePrompt(**(sound | {field: bad}))
