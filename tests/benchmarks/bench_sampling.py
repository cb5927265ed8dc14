"""Written answers beside transformers' own `generate`: the same prompts, one run, one machine, the same texts.

Two cases. Many questions behind one long page of demonstrations; and many samples of one long prompt, once as separate
rows and once with `num_return_sequences`, which reads the prompt as often. Prints ratios; texts are checked.

    make bench        (or: .venv/bin/python tests/benchmarks/bench_sampling.py --model study --page 600)
"""

import argparse
import random
import time

import torch
from transformers import GenerationConfig

from adaptlab.engine import plain
from adaptlab.engine.generation import Decoding, Generated, generate
from adaptlab.engine.lm import LM
from adaptlab.engine.models import load

WORDS = "red blue green house tree river stone apple bread cloud mountain bicycle window paper garden table".split()


def page(lm: LM, tokens: int, seed: int = 0) -> str:
    """Random words, about so many tokens of them."""
    rng = random.Random(seed)
    text = " ".join(rng.choice(WORDS) for _ in range(tokens))
    return lm.tokenizer.decode(lm.encode(text)[:tokens], skip_special_tokens=True)


def timed(lm: LM, prompts: list[str], how: Decoding, plan: str, rows: int) -> tuple[Generated, float]:
    started = time.perf_counter()
    made = generate(lm, prompts, how, plan=plan, rows=rows, seed=1)
    return made, time.perf_counter() - started


def compare(lm: LM, title: str, prompts: list[str], how: Decoding, rows: int) -> None:
    ours, seconds = timed(lm, prompts, how, "trie", rows)
    theirs, peer = timed(lm, prompts, how, "plain", rows)
    same = sum(a == b for a, b in zip(ours.completions, theirs.completions, strict=True))
    cost = ours.cost
    print(f"{title}: {len(prompts)} texts of at most {how.max_new_tokens} tokens, {rows} side by side")
    print(f"  tokens: {cost.prefilled} prefix + {cost.scored} prompts + {cost.decoded} written; naive {cost.naive:,}")
    print(f"  generate {peer:.1f} s, adaptlab {seconds:.1f} s, ratio {peer / seconds:.1f}x; same text: {same}")
    assert same >= 0.95 * len(prompts), "the two write different texts"  # a tie within rounding may fall either way


def many_of_one(lm: LM, prompt: str, how: Decoding, n: int) -> None:
    """`num_return_sequences`: one call, the prompt repeated inside."""
    ids, mask = plain.padded(lm, [lm.encode(prompt)])
    sampled = {"do_sample": True, "temperature": how.temperature, "top_k": 0, "top_p": how.top_p}
    config = GenerationConfig(
        max_new_tokens=how.max_new_tokens,
        num_return_sequences=n,
        pad_token_id=lm.tokenizer.pad_token_id,
        eos_token_id=plain.ends(lm),
        **sampled,
    )
    started = time.perf_counter()
    torch.manual_seed(1)
    with torch.inference_mode():
        lm.model.generate(ids, attention_mask=mask, generation_config=config)
    peer = time.perf_counter() - started
    _, seconds = timed(lm, [prompt] * n, how, "trie", n)
    print(
        f"{n} samples of one prompt: num_return_sequences {peer:.1f} s, adaptlab {seconds:.1f} s: {peer / seconds:.1f}x"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--page", type=int, default=512, help="tokens in front of every question")
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--longest", type=int, default=64)
    args = parser.parse_args()
    lm = load(args.model, device="cpu", dtype="float32")
    print(f"{lm.name}, fp32, {torch.get_num_threads()} threads, a page of {args.page} tokens")
    shared, greedy = page(lm, args.page), Decoding(max_new_tokens=args.max_new_tokens, stop=())
    timed(lm, ["red house"], Decoding(max_new_tokens=4, stop=()), "trie", 1)  # warm-up
    compare(lm, "one page", [f"{shared}\nQ: {page(lm, 20, i + 1)}?\nA:" for i in range(args.prompts)], greedy, 16)
    warm = Decoding(temperature=1.0, max_new_tokens=args.max_new_tokens, stop=())
    compare(lm, "one prompt", [shared] * args.prompts, warm, args.prompts)
    many_of_one(lm, shared, warm, args.prompts)


if __name__ == "__main__":
    main()
