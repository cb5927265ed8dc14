"""Multiple-choice scoring beside lm-eval's Hugging Face backend: the same requests, one run, one machine.

Behind a long shared prefix: how many times as long lm-eval takes, and a plain pass over as many tokens as are new to
us; whether choices and log-probabilities are the same. Then a k-shot task through both programs end to end, and how our
time grows with the prefix and with the questions.

lm-eval computes every request for itself, so in each round it gets another share of the questions, and its time is
taken times their number: over all rounds it meets each question once.

    make bench        (installs the extra `bench`; or: .venv/bin/python tests/benchmarks/bench_scoring.py --rounds 2)
"""

import json
import random
import tempfile
from functools import partial
from pathlib import Path

import adaptlab  # noqa: F401  (first: it sets how threads wait, which OpenMP reads when torch is imported)

# isort: split
import numpy as np
from beside import Table, arguments, growth, ratio, timed, turns
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM

from adaptlab.engine import kv_sharing
from adaptlab.engine.lm import LM
from adaptlab.engine.models import load
from adaptlab.engine.scoring import Request, score
from adaptlab.methods.answering import in_context
from adaptlab.tasks.sets import load_messages

WORDS = "red blue green house tree river stone apple bread cloud mountain bicycle window paper garden table".split()


def long_prefix_questions(lm: LM, prefix_tokens: int, questions: int, seed: int = 0) -> list[Request]:
    """Questions of 25 tokens with 4 options of 2 to 5 tokens, behind one prefix of about ``prefix_tokens``."""
    rng = random.Random(seed)

    def text(n: int) -> str:
        return " ".join(rng.choice(WORDS) for _ in range(n))

    prefix = text(prefix_tokens)
    prefix = lm.tokenizer.decode(lm.encode(prefix)[:prefix_tokens])
    return [
        Request(f"{prefix}\nQ: {text(20)}?\nA:", tuple(f" {text(rng.randint(2, 5))}" for _ in range(4)))
        for _ in range(questions)
    ]


def with_lm_eval(peer: HFLM, questions: list[Request]) -> list[list[float]]:
    """The same requests through lm-eval's `loglikelihood`."""
    requests = [
        Instance("loglikelihood", {}, (q.context, option), i) for i, q in enumerate(questions) for option in q.options
    ]
    values = iter(peer.loglikelihood(requests, disable_tqdm=True))
    return [[next(values)[0] for _ in q.options] for q in questions]


def speed(lm: LM, table: Table, prefix: int, n: int, batch_size: int, rounds: int) -> None:
    questions = long_prefix_questions(lm, prefix, n)
    peer = HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=batch_size)
    for warm_up in (partial(score, lm), partial(with_lm_eval, peer)):
        warm_up(long_prefix_questions(lm, 50, 2))
    ours = score(lm, questions)
    unique = ours.cost.prefilled + ours.cost.scored
    tokens = (lm.encode(questions[0].context) * 3)[:unique]
    shares = [questions[turn::rounds] for turn in range(rounds)]
    runs = {
        "ours": lambda turn: score(lm, questions),
        "lm-eval": lambda turn: with_lm_eval(peer, shares[turn]),
        "pass": lambda turn: kv_sharing.extend(lm.model, kv_sharing.EMPTY, tokens, unique),
    }
    taken, theirs = {name: [] for name in runs}, {}
    for turn, name in turns(runs, rounds):
        seconds, made = timed(partial(runs[name], turn))
        taken[name].append(np.multiply(seconds, n / len(shares[turn])) if name == "lm-eval" else seconds)
        if name == "lm-eval":
            theirs |= {place: values for place, values in zip(range(turn, n, rounds), made, strict=True)}
    mine = [[option.logprob for option in row] for row in ours.options]
    gap = max(np.abs(np.subtract(mine[place], theirs[place])).max() for place in theirs)
    same = sum(np.argmax(mine[place]) == np.argmax(theirs[place]) for place in theirs)
    table.add(f"lm-eval, batch {batch_size}", ratio(taken["lm-eval"], taken["ours"]))
    table.add("adaptlab beside a plain pass over as many new tokens", ratio(taken["ours"], taken["pass"]))
    table.add("tokens", {"prefix": ours.cost.prefilled, "packed": ours.cost.scored, "one by one": ours.cost.per_option})
    table.add(
        "equality with lm-eval",
        {"same choices": int(same), "of": n, "largest difference in log p": float(f"{gap:.1e}")},
    )
    assert gap < 1e-4 and same == n, "the two programs disagree"


def growing(table: Table, rounds: int) -> None:
    """Of a small model, so that long prefixes take no hour."""
    lm = load("study", device="cpu", dtype="float32")
    ways = {
        "tokens of the prefix": ((128, 256, 512, 1024, 1536), lambda n: long_prefix_questions(lm, n, 16)),
        "questions": ((8, 16, 32, 64, 128), lambda n: long_prefix_questions(lm, 512, n)),
    }
    for what, (sizes, make) in ways.items():
        table.add(f"growth with {what}, {lm.name}", growth({n: partial(score, lm, make(n)) for n in sizes}, rounds))


def agreement(lm: LM, table: Table, items: int, shots: int) -> None:
    """One k-shot task through lm-eval's own task machinery and through ours."""
    data = load_messages()
    test = data.items(items)
    chooser = in_context(lm, data, shots, label_mapping="words")
    answers = chooser.answer(test)
    ours = [
        max(o, key=lambda label, o=o: o[label].logprob) == i.label for o, i in zip(answers.options, test, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "docs.jsonl"
        with path.open("w") as file:
            for item in test:
                q = chooser.request(item)
                doc = {
                    "context": q.context,
                    "choices": [o.strip() for o in q.options],
                    "gold": data.labels.index(item.label),
                }
                file.write(json.dumps(doc) + "\n")
        task = ConfigurableTask(
            config={
                "task": "messages",
                "dataset_path": "json",
                "dataset_kwargs": {"data_files": {"test": str(path)}},
                "test_split": "test",
                "output_type": "multiple_choice",
                "doc_to_text": "{{context}}",
                "doc_to_choice": "{{choices}}",
                "doc_to_target": "{{gold}}",
                "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
            }
        )
        peer = HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=8)
        result = simple_evaluate(model=peer, tasks=[task], bootstrap_iters=0)
    theirs = result["results"]["messages"]["acc,none"]
    share = sum(ours) / len(ours)
    table.add(f"accuracy, messages, {shots} shots", {"adaptlab": share, "lm-eval": theirs, "items": items})
    assert share == theirs, "the two programs disagree"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--prefix", type=int, default=2000, help="tokens in front of every question")
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=1, help="lm-eval's batch size")
    parser.add_argument("--items", type=int, default=100, help="items of the shared task")
    args = parser.parse_args()
    lm = load(args.model, device="cpu", dtype="float32")
    behind = f"{args.questions} questions with 4 options behind a prefix of {args.prefix} tokens"
    table = Table("scoring", args, f"{lm.name}, float32, {behind}", ["lm_eval"])
    agreement(lm, table, args.items, shots=8)
    speed(lm, table, args.prefix, args.questions, args.batch_size, args.rounds)
    growing(table, args.rounds)
    table.write()


if __name__ == "__main__":
    main()
