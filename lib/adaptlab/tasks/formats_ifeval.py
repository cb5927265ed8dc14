"""The prompts of IFEval (Zhou et al., 2311.07911): what to ask a model, and which instructions its answer must obey."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptlab.tasks.formats_io import Aside, check_list, check_row, collect, json_lines, within
from adaptlab.tasks.records import FieldError, check_text, shown

Value = str | int | tuple[str, ...]


@dataclass(frozen=True)
class VerifiablePrompt:
    """A prompt, the names of its instructions, and one dict of arguments for each, in their order.

    Which names there are, and what arguments each takes, is known to `evidence.verifiers.check_arguments`.
    """

    id: str
    prompt: str
    names: tuple[str, ...]
    arguments: tuple[dict[str, Value], ...]

    def __post_init__(self):
        check_text("id", self.id)
        check_text("prompt", self.prompt)
        for field, kind in (("names", str), ("arguments", dict)):
            value = getattr(self, field)
            if not isinstance(value, tuple) or not value or not all(isinstance(part, kind) for part in value):
                raise FieldError(field, f"a tuple of {kind.__name__}, not empty", shown(value))
        if len(self.names) != len(self.arguments):
            raise FieldError("arguments", f"{len(self.names)} dicts, one a name", str(len(self.arguments)))


def load_ifeval(path: str | Path, aside: Aside = None) -> tuple[VerifiablePrompt, ...]:
    """JSONL of {key, prompt, instruction_id_list, kwargs}, as IFEval is published; `key` becomes the id.

    An argument that is null is left out: in one of the two published shapes every row has all the arguments there
    are, and null where its instruction takes none. Lists become tuples.
    """

    def build(row: Any, _fallback: str) -> VerifiablePrompt:
        check_row(row, ("key", "prompt", "instruction_id_list", "kwargs"))
        if not isinstance(row["key"], int) or isinstance(row["key"], bool):
            raise FieldError("key", "a whole number", shown(row["key"]))
        prompt = check_text("prompt", row["prompt"])
        names = check_list("instruction_id_list", row["instruction_id_list"])
        names = tuple(check_text(f"instruction_id_list[{place}]", name) for place, name in enumerate(names))
        sets = check_list("kwargs", row["kwargs"])
        if len(sets) != len(names):
            raise FieldError("kwargs", f"{len(names)} objects, one an instruction", str(len(sets)))
        arguments = tuple(_arguments(f"kwargs[{place}]", values) for place, values in enumerate(sets))
        return VerifiablePrompt(str(row["key"]), prompt, names, arguments)

    return collect(path, json_lines(path, aside), build, aside)


def _arguments(part: str, values: Any) -> dict[str, Value]:
    with within(part):
        if not isinstance(values, dict):
            raise FieldError("", "a JSON object", shown(values))
        return {name: _value(name, value) for name, value in values.items() if value is not None}


def _value(name: str, value: Any) -> Value:
    if isinstance(value, list) and value:
        return tuple(check_text(f"{name}[{place}]", part) for place, part in enumerate(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        return check_text(name, value)
    raise FieldError(name, "a text, a whole number, a list of texts, or null", shown(value))
