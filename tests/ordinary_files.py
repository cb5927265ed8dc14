"""Ordinary files of the field, small, with sentences of our own: name, what the file holds, what reading must find."""

import gzip
import io
import json

Q = ["Where is the key?", "Who baked the bread?", "When does the ferry leave?", "What is in the box?"]
A = ["Under the mat.", "Our neighbour.", "At noon.", "Old maps."]
LABELS = ["place", "person", "time", "thing"]
PAIRS = list(zip(Q, A, strict=True))


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def said(q, a, roles=("user", "assistant"), keys=("role", "content")):
    return [dict(zip(keys, (role, text), strict=True)) for role, text in zip(roles, (q, a), strict=True)]


def labelled(extra=()):
    return [
        {"text": f"{q} {n}", "label": label, **dict(extra)}
        for n in range(4)
        for q, label in zip(Q, LABELS, strict=True)
    ]


def csv(rows, sep=","):
    names = list(rows[0])
    return "".join(
        sep.join(f'"{row[name]}"' for name in names) + "\n" for row in [{name: name for name in names}, *rows]
    )


def table(write):
    def made():
        import pandas as pd

        file = io.BytesIO()
        getattr(pd.DataFrame(labelled([("source", "mail")])), write)(file, index=False)
        return file.getvalue()

    return made


OASST = [
    row
    for n, (q, a) in enumerate(PAIRS)
    for row in (
        {"message_id": f"r{n}", "parent_id": None, "message_tree_id": f"r{n}", "text": q, "role": "prompter"},
        {"message_id": f"b{n}", "parent_id": f"r{n}", "message_tree_id": f"r{n}", "text": "Why?", "role": "assistant"},
        {"message_id": f"a{n}", "parent_id": f"r{n}", "message_tree_id": f"r{n}", "text": a, "role": "assistant"}
        | {"rank": 0},
    )
]
for _row in OASST:
    _row.setdefault("rank", 1 if _row["role"] == "assistant" else None)
TREES = [
    {
        "message_tree_id": f"t{n}",
        "prompt": {"text": q, "role": "prompter", "replies": [{"text": a, "role": "assistant"}]},
    }
    for n, (q, a) in enumerate(PAIRS)
]
TSV = "".join(f"{q}\t{a}\tBecause it was said.\\nTwice.\n" for q, a in PAIRS)
URIAL = "Be brief.\n" + "".join(f"\n# Query:\n```\n{q}\n```\n\n# Answer:\n```\n{a}\n```\n" for q, a in PAIRS)
CHAT = jsonl({"messages": [{"role": "system", "content": "Be brief."}, *said(q, a)]} for q, a in PAIRS)

