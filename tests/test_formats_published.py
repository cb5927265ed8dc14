"""The files that papers published: the public ones row by row, and each format's own traps."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptlab.tasks import formats
from adaptlab.tasks.records import Instruction
from format_files import GOOD, PUBLIC, changed, public, put, refusal, urial_text

# ---------------------------------------------------------------- the public files


@public
@pytest.mark.parametrize(
    ("name", "format", "count"),
    [
        ("mt_bench_questions.jsonl", "mt-bench", 80),
        ("self_instruct_seed_tasks.jsonl", "self-instruct", 175),
        ("gsm8k_test.jsonl", "gsm8k", 1319),
        ("flan_cot_strategyqa_train.tsv", "flan-cot", 2061),
    ],
)
class TestPublicFiles:
    def test_every_row_is_read(self, name, format, count):
        records = formats.load(PUBLIC / name, format)
        assert len(records) == count
        assert len({record.id for record in records}) == count

    def test_a_flipped_byte_is_located(self, name, format, count, tmp_path):
        lines = (PUBLIC / name).read_bytes().split(b"\n")
        lines[16] = lines[16][:20] + b"\xff" + lines[16][21:]
        error = refusal(put(tmp_path, b"\n".join(lines), name), format)
        assert (error.line, error.found) == (17, "the byte 0xff")

    def test_a_cut_is_located(self, name, format, count, tmp_path):
        lines = (PUBLIC / name).read_bytes().split(b"\n")[:10]
        lines[9] = lines[9][:12]
        assert refusal(put(tmp_path, b"\n".join(lines), name), format).line == 10


@public
def test_mt_bench_has_two_turns_and_39_references():
    records = formats.load(PUBLIC / "mt_bench_questions.jsonl", "mt-bench")
    assert records[0].id == "81"
    assert {tuple(m.role for m in r.messages) for r in records} == {("user", "user")}
    assert sum(bool(r.references) for r in records) == 39
    assert len({r.category for r in records}) == 8


@public
def test_self_instruct_tells_classification_apart():
    records = formats.load(PUBLIC / "self_instruct_seed_tasks.jsonl", "self-instruct")
    assert sum(r.category == "classification" for r in records) == 26
    assert {r.category for r in records} == {"classification", "generation"}


@public
def test_gsm8k_normalises_marks_and_commas_and_nothing_else():
    path = PUBLIC / "gsm8k_test.jsonl"
    records = formats.load(path, "gsm8k")
    for line, record in zip(path.read_text(encoding="utf-8").splitlines(), records, strict=True):
        row = json.loads(line)
        worked, final = row["answer"].split("\n#### ")
        assert record.instruction == row["question"]
        assert record.rationale == re.sub("<<.*?>>", "", worked)
        assert record.output == final.replace(",", "")
        float(record.output)


@public
def test_flan_cot_answers_are_yes_or_no():
    records = formats.load(PUBLIC / "flan_cot_strategyqa_train.tsv", "flan-cot")
    assert {r.output for r in records} == {"yes", "no"}
    assert sum(r.output == "yes" for r in records) == 964
    assert sum('"' in r.rationale for r in records) > 0  # quotation marks are text here


@public
@pytest.mark.parametrize(
    ("name", "shots", "system"),
    [
        ("basic_icl.txt", 3, False),
        ("inst_only.txt", 0, True),
        ("inst_1shot.txt", 1, True),
        ("inst_1k.txt", 3, True),
        ("inst_1k_v4.help.txt", 3, True),
    ],
)
def test_urial_files(name, shots, system):
    prompt = formats.load(PUBLIC / "urial_prompts" / name, "urial")
    assert len(prompt.demonstrations) == shots
    assert prompt.system.startswith("# Instruction") is system
    assert "```" not in "".join(query + answer for query, answer in prompt.demonstrations)
    if shots:
        original = (PUBLIC / "urial_prompts" / name).read_text(encoding="utf-8")
        assert all(query in original and answer in original for query, answer in prompt.demonstrations)


@public
def test_the_canonical_urial_file_is_rebuilt_byte_for_byte():
    path = PUBLIC / "urial_prompts" / "inst_1k_v4.help.txt"
    prompt = formats.load(path, "urial")
    assert urial_text(prompt.system, prompt.demonstrations) == path.read_text(encoding="utf-8")


@public
def test_a_real_urial_file_cut_short_is_refused(tmp_path):
    text = (PUBLIC / "urial_prompts" / "inst_1k.txt").read_text(encoding="utf-8")
    error = refusal(put(tmp_path, text[:-3], "inst.txt"), "urial")
    assert error.field == "answer" and "fence" in error.expected
    assert error.line == text[: text.rindex("# Answer:")].count("\n") + 1


# ---------------------------------------------------------------- rows of each format


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"turns": ["One?", 2]}, "turns[1]"),
        ({"reference": ["1"]}, "reference"),
        ({"reference": ["1", None]}, "reference[1]"),
        ({"question_id": True}, "question_id"),
        ({"question_id": "81"}, "question_id"),
    ],
)
def test_mt_bench_errors_say_which_turn(fields, field, tmp_path):
    error = refusal(put(tmp_path, changed("mt-bench", 3, **fields)), "mt-bench")
    assert (error.line, error.field) == (3, field)


def test_self_instruct_instances(tmp_path):
    pairs = [{"input": "2", "output": "4"}, {"input": "3", "output": "6"}]
    records = formats.load(put(tmp_path, changed("self-instruct", 2, instances=pairs)), "self-instruct")
    assert [r.id for r in records] == ["s0", "s1.1", "s1.2", "s2"]
    assert [r.input for r in records] == ["", "2", "3", ""]
    pairs[1] = {"input": "3", "output": ""}
    error = refusal(put(tmp_path, changed("self-instruct", 2, instances=pairs)), "self-instruct")
    assert (error.line, error.field) == (2, "instances[1].output")


@pytest.mark.parametrize("answer", ["Four.", "Four. #### 4", "#### four", "4\n####4", "#### 4\nso 4", "#### 4 5"])
def test_gsm8k_needs_its_final_line(answer, tmp_path):
    error = refusal(put(tmp_path, changed("gsm8k", 2, answer=answer)), "gsm8k")
    assert (error.line, error.field, error.expected) == (2, "answer", "a last line '#### NUMBER'")


@pytest.mark.parametrize(
    ("answer", "output", "rationale"),
    [
        ("So 1 < 2 << 3.\n#### -1,234.5", "-1234.5", "So 1 < 2 << 3."),
        ("#### 7", "7", ""),
        ("a <<1+1=2>>2\n\nb\n#### 2\n", "2", "a 2\n\nb"),
    ],
)
def test_gsm8k_answers(answer, output, rationale, tmp_path):
    record = formats.load(put(tmp_path, changed("gsm8k", 2, answer=answer)), "gsm8k")[1]
    assert (record.id, record.output, record.rationale) == ("file-2", output, rationale)


def test_flan_cot_rows(tmp_path):
    first, second = formats.load(put(tmp_path, GOOD["flan-cot"], "cot.tsv"), "flan-cot")
    assert first == Instruction("cot-1", "Is it?", "", "yes", rationale="Because.\nSo.")
    assert second.id == "cot-2"


@pytest.mark.parametrize(
    ("row", "field", "found"),
    [
        ("Is it?\tyes", "", "2"),
        ("Is it?\tyes\tso\tmore", "", "4"),
        ("Is it?\t\tso", "answer", "''"),
        ("\t\t", "question", "''"),
        ("Is it?\tyes\t\\n", "rationale", "'\\n'"),
        (" ", "", "1"),
    ],
)
def test_flan_cot_errors(row, field, found, tmp_path):
    error = refusal(put(tmp_path, f"Is it?\tyes\tso\n{row}\n"), "flan-cot")
    assert (error.line, error.field, error.found) == (2, field, found)


# ---------------------------------------------------------------- URIAL


def test_urial_answers_keep_their_own_code_fences(tmp_path):
    answer = "Run this:\n\n```python\nprint('# Query:')\n```\n\nand then\n```\nmore\n```"
    text = GOOD["urial"].replace("a1", answer)
    prompt = formats.load(put(tmp_path, text), "urial")
    assert prompt.system == "System."
    assert prompt.demonstrations == (("q1", answer), ("q2", "a2"))
    assert urial_text(prompt.system, prompt.demonstrations) == text


def test_urial_queries_may_stand_on_the_fence_line(tmp_path):
    text = "# Query:\n```What is 2+2? ```\n \n# Answer:\n```\n4\n```"
    prompt = formats.load(put(tmp_path, text), "urial")
    assert (prompt.system, prompt.demonstrations) == ("", (("What is 2+2? ", "4"),))


BODIES = st.text().map(lambda t: t.replace("\r", "")).filter(lambda t: t.strip() and "#" not in t)


@settings(deadline=None)  # a disk has none
@given(system=BODIES.filter(lambda t: t == t.strip("\n")), pairs=st.lists(st.tuples(BODIES, BODIES), max_size=3))
def test_urial_texts_are_read_back(system, pairs, tmp_path_factory):
    prompt = formats.load(put(tmp_path_factory.getbasetemp(), urial_text(system, pairs), "u.txt"), "urial")
    assert prompt.system == system.removeprefix("\ufeff")
    assert prompt.demonstrations == tuple(pairs)


@pytest.mark.parametrize(
    ("old", "new", "line", "field"),
    [
        ("\n# Answer:\n```\na2\n```", "", 13, "answer"),
        ("# Answer:\n```\na1\n```", "", 10, "answer"),
        ("\n# Query:\n```\nq2\n```", "", 14, "query"),
        ("a1\n```\n", "a1\n", 8, "answer"),
        ("q2\n```\n", "q2\n", 13, "query"),
        ("# Query:\n```\nq1", "# Query:\nq1", 3, "query"),
        ("# Query:\n```\nq2", "# Query:\nq2", 13, "query"),
        ("a1", " ", 8, "answer"),
        ("q1", "", 3, "query"),
        ("```\na2\n```", "a2", 18, "answer"),
        ("a2\n```", "``", 18, "answer"),
    ],
)
def test_urial_errors_are_located(old, new, line, field, tmp_path):
    error = refusal(put(tmp_path, GOOD["urial"].replace(old, new)), "urial")
    assert (error.line, error.field) == (line, field)
