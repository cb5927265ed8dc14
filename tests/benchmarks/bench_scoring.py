"""Multiple-choice scoring beside lm-eval's Hugging Face backend: the same requests, one run, one machine.

Prints, for a long shared prefix, the ratio of the two times, the largest difference between the two
log-probabilities of any option, and our time beside a plain prefill of as many unique tokens; then, for a k-shot
task run through both programs end to end, the two accuracies.

    make bench        (installs the extra `bench`; about fifteen minutes on two cores)
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

import adaptlab  # noqa: F401  (first: it sets how threads wait, which OpenMP reads when torch is imported)

# isort: split
import torch
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


def with_lm_eval(lm: LM, questions: list[Request], batch_size: int) -> tuple[list[list[float]], float]:
    """The same requests through lm-eval's `loglikelihood`; its seconds without its start-up."""
    peer = HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=batch_size)
    requests = [
        Instance("loglikelihood", {}, (q.context, option), i) for i, q in enumerate(questions) for option in q.options
    ]
    started = time.perf_counter()
    values = [value for value, _ in peer.loglikelihood(requests)]
    seconds = time.perf_counter() - started
    return [[values.pop(0) for _ in q.options] for q in questions], seconds


def timed(function, *arguments, **settings):
    started = time.perf_counter()
    result = function(*arguments, **settings)
    return result, time.perf_counter() - started


def bench_speed(lm: LM, args: argparse.Namespace) -> None:
    questions = long_prefix_questions(lm, args.prefix, args.questions)
    score(lm, long_prefix_questions(lm, 50, 2))  # warm-up
    ours, seconds = timed(score, lm, questions)
    unique = ours.cost.prefilled + ours.cost.scored
    tokens = (lm.encode(questions[0].context) * 3)[:unique]
    _, prefill = timed(kv_sharing.extend, lm.model, kv_sharing.EMPTY, tokens, unique)
    theirs, peer_seconds = with_lm_eval(lm, questions, args.batch_size)
    gap = max(
        abs(a.logprob - b)
        for row, other in zip(ours.options, theirs, strict=True)
        for a, b in zip(row, other, strict=True)
    )
    same = sum(
        max(range(len(o)), key=o.__getitem__) == max(range(len(r)), key=lambda i, r=r: r[i].logprob)
        for r, o in zip(ours.options, theirs, strict=True)
    )
    print(f"{lm.name}, fp32, {torch.get_num_threads()} threads, {len(questions)} questions x 4 options")
    print(f"  tokens: {ours.cost.prefilled} prefix + {ours.cost.scored} packed; one by one {ours.cost.per_option:,}")
    print(f"  lm-eval (batch {args.batch_size}) {peer_seconds:8.1f} s")
    print(f"  adaptlab           {seconds:8.1f} s   ratio {peer_seconds / seconds:.1f}x")
    print(f"  plain prefill of {unique} tokens {prefill:.1f} s; adaptlab takes {seconds / prefill:.2f}x of it")
    print(f"  largest difference in log p {gap:.1e}; same choice on {same} of {len(questions)}")
    assert gap < 1e-4 and same == len(questions), "the two programs disagree"


def bench_agreement(lm: LM, items: int, shots: int) -> None:
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
    print(f"{shots}-shot messages, {items} items: accuracy adaptlab {sum(ours) / len(ours):.4f}, lm-eval {theirs:.4f}")
    assert sum(ours) / len(ours) == theirs, "the two programs disagree"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--prefix", type=int, default=2000, help="tokens in front of every question")
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=1, help="lm-eval's batch size")
    parser.add_argument("--items", type=int, default=100, help="items of the shared task")
    args = parser.parse_args()
    lm = load(args.model, device="cpu", dtype="float32")
    bench_agreement(lm, args.items, shots=8)
    bench_speed(lm, args)


if __name__ == "__main__":
    main()
