"""Records become rows that TRL trains on: the kit's own prompts, and the answers alone under the loss."""

import math
import socket
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from adaptlab import paths
from adaptlab.methods import prompting
from adaptlab.tasks.export import from_messages, from_prompt_completion, to_messages, to_prompt_completion
from adaptlab.tasks.prompts import FORMATS
from adaptlab.tasks.records import (
    Conversation,
    Demonstration,
    FieldError,
    Instruction,
    Labelled,
    Message,
    PromptCompletion,
)

STUDY = paths.MODELS / "study"
SYSTEM = Message("system", "Be brief.")
ASK, TELL, MORE, LAST = (
    Message("user", "Add 2 and 2."),
    Message("assistant", "4"),
    Message("user", "And 3?"),
    Message("assistant", "7 it is"),
)
TALK = Conversation("t", (SYSTEM, ASK, TELL, MORE, LAST), "sums", ("4", "7"))
SUM = Instruction("s", "Add the numbers.", "2 2", "4", "sums", "2 and 2 are 4.")
BARE = replace(SUM, input=" \n")
ITEM = Labelled("l", "Where is my parcel?", "delivery")
PAIR = PromptCompletion("p", "Two and two are ", "\n four ")

TEXT = st.text(max_size=20)
SOME = (TEXT | st.sampled_from(["{query}", "{instruction}", " two\n", "Answer:"])).filter(str.strip)
TURNS = st.lists(st.tuples(SOME, SOME), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(STUDY)


def dialogue(turns, system=""):
    messages = [Message(role, text) for turn in turns for role, text in zip(("user", "assistant"), turn, strict=True)]
    return Conversation("d", (*([Message("system", system)] if system else []), *messages))


def says(role, content):
    return {"role": role, "content": content}


def test_messages_of_every_kind():
    assert to_messages(TALK) == {"messages": [says(m.role, m.content) for m in TALK.messages]}
    assert to_messages(SUM) == {"messages": [says("user", "Add the numbers.\n2 2"), says("assistant", "4")]}
    assert to_messages(BARE)["messages"][0] == says("user", "Add the numbers.")
    talk = says("system", "Name the desk."), says("user", "Where is my parcel?"), says("assistant", "delivery")
    assert to_messages(ITEM, "Name the desk.") == {"messages": list(talk)}


def test_pairs_of_messages_end_before_the_last_answer():
    row = to_prompt_completion(TALK, "chat")
    assert row == {"prompt": to_messages(TALK)["messages"][:-1], "completion": [says("assistant", "7 it is")]}
    assert to_prompt_completion(BARE, "chat")["prompt"] == [says("user", "Add the numbers.")]


def test_pairs_of_text():
    assert to_prompt_completion(SUM) == {"prompt": "Question: Add the numbers.\n2 2\nAnswer:", "completion": " 4"}
    assert to_prompt_completion(ITEM, "plain", "Name the desk.") == {
        "prompt": "Name the desk.\n\nMessage: Where is my parcel?\nDesk:",
        "completion": " delivery",
    }
    assert to_prompt_completion(PAIR, "urial") == {"prompt": PAIR.prompt, "completion": PAIR.completion}


@given(turns=TURNS, system=SOME.filter(lambda text: "{query}" not in text), style=st.sampled_from(list(FORMATS)))
def test_a_page_is_what_the_kit_itself_asks_with(turns, system, style):
    has_place = "{instruction}" in FORMATS[style].head + FORMATS[style].turn
    row = to_prompt_completion(dialogue(turns, system if has_place else ""), style)
    *shown, (query, answer) = turns
    shown = [Demonstration(*pair) for pair in shown]
    assert row["prompt"] == prompting.render(style, system, shown, query, None)
    assert row["completion"] == FORMATS[style].separator + answer
    if has_place:  # the same page, whichever record holds the texts
        for record, *instruction in [
            (Instruction("i", system, query, answer),),
            (Labelled("l", query, answer), system),
        ]:
            page = prompting.render(style, system, [], query, None)
            assert to_prompt_completion(record, style, *instruction)["prompt"] == page


def test_a_chat_prompt_is_what_the_kit_itself_asks_with(tokenizer):
    prompt = to_prompt_completion(TALK, "chat")["prompt"]
    page = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    shown = [Demonstration("Add 2 and 2.", "4")]
    assert page == "<bos>" + prompting.render("chat", "Be brief.", shown, "And 3?", tokenizer)


def test_an_instruction_above_takes_the_place_and_the_records_own_becomes_the_query():
    row = to_prompt_completion(BARE, "urial", "Answer each request.")
    assert row["prompt"].startswith("# Instruction\n\nAnswer each request.\n\n# Query:\n```\nAdd the numbers.\n```")


def test_a_blank_input_stays_blank_where_the_layout_shows_the_instruction_too():
    assert to_prompt_completion(replace(SUM, input=""), "alpaca")["prompt"] == prompting.render(
        "alpaca", SUM.instruction, [], "", None
    )


def test_marks_of_a_layout_in_a_text_stay_text():
    row = to_prompt_completion(Instruction("i", "Fill {query} in.", "{instruction}", "x"), "alpaca")
    assert row["prompt"] == "### Instruction:\nFill {query} in.\n\n### Input:\n{instruction}\n\n### Response:\n"


@pytest.mark.parametrize("style", FORMATS)
@given(turns=TURNS)
def test_no_token_of_the_study_model_spans_prompt_and_completion(style, turns, tokenizer):
    layout = FORMATS[style]
    system = "Be brief." if "{instruction}" in layout.head + layout.turn else ""
    row = to_prompt_completion(dialogue(turns, system), style)
    prompt = tokenizer(row["prompt"]).input_ids
    assert tokenizer(row["prompt"] + row["completion"]).input_ids[: len(prompt)] == prompt


@given(turns=TURNS, system=st.just("") | SOME)
def test_messages_come_back(turns, system):
    talk = dialogue(turns, system)
    assert from_messages(to_messages(talk), "d") == talk
    assert from_prompt_completion(to_prompt_completion(talk, "chat"), "d") == talk


@given(record=st.builds(PromptCompletion, SOME, SOME, SOME), style=st.sampled_from(list(FORMATS)))
def test_completions_come_back(record, style):
    assert from_prompt_completion(to_prompt_completion(record, style), record.id) == record


def test_what_a_row_of_trl_must_hold():
    for read, row, words in [
        (from_messages, {"text": "x"}, "field 'messages': expected a value"),
        (from_messages, {"messages": None}, "field 'messages': expected a list, found None"),
        (from_messages, {"messages": [{"role": "user"}]}, r"field 'messages\[0\]\.content'"),
        (from_prompt_completion, {"prompt": "x"}, "field 'completion': expected a value"),
        (from_prompt_completion, {"prompt": None, "completion": "x"}, "field 'prompt': expected a list, found None"),
        (from_prompt_completion, {"prompt": [says("user", "x")], "completion": "x"}, "field 'completion': .* a list"),
        (from_prompt_completion, {"prompt": "x", "completion": ["x"]}, "field 'completion': expected text"),
    ]:
        with pytest.raises(FieldError, match=words):
            read(row, "a")


QUESTIONS = Conversation("q", (ASK, MORE), references=("4", "7"))


@pytest.mark.parametrize(
    ("record", "style", "instruction", "words"),
    [
        (QUESTIONS, "chat", "", "field 'messages': expected an assistant message to learn from, found user, user"),
        (QUESTIONS, "question", "", "an assistant message to learn from"),
        (Conversation("c", (SYSTEM,)), "chat", "", "an assistant message to learn from, found system"),
        (Conversation("c", (ASK, TELL, MORE)), "chat", "", "user and assistant in turns, .* user, assistant, user"),
        (Conversation("c", (ASK, MORE, LAST)), "question", "", "user and assistant in turns"),
        (Conversation("c", (TELL,)), "chat", "", "user and assistant in turns"),
        (TALK, "question", "", "field 'instruction': expected none, as the layout 'question' has no place"),
        (TALK, "plain", "Be long.", "field 'instruction': expected none beside .* own system message"),
        (Conversation("c", (ASK, TELL)), "urial", "", "field 'instruction': expected text for its place in .*'urial'"),
        (ITEM, "plain", "", "field 'instruction': expected text for its place in the layout 'plain', found none"),
        (ITEM, "question", "Name the desk.", "the layout 'question' has no place for it, found 'Name the desk.'"),
        (ITEM, "chat", " ", "field 'content': expected text that is not blank"),
        (BARE, "plain", "", "field 'input': expected text that is not blank, as the query of the layout 'plain'"),
        (BARE, "urial", "", "field 'input'"),
        (PAIR, "chat", "", "expected a Conversation, Instruction or Labelled, which have roles, found Completion"),
        (PAIR, "plain", "Name it.", "field 'instruction': expected none for a Completion"),
        (
            SUM,
            "xml",
            "",
            "field 'style': expected one of 'plain', 'question', 'pairs', 'urial', 'alpaca', 'chat', found 'xml'",
        ),
        (SYSTEM, "chat", "", "found Message"),
    ],
)
def test_what_does_not_fit_is_refused(record, style, instruction, words):
    with pytest.raises(FieldError, match=words):
        to_prompt_completion(record, style, instruction)


def test_messages_refuse_what_has_no_answer_or_no_roles():
    with pytest.raises(FieldError, match="an assistant message to learn from"):
        to_messages(QUESTIONS)
    with pytest.raises(FieldError, match="which have roles, found Completion"):
        to_messages(PAIR)
    assert len(to_messages(Conversation("c", (ASK, MORE, LAST, ASK)))["messages"]) == 4  # turns need not alternate


# --- TRL itself ------------------------------------------------------------------------------------------------------

TALKS = [TALK, replace(TALK, messages=(SYSTEM, ASK, TELL))]
ASKED = [Instruction("b", "Reverse this list:", "bakda vogmi", "vogmi bakda"), ITEM, PAIR]
ROWS = {
    "messages": [to_messages(record) for record in (*TALKS, SUM)],
    "chat": [to_prompt_completion(record, "chat") for record in (*TALKS, SUM)],
    "question": [to_prompt_completion(record) for record in ASKED],
    **{style: [to_prompt_completion(record, style) for record in (*TALKS, SUM)] for style in ("urial", "alpaca")},
}


@pytest.fixture
def trained(tmp_path, monkeypatch, tokenizer):
    """Two steps of TRL's trainer on rows; returns the trainer and its losses."""
    trl = pytest.importorskip("trl", minversion="1.0", reason="needs TRL: pip install --no-deps 'trl>=1.0'")
    datasets = pytest.importorskip("datasets", reason="the extra `data` is not installed")

    def refuse(*args):
        raise AssertionError(f"no network in this test: {args}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)

    def train(rows):
        config = trl.SFTConfig(
            output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=len(rows), logging_steps=1,
            report_to=[], save_strategy="no", use_cpu=True, bf16=False, disable_tqdm=True,
        )  # fmt: skip
        model = AutoModelForCausalLM.from_pretrained(STUDY)
        trainer = trl.SFTTrainer(
            model, config, train_dataset=datasets.Dataset.from_list(rows), processing_class=tokenizer
        )
        trainer.train()
        return trainer, [line["loss"] for line in trainer.state.log_history if "loss" in line]

    return train


@pytest.mark.parametrize("style", ROWS)
def test_trl_trains_on_the_rows_and_of_pairs_on_the_completions_alone(style, trained, tokenizer):
    rows = ROWS[style]
    trainer, losses = trained(rows)
    assert len(losses) == 2 and all(math.isfinite(loss) and loss > 0 for loss in losses)

    (batch,) = trainer.get_train_dataloader()
    pages = zip(batch["input_ids"], batch["attention_mask"], strict=True)
    seen = {tokenizer.decode(ids[mask == 1]) for ids, mask in pages}
    learnt = {tokenizer.decode(labels[labels != -100]) for labels in batch["labels"]}
    if style == "messages":  # every token is learnt, as TRL does with this shape unless told otherwise
        assert seen == learnt == {tokenizer.apply_chat_template(row["messages"], tokenize=False) for row in rows}
    elif style == "chat":  # the study model's template closes an answer with an empty line, without an end token
        whole = [row["prompt"] + row["completion"] for row in rows]
        assert seen == {tokenizer.apply_chat_template(messages, tokenize=False) for messages in whole}
        assert learnt == {f" {row['completion'][0]['content']}\n\n" for row in rows}
    else:
        assert seen == {f"<bos>{row['prompt']}{row['completion']}<eos>" for row in rows}
        assert learnt == {f"{row['completion']}<eos>" for row in rows}
