"""Data in and results out: a user's file reaches a notebook, and what was measured leaves as tables."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import adaptlab as al
from adaptlab import paths
from adaptlab.engine import adapters
from adaptlab.engine.adapters import Lora, prepare_for_training
from adaptlab.evidence import frames
from adaptlab.evidence.evaluate import evaluate
from adaptlab.methods.baselines import NaiveBayes
from adaptlab.runner import execute, notebooks, own_files, report
from adaptlab.runner.cli import app
from adaptlab.runner.parameters import ParameterError, declared
from adaptlab.studies import augmentation, demo_search, fine_tuning
from adaptlab.studies.own_data import NOT_TESTED
from adaptlab.tasks.records import Conversation, FieldError, Instruction, Labelled, Message, Preference, Text
from conftest import tiny_lm
from format_files import jsonl, put
from ordinary_files import CHAT, PAIRS, csv, labelled, said
from tiny import counting, marks, use, write

OWN = "task: str = 'notes'  # notes (of the kit), or a file, a folder or a Hub id"


@pytest.fixture
def kit(tmp_path, monkeypatch):
    return use(tmp_path, monkeypatch.setattr)


# ---------------------------------------------------------------- into a notebook


def test_a_users_file_is_found_from_where_the_user_stands_and_counts_for_the_result(kit, monkeypatch):
    (kit / "here").mkdir()
    monkeypatch.chdir(kit / "here")
    write("01_tiny", counting(kit), "print(open(task).read())", parameters=f"seed: int = 0\n{OWN}")
    file = put(kit / "here", "one", "mine.csv")
    first = execute.run("01", parameters={"task": "mine.csv"})
    assert first.parameters["task"] == str(file) and "one" in first.path.read_text()
    assert execute.run("01", parameters={"task": "mine.csv"}).cached and marks(kit) == 1
    file.write_text("two")
    again = execute.run("01", parameters={"task": "mine.csv"})
    assert not again.cached and "two" in again.path.read_text()
    with pytest.raises(ParameterError, match=r"task: there is no file or folder 'mein\.csv'"):
        execute.run("01", parameters={"task": "mein.csv"})
    assert marks(kit) == 2, "what is not there is refused before anything runs"


def test_every_notebook_that_takes_a_users_data_takes_the_names_of_its_columns():
    columns = "text: what was said, label: stars"
    for path in notebooks.available():
        parameters = declared(path)
        takes = [one for one in parameters.values() if "a file, a folder or a Hub id" in one.help]
        assert bool(takes) == ("columns" in parameters), path.stem
        if takes:
            values = {name: one.default for name, one in parameters.items()} | {"columns": columns}
            assert own_files.located(parameters, values, path)["columns"] == columns, "columns are no file"


def test_sets_of_a_user_give_what_they_have_and_say_so(tmp_path):
    rows = [*labelled(), {"text": "the only one", "label": "rare"}, {"text": "the other one", "label": "rare"}]
    data = al.load_task(str(put(tmp_path, csv(rows), "mine.csv")))
    assert data.source and len(data.items(0)) == len(data.items(1000)) == len(data.test)
    k = len(data.pool)
    assert len(data.sample(k, 0)) == k and data.sample(3, 0) == data.sample(k, 0)[:3]
    with pytest.raises(FieldError, match="one of 'notes', 'messages', 'a file', 'a folder', 'a Hub id'"):
        al.load_task("note")
    lines = al.describe(data).payload["lines"]
    assert lines[0].startswith("mine.csv: CSV, text and label: 18 rows, 18 records read as labelled")
    assert any(line.startswith("**Classes**: 5 (place 4") for line in lines)
    assert any("test records share eight words in a row with the pool" in line for line in lines)
    assert "| rare | 1 | 1 |" in al.describe(data).payload["card"]
    assert al.describe(al.load_task("notes")).payload["lines"][0] == "notes: a set of the kit"


def test_what_leaks_from_pool_to_test_is_counted(tmp_path):
    long = "a sentence of more than eight words that stands in many of the questions"
    rows = [{"question": f"{long}, number {n}", "answer": str(n), "split": ("train", "test")[n % 2]} for n in range(8)]
    (line,) = [
        line
        for line in al.describe(al.load_records(str(put(tmp_path, jsonl(rows))))).payload["lines"]
        if "Contamination" in line
    ]
    assert "4 of 4 test records" in line and "7 of 8 records are near-copies" in line


def test_the_shell_says_the_same(tmp_path):
    path = put(tmp_path, csv(labelled()), "mine.csv")
    result = CliRunner().invoke(app, ["check", str(path)])
    lines = [line.replace("**", "") for line in al.describe(al.load_task(str(path))).payload["lines"]]
    assert result.exit_code == 0 and result.output.splitlines() == lines
    result = CliRunner().invoke(app, ["check", str(put(tmp_path, "{", "bad.jsonl"))])
    assert result.exit_code == 2 and result.output.startswith("adaptlab: bad.jsonl:1: expected valid JSON")
    result = CliRunner().invoke(app, ["check", str(put(tmp_path, CHAT)), "--as", "instructions"])
    assert "Rows: 2 in the pool, 2 in the test" in result.output.splitlines()


def test_shots_that_do_not_fit_or_that_the_pool_has_not_are_left_out(tmp_path):
    lm = tiny_lm("llama")
    rows = [{"question": f"say {n}", "answer": "so"} for n in range(40)]
    data = al.load_records(str(put(tmp_path, jsonl(rows))))
    (line,) = [one for one in al.describe(data, lm, [0, 1, 100]).payload["lines"] if "Shots" in one]
    assert line == "**Shots** that fit: 0, 1; left out: [100]"
    assert fine_tuning.fitted(lm, data, [0, 1, 100], [4, 64], 24, [0, 1]) == ([0, 1], [4], 20)
    few = al.load_records(str(put(tmp_path, jsonl(rows[:12]))))
    with pytest.raises(FieldError, match=r"field 'records': expected more than 12 in the pool.*, found 6"):
        fine_tuning.fitted(lm, few, [0, 1], [4], 24, [0])
    parts = [row | {"split": ("train", "test")[n % 2]} for n, row in enumerate(rows)]
    parts[0]["question"] = "so " * 400
    data = al.load_records(str(put(tmp_path, jsonl(parts))))
    long = {seed: data.pool[0] in data.sample(8, seed) for seed in range(20)}
    without, behind = (next(seed for seed, there in long.items() if there is which) for which in (False, True))
    assert fine_tuning.fitted(lm, data, [0, 4], [4], 24, [without]) == ([0, 4], [4], 20)
    with pytest.raises(ValueError, match=r"too few for [48] shots of this data"):
        fine_tuning.fitted(lm, data, [0, 4], [4], 24, [without, behind])


def test_notebook_03_divides_a_users_data_as_it_divides_its_own(tmp_path):
    many = [{"text": f"{row['text']} {n}", "label": row["label"]} for n in range(8) for row in labelled()]
    for file, kind in ((csv(many), "labelled"), (CHAT * 30, "instructions")):
        name = "mine.csv" if kind == "labelled" else "mine.jsonl"
        own = demo_search.own(str(put(tmp_path, file, name)))
        if kind == "instructions":
            assert len({one.query for one in own.pool}) < len(own.pool), "copies"
            continue
        parts = demo_search.task("yours", 3, 16, 12, 12, 24, own)
        assert (len(parts.data.pool), len(parts.race), len(parts.confirm), len(parts.data.test)) == (16, 12, 12, 24)
        assert demo_search.task("yours", 4, 16, 12, 12, 24, own).race != parts.race
        assert demo_search.settings("yours", 3, own) == {"seed": 3, "label_mapping": "words"}


def test_notebook_04_takes_two_turns_of_a_users_conversations(tmp_path):
    talks = [{"messages": [*said(f"{q} {n}", a), *said("Sure?", "Yes.")]} for n in range(4) for q, a in PAIRS]
    pool, test = fine_tuning.own_conversations(str(put(tmp_path, jsonl(talks))), 3)
    assert len(pool) == 8 and len(test) == 3
    assert [m.role for m in pool[0].messages] == ["user", "assistant"] * 2
    assert [m.role for m in test[0].messages] == ["user"] * 2 and test[0].references[1] == "Yes."
    assert fine_tuning.own_conversations(str(put(tmp_path, CHAT)), 3) == ([], []), "no second turns"


def test_answers_of_weight_0_are_read_and_not_trained_on():
    lm = tiny_lm("llama")
    said = [
        Message("user", "one"),
        Message("assistant", "two", weight=0),
        Message("user", "six"),
        Message("assistant", "ten"),
    ]
    (example,) = al.build_examples(lm, [Conversation("c", tuple(said))])
    (both,) = al.build_examples(lm, [Conversation("c", tuple(Message(m.role, m.content) for m in said))])
    assert example.ids == both.ids and 0 < example.weight < both.weight
    (told,) = al.build_examples(
        lm, [Conversation("c", (Message("system", "Count."), *said[:1], Message("assistant", "two")))]
    )
    assert lm.tokenizer.decode(told.ids).count("Count.") == 1, "a system text is read"


def test_notebook_05_asks_about_a_users_documents(tmp_path):
    rows = [{"document": f"The {q.split()[-1]} story. {a}", "question": q, "answer": a} for q, a in PAIRS]
    reading = al.read(put(tmp_path, jsonl(rows)), "documents")
    world = augmentation.own_world(reading, 0, 3, tiny_lm("llama"))
    assert len(world.documents) == 3 and world.lead == "Question:"
    for item in augmentation.questions(world, "sentence"):
        assert item.stem.endswith("?\nAnswer:") and item.label in item.document and 2 <= len(item.options()) <= 4
        assert augmentation.text_with(world, item) == item.document
    last = augmentation.questions(world, "forward")[0]
    assert f"{last.stem} {last.label}" in last.document and last.label not in ("The", "story")
    frame, _ = evaluate(NaiveBayes((), ("a", "b")), [Labelled("x", "t", "a", cluster="p"), Labelled("y", "u", "b")])
    assert frame["cluster"].tolist() == ["p", "y"], "items bring their clusters along"
    assert "**Length in words**: texts 5 in the middle, 6 at most" in al.describe(reading).payload["lines"]
    wanted = augmentation.to_infer(world, "reversal")
    assert wanted == [] and set(augmentation.controls(world, wanted, 0)) >= {"+ oracle"}, "the notebook asks for both"
    with pytest.raises(FieldError, match=r"page\.txt:1: expected two documents .* name a folder.* found 1 among 1"):
        augmentation.own_world(al.read(put(tmp_path, "One page.", "page.txt"), "documents"), 0, 3, tiny_lm("llama"))
    alone = al.read(put(tmp_path, jsonl({"text": row["document"]} for row in rows)), "documents")
    assert augmentation.own_world(alone, 0, 9, tiny_lm("llama")).lead == "So,"


def test_the_sentence_that_stands_for_verdicts_says_why():
    assert "not tested" in NOT_TESTED and "your" in NOT_TESTED.lower()


# ---------------------------------------------------------------- out of a notebook

KEEPS = "import pandas as pd\nfrom adaptlab.evidence.frames import keep\n"
KEEPS += "keep(pd.DataFrame({'model': ['m'], 'seed': [0], 'correct': [True], 'mixed': [1]}))\n"
KEEPS += (
    "keep(pd.DataFrame({'model': ['m'], 'output': [__import__('os').environ.get('A_TOKEN', '-')], 'mixed': ['a']}))"
)


def test_a_run_leaves_its_rows_beside_the_notebook_and_the_report_offers_them(kit, monkeypatch):
    monkeypatch.setenv("A_TOKEN", "hunter2-value-nobody-may-see")
    write("01_tiny", KEEPS)
    record = execute.run("01")
    table, packed = (record.path.with_name(f"01_tiny.frame{ending}") for ending in frames.ENDINGS)
    rows = pd.read_csv(table)
    assert rows.columns[0] == "grid" and rows["grid"].tolist() == [1, 2] and rows["mixed"].tolist() == ["1", "a"]
    assert "hunter2" not in table.read_text() and not packed.exists(), "what cannot be searched for secrets stays out"
    monkeypatch.delenv("A_TOKEN")
    assert execute.run("01", force=True).path == record.path
    whole = pd.read_parquet(packed)
    assert list(whole.columns) == list(rows.columns) and whole["output"].fillna("").tolist() == ["", "-"]
    folder = report.build().parent
    assert (folder / "notebooks" / "01_tiny.frame.csv").read_bytes() == table.read_bytes()
    assert 'href="01_tiny.frame.parquet" download' in (folder / "notebooks" / "01_tiny.html").read_text()
    left = {path.name for path in record.path.parent.iterdir()} - {".01_tiny.lock"}
    assert left == {"01_tiny.ipynb", "01_tiny.run.json", "01_tiny.frame.csv", "01_tiny.frame.parquet"}


def test_a_run_that_fails_leaves_no_rows_and_none_takes_a_users_place(kit):
    write("01_tiny", KEEPS, "1 / 0")
    with pytest.raises(execute.NotebookFailed):
        execute.run("01")
    assert not list((paths.BUILD / "executed" / "quick").glob("*frame*"))
    write("01_tiny", KEEPS)
    mine = put(kit, "mine,all,mine\n", "out.frame.csv")
    with pytest.raises(execute.OutputRefused, match=r"out\.frame\.csv: is there, and no run wrote it"):
        execute.run("01", out=kit / "out.ipynb")
    assert mine.read_text() == "mine,all,mine\n"


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), min_size=1, max_size=30).filter(
    str.strip
)
TALKS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3).map(
    lambda turns: tuple(m for q, a in turns for m in (Message("user", q), Message("assistant", a, weight=0)))
)


@settings(deadline=None, max_examples=40)
@given(st.lists(TALKS, min_size=1, max_size=4), st.sampled_from([".jsonl", ".json", ".parquet", ""]))
def test_conversations_come_back_as_they_left(tmp_path_factory, talks, ending):
    folder = tmp_path_factory.mktemp("out")
    records = [Conversation(f"c{n}", talk) for n, talk in enumerate(talks)]
    for shape in ("fields", "messages"):
        back = al.read(al.save(records, folder / f"{shape}{ending}", shape), "chat", rejects=folder / "rejected.jsonl")
        assert [one.messages for one in back.records] == talks and not back.rejected


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4),
    st.sampled_from([".jsonl", ".json", ".parquet", "", ".csv"]),
)
def test_instructions_and_preferences_come_back_as_they_left(tmp_path_factory, pairs, ending):
    folder = tmp_path_factory.mktemp("out")
    records = tuple(Instruction(f"i{n}", q, "", a) for n, (q, a) in enumerate(pairs))
    assert al.read(al.save(records, folder / f"a{ending}"), "instructions").records == records
    some = (replace(records[0], cluster="c"), *records[1:])  # a column that only one of them has
    assert al.read(al.save(some, folder / f"c{ending}"), "instructions").records == some
    pairs = tuple(Preference(f"p{n}", q, a, a + "!") for n, (q, a) in enumerate(pairs))
    assert al.read(al.save(pairs, folder / f"b{ending}"), "preferences").records == pairs


def test_shapes_for_trl_and_what_is_refused(tmp_path):
    record = Instruction("i", "Say yes.", "", "Yes.")
    turn = json.loads(al.save([record], tmp_path / "a.jsonl", "prompt-completion").read_text())
    assert turn == {
        "prompt": [{"role": "user", "content": "Say yes."}],
        "completion": [{"role": "assistant", "content": "Yes."}],
    }
    assert json.loads(al.save([Text("d", "A page.")], tmp_path / "b.jsonl", "text").read_text()) == {"text": "A page."}
    with pytest.raises(FileExistsError, match=r"a\.jsonl exists"):
        al.save([record], tmp_path / "a.jsonl")
    with pytest.raises(FieldError, match="path"):
        al.save([record], tmp_path / "a.xlsx")
    with pytest.raises(FieldError, match="shape"):
        al.save([record], tmp_path / "a.csv", "messages")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_adapters_are_merged_on_request(tmp_path):
    import torch

    copy = prepare_for_training(tiny_lm("llama"), Lora(rank=2), seed=0)
    with torch.no_grad():
        for name, part in copy.adapter.named_parameters():
            if "lora_B" in name:
                part.normal_()
    adapters.save(copy, tmp_path / "whole", {}, merge=True)
    whole = al.load(str(tmp_path / "whole"), device="cpu")
    ids = torch.tensor([whole.encode("the house")])
    assert torch.allclose(whole.model(ids).logits, copy.model(ids).logits, atol=1e-5)
