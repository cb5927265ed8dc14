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
from adaptlab.tasks.export import to_messages, to_prompt_completion
from adaptlab.tasks.prompt_formats import FORMATS
from adaptlab.tasks.records import (
    Conversation,
    Demonstration,
    FieldError,
    Instruction,
    Labelled,
    Message,
)

STUDY = paths.MODELS / "study"
SYSTEM, ASK, TELL = Message("system", "Be brief."), Message("user", "Add 2 and 2."), Message("assistant", "4")
MORE, LAST = Message("user", "And 3?"), Message("assistant", "7 it is")
TALK = Conversation("t", (SYSTEM, ASK, TELL, MORE, LAST), "sums", ("4", "7"))
SUM = Instruction("s", "Add the numbers.", "2 2", "4", "sums", "2 and 2 are 4.")
BARE = replace(SUM, input=" \n")
ITEM = Labelled("l", "Where is my parcel?", "delivery")
QUESTIONS = Conversation("q", (ASK, MORE), references=("4", "7"))
SOME = (st.text(max_size=20) | st.sampled_from(["{query}", "{instruction}", " two\n", "Answer:"])).filter(str.strip)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(STUDY)


def says(role, content):
    return {"role": role, "content": content}


def test_rows_by_hand():
    assert to_messages(TALK) == {"messages": [says(m.role, m.content) for m in TALK.messages]}
    talk = [says("system", "Name the desk."), says("user", "Where is my parcel?"), says("assistant", "delivery")]
    assert to_messages(ITEM, "Name the desk.") == {"messages": talk}
    row = to_prompt_completion(TALK, "chat")
    assert row == {"prompt": to_messages(TALK)["messages"][:-1], "completion": [says("assistant", "7 it is")]}
    assert to_prompt_completion(SUM) == {"prompt": "Question: Add the numbers.\n2 2\nAnswer:", "completion": " 4"}
    above = to_prompt_completion(BARE, "urial", "Answer each request.")["prompt"]
    assert above.startswith("# Instruction\n\nAnswer each request.\n\n# Query:\n```\nAdd the numbers.\n```")


@pytest.mark.parametrize("style", FORMATS)
@given(turns=st.lists(st.tuples(SOME, SOME), min_size=1, max_size=3), system=SOME)
def test_a_prompt_is_what_the_kit_itself_asks_with_and_no_token_spans_its_end(style, turns, system, tokenizer):
    system = system if "{instruction}" in FORMATS[style].head + FORMATS[style].turn else ""
    said = [Message(role, text) for turn in turns for role, text in zip(("user", "assistant"), turn, strict=True)]
    row = to_prompt_completion(Conversation("d", (*([Message("system", system)] if system else []), *said)), style)
    *earlier, (query, answer) = turns
    shown = [Demonstration(*pair) for pair in earlier]
    assert row["prompt"] == prompting.render(style, system, shown, query, None)
    assert row["completion"] == FORMATS[style].separator + answer
    prompt = tokenizer(row["prompt"]).input_ids
    assert tokenizer(row["prompt"] + row["completion"]).input_ids[: len(prompt)] == prompt
    if system:  # the same prompt, whichever record holds the texts
        page = prompting.render(style, system, [], query, None)
        assert to_prompt_completion(Instruction("i", system, query, answer), style)["prompt"] == page
        assert to_prompt_completion(Labelled("l", query, answer), style, system)["prompt"] == page


@pytest.mark.parametrize(
    ("record", "style", "instruction", "words"),
    [
        (QUESTIONS, "chat", "", "field 'messages': expected an assistant message to learn from, found user, user"),
        (Conversation("c", (ASK, TELL, MORE)), "chat", "", "user and assistant in turns .* user, assistant, user"),
        (Conversation("c", (ASK, MORE, LAST)), "question", "", "user and assistant in turns"),
        (TALK, "question", "", "field 'instruction': expected none, as the format 'question' has no place"),
        (TALK, "plain", "Be long.", "field 'instruction': expected none beside .* own system message"),
        (ITEM, "plain", "", "field 'instruction': expected text for its place in the format 'plain', found none"),
        (BARE, "plain", "", "field 'input': expected text that is not blank, as the query of the format 'plain'"),
        (SUM, "xml", "", "field 'prompt_format': expected one of 'plain', .*, 'chat', found 'xml'"),
    ],
)
def test_what_does_not_fit_is_refused(record, style, instruction, words):
    with pytest.raises(FieldError, match=words):
        to_prompt_completion(record, style, instruction)


@pytest.mark.parametrize("style", ["chat", "alpaca"])
def test_trl_trains_on_the_rows_and_of_pairs_on_the_completions_alone(style, tmp_path, monkeypatch, tokenizer):
    trl = pytest.importorskip("trl", minversion="1.0", reason="needs TRL: pip install --no-deps 'trl>=1.0'")
    datasets = pytest.importorskip("datasets", reason="the extra `data` is not installed")

    def refuse(*args):
        raise AssertionError(f"no network in this test: {args}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    rows = [to_prompt_completion(record, style) for record in (TALK, SUM)]
    config = trl.SFTConfig(
        output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=len(rows), logging_steps=1,
        report_to=[], save_strategy="no", use_cpu=True, bf16=False, disable_tqdm=True,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(STUDY)
    trainer = trl.SFTTrainer(model, config, train_dataset=datasets.Dataset.from_list(rows), processing_class=tokenizer)
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert len(losses) == 2 and all(math.isfinite(loss) and loss > 0 for loss in losses)
    (batch,) = trainer.get_train_dataloader()
    learnt = {tokenizer.decode(labels[labels != -100]) for labels in batch["labels"]}
    if style == "chat":  # the study model's template closes an answer with an empty line, without an end token
        assert learnt == {f" {row['completion'][0]['content']}\n\n" for row in rows}
    else:
        assert learnt == {f"{row['completion']}<eos>" for row in rows}