# name of the file, its content, how it is read ("" for by its content), kind, records, shape
ORDINARY = [
    ("alpaca.json", json.dumps([{"instruction": q, "input": "", "output": a, "text": q + a} for q, a in PAIRS]), "",
     "instructions", 4, "Alpaca"),
    ("alpaca_null.json", json.dumps([{"instruction": q, "input": None, "output": a} for q, a in PAIRS]), "",
     "instructions", 4, "Alpaca"),
    ("alpaca_lines.jsonl", jsonl({"instruction": q, "output": a} for q, a in PAIRS), "", "instructions", 4, "Alpaca"),
    ("dolly.jsonl", jsonl({"instruction": q, "context": "", "response": a, "category": "qa"} for q, a in PAIRS), "",
     "instructions", 4, "Dolly"),
    ("completions.jsonl", jsonl({"prompt": q, "completion": a, "source": "us", "score": 0.5} for q, a in PAIRS), "",
     "instructions", 4, "prompt and completion"),
    ("responses.jsonl", jsonl({"prompt": q, "response": a} for q, a in PAIRS), "", "instructions", 4,
     "question and answer"),
    ("qa.csv", csv([{"question": q, "answer": a} for q, a in PAIRS]), "", "instructions", 4, "question and answer"),
    ("chat.jsonl", CHAT, "", "chat", 4, "OpenAI chat"),
    ("chat_named.jsonl", jsonl({"messages": [{**said(q, a)[0], "name": "Ann"}, {**said(q, a)[1], "weight": 0}]}
                               for q, a in PAIRS), "", "chat", 4, "OpenAI chat"),
    ("chat_parts.jsonl", jsonl({"messages": said([{"type": "text", "text": q}], a)} for q, a in PAIRS), "", "chat", 4,
     "OpenAI chat"),
    ("chat_list.json", json.dumps([{"messages": said(q, a)} for q, a in PAIRS]), "", "chat", 4, "OpenAI chat"),
    ("ultrachat.jsonl", jsonl({"prompt": q, "prompt_id": f"u{q}", "messages": said(q, a)} for q, a in PAIRS), "",
     "chat", 4, "OpenAI chat"),
    ("ultrachat_raw.jsonl", jsonl({"id": str(n), "data": [q, a]} for n, (q, a) in enumerate(PAIRS)), "", "chat", 4,
     "UltraChat"),
    ("sharegpt.json", json.dumps([{"id": q, "conversations": said(q, a, ("human", "gpt"), ("from", "value"))}
                                  for q, a in PAIRS]), "", "chat", 4, "ShareGPT"),
    ("sharegpt_system.jsonl", jsonl({"system": "Be brief.", "conversations": said(q, a, ("human", "gpt"),
                                                                                   ("from", "value"))}
                                    for q, a in PAIRS), "", "chat", 4, "ShareGPT"),
    ("oasst.jsonl", jsonl(OASST), "", "chat", 4, "OASST messages"),
    ("oasst_trees.jsonl.gz", gzip.compress(jsonl(TREES).encode()), "", "chat", 4, "OASST trees"),
    ("dpo.jsonl", jsonl({"prompt": q, "chosen": a, "rejected": "No idea."} for q, a in PAIRS), "", "preferences", 4,
     "preferences"),
    ("dpo_chat.jsonl", jsonl({"prompt": q, "chosen": said(q, a), "rejected": said(q, "No idea.")} for q, a in PAIRS),
     "", "preferences", 4, "preferences"),
    ("hh.jsonl", jsonl({"chosen": f"\n\nHuman: {q}\n\nAssistant: {a}",
                        "rejected": f"\n\nHuman: {q}\n\nAssistant: No."} for q, a in PAIRS), "", "preferences", 4,
     "preferences"),
    ("gsm.jsonl", jsonl({"question": f"{n} and 2?", "answer": f"<<{n}+2={n + 2}>>{n + 2}\n#### {n + 2}"}
                        for n in range(4)), "", "instructions", 4, "GSM8K"),
    ("mt.jsonl", jsonl({"question_id": n, "category": "home", "turns": [q, "Are you sure?"]}
                       for n, q in enumerate(Q)), "", "chat", 4, "MT-Bench"),
    ("cot.tsv", TSV, "", "instructions", 4, "FLAN chain of thought"),
    ("seeds.jsonl", jsonl({"id": f"s{n}", "name": "x", "instruction": q, "is_classification": False,
                           "instances": [{"input": "", "output": a}]} for n, (q, a) in enumerate(PAIRS)), "",
     "instructions", 4, "Self-Instruct"),
    ("help.txt", URIAL, "", "instructions", 4, "URIAL"),
    ("labels.csv", csv(labelled()), "", "labelled", 16, "text and label"),
    ("labels_semicolon.csv", csv(labelled(), ";").encode("utf-16"), "", "labelled", 16, "text and label"),
    ("labels.tsv", csv(labelled(), "\t"), "", "labelled", 16, "text and label"),
    ("labels.jsonl", jsonl(labelled([("date", "2026-01-01")])), "", "labelled", 16, "text and label"),
    ("labels.json.gz", gzip.compress(json.dumps(labelled()).encode()), "", "labelled", 16, "text and label"),
    ("labels.parquet", table("to_parquet"), "", "labelled", 16, "text and label"),
    ("nameless.csv", "".join(f'"{row["text"]}",{row["label"]}\n' for row in labelled()), "labelled", "labelled", 16,
     "text and label"),
    ("numbers.jsonl", jsonl({"review": row["text"], "stars": n % 3} for n, row in enumerate(labelled())), "",
     "labelled", 16, "text and label"),
    ("squad.jsonl", jsonl({"id": f"q{n}", "context": "A long day. " * (1 + n // 2), "question": q,
                           "answers": {"text": [a], "answer_start": [0]}} for n, (q, a) in enumerate(PAIRS)), "",
     "documents", 2, "SQuAD"),
    ("pages.jsonl", jsonl({"title": f"Page {n}", "text": f"{q} {a}"} for n, (q, a) in enumerate(PAIRS)), "documents",
     "documents", 4, "documents"),
    ("story.md", "# A story\n\nThe key lay under the mat.\n", "documents", "documents", 1, "documents"),
]  # fmt: skip
