"""Small good files of every shape, for tests to break, and where the public ones are."""

import json
from pathlib import Path

import pytest

from adaptlab.tasks.reading import Reading, read
from adaptlab.tasks.rows import FormatError

PUBLIC = Path(__file__).parents[2] / "shared" / "data"
public = pytest.mark.skipif(
    not PUBLIC.is_dir(), reason="the public data files (shared/data) are not beside the project"
)


def jsonl(rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


TALK = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
TASK = {"name": "slug", "instruction": "Add.", "instances": [{"input": "", "output": "4"}], "is_classification": False}
QUESTION = {"category": "sums", "turns": ["One?", "Two?"], "reference": ["1", ""]}
# One small good file a shape: what a test breaks.
GOOD = {
    "alpaca": json.dumps(
        [{"instruction": f"Do {n}.", "input": "", "output": f"Done {n}."} for n in range(3)], indent=1
    ),
    "chat": jsonl({"id": f"c{n}", "messages": TALK} for n in range(3)),
    "completions": jsonl({"id": f"p{n}", "prompt": "Q:", "completion": f" {n}"} for n in range(3)),
    "labelled": jsonl(
        {"id": f"m{n}", "text": f"number {n}", "label": "ab"[n // 2 % 2], "split": ("pool", "test")[n % 2]}
        for n in range(8)
    ),
    "mt-bench": jsonl({"question_id": n, **QUESTION} for n in range(3)),
    "self-instruct": jsonl({"id": f"s{n}", **TASK} for n in range(3)),
    "gsm8k": jsonl({"question": f"{n}+1?", "answer": f"It is <<{n}+1=2>>2.\n#### 2"} for n in range(3)),
    "flan-cot": "Is it?\tyes\tBecause.\\nSo.\nIs not?\tno\tFor that.\nMay it?\tyes\tWell.\n",
    "urial": "System.\n" + "".join(f"\n# Query:\n```\nq{n}\n```\n\n# Answer:\n```\na{n}\n```\n" for n in (1, 2)),
}
JSONL = ("chat", "completions", "labelled", "mt-bench", "self-instruct", "gsm8k")
KIND = {"chat": "chat", "labelled": "labelled", "mt-bench": "chat"}  # the others are instructions
NAMES = {"alpaca": "file.json", "flan-cot": "file.tsv", "urial": "file.txt"}


def put(folder: Path, data: str | bytes, name: str = "file.jsonl") -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def load(folder: Path, data: str | bytes, format: str, strict: bool = True) -> Reading:
    """Read a file of a shape that holds ``data``; rejected rows go into a file beside it."""
    path = put(folder, data, NAMES.get(format, "file.jsonl"))
    more = {} if strict else {"rejects": folder / "rejected.jsonl"}
    return read(path, KIND.get(format, "instructions"), strict=strict, **more)


def refusal(folder: Path, data: str | bytes, format: str) -> FormatError:
    """The error that strict reading must raise; it always names the file."""
    with pytest.raises(FormatError) as caught:
        load(folder, data, format)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).startswith(f"{caught.value.path.name}:{caught.value.line}: ")
    return caught.value


def changed(format: str, line: int, **fields) -> str:
    """The good file with fields of one line replaced, or dropped where the new value is `...`."""
    lines = GOOD[format].splitlines()
    row = json.loads(lines[line - 1]) | fields
    lines[line - 1] = json.dumps({name: value for name, value in row.items() if value is not ...})
    return "\n".join(lines) + "\n"
