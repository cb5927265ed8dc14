"""Written answers beside other programs: the same model in float32, one run, one machine.

Samples: many texts of one long prompt at temperature 1, beside transformers as it comes, with a prompt read once, and
with continuous batching, and beside llama.cpp, where the package xllamacpp is installed. Questions: greedy texts for
many questions behind one page, beside a padded batch. Growth: our time against the number and the length of samples.

No end token ends a text, so all programs write equally many tokens, and a ratio of times is one of times a token.
Greedy texts are checked to be the same.

    make bench        (or: .venv/bin/python tests/benchmarks/bench_sampling.py --rounds 1)
"""

import argparse
import random
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import adaptlab  # noqa: F401  (first: it sets how threads wait, which OpenMP reads when torch is imported)

# isort: split
import numpy as np
import torch
import transformers
from beside import Table, arguments, growth, ratio, timed, turns
from transformers import ContinuousBatchingConfig, DynamicCache, GenerationConfig

from adaptlab.engine import packaged, plain
from adaptlab.engine.folders import first_line
from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.lm import LM
from adaptlab.engine.models import load

WORDS = "red blue green house tree river stone apple bread cloud mountain bicycle window paper garden table".split()
OURS, SAMPLES = "adaptlab", 16
NEVER = -1  # no token has this number
Written = tuple[int, list[str]]  # how many tokens, and the texts
Run = Callable[[int, int], Written]  # of so many tokens a text, by this seed


def page(lm: LM, tokens: int, seed: int = 0) -> str:
    """Random words, about so many tokens of them."""
    text = " ".join(random.Random(seed).choices(WORDS, k=tokens))
    return lm.tokenizer.decode(lm.encode(text)[:tokens], skip_special_tokens=True)


def ours(lm: LM, prompts: list[str], temperature: float, new: int, seed: int) -> Written:
    made = generate(lm, prompts, Decoding(temperature=temperature, max_new_tokens=new, stop=()), seed=seed)
    return made.cost.decoded, [one.text for one in made.completions]


@torch.inference_mode()
def theirs(lm: LM, prompts: list[str], new: int, seed: int, read_once: bool = False, **more) -> Written:
    """transformers' `generate` on a padded batch; ``read_once``: on a cache of one prompt, repeated for each text."""
    torch.manual_seed(seed)
    (ids, mask), cache = plain.padded(lm, [lm.encode(prompt) for prompt in prompts]), DynamicCache()
    if read_once:
        lm.model(ids[:1, :-1], past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(len(prompts))
    how = GenerationConfig(max_new_tokens=new, eos_token_id=NEVER, top_k=0, **more)
    out = lm.model.generate(ids, attention_mask=mask, past_key_values=cache, generation_config=how)[:, ids.shape[1] :]
    return out.numel(), lm.tokenizer.batch_decode(out, skip_special_tokens=True)


def continuous(lm: LM, prompt: str, n: int, new: int, seed: int) -> Written:
    """transformers' continuous batching; its cache has room for all texts, which is less than it takes by default."""
    sampled = {"do_sample": True, "top_k": 0, "num_return_sequences": n}
    ids, how = lm.encode(prompt), GenerationConfig(max_new_tokens=new, eos_token_id=NEVER, **sampled)
    room = ContinuousBatchingConfig(seed=seed)
    room.num_blocks = n * ((len(ids) + new) // room.page_size + 2)
    made = lm.model.generate_batch([ids], generation_config=how, continuous_batching_config=room).values()
    if wrong := [one.error for one in made if one.error]:
        raise RuntimeError(wrong[0])
    texts = [one.generated_tokens for one in made]
    return sum(map(len, texts)), lm.tokenizer.batch_decode(texts, skip_special_tokens=True)


def write_float32(lm: LM, folder: Path) -> Path:
    """A GGUF file of the weights that ``lm`` has: those of the packaged file, made float32 as they were for it."""
    import gguf

    read, path = gguf.GGUFReader(packaged.PACKAGED[lm.name].locate(folder)), folder / "float32.gguf"
    written = gguf.GGUFWriter(path, read.fields["general.architecture"].contents())
    for name, field in read.fields.items():
        if not name.startswith("GGUF.") and name not in ("general.architecture", "general.file_type"):
            written.add_key_value(name, field.contents(), field.types[0], field.types[-1])
    written.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in read.tensors:
        written.add_tensor(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
    written.write_header_to_file()
    written.write_kv_data_to_file()
    written.write_tensors_to_file()
    written.close()
    return path


def llama_server(lm: LM, folder: Path, args: argparse.Namespace):
    """llama.cpp in this process; keys and values are float32 too, and those of a prompt are held once for its texts."""
    import xllamacpp

    how = xllamacpp.CommonParams()
    how.model.path = str(write_float32(lm, folder))
    how.n_parallel, how.n_ctx, how.kv_unified = SAMPLES, args.page + SAMPLES * args.longest + 256, True
    how.cpuparams.n_threads = how.cpuparams_batch.n_threads = args.threads
    how.cache_type_k = how.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    how.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED  # quicker on a CPU
    how.cache_ram_mib, how.cache_idle_slots, how.fit_params, how.verbosity = 0, False, False, 0
    return xllamacpp.Server(how)


def asked(server, lm: LM, prompt: str, new: int, seed: int, **more) -> Written:
    """One request to llama.cpp's server; ``more`` says for how many texts, and how they are sampled."""
    ask = {"prompt": lm.encode(prompt), "cache_prompt": False, "n_predict": new, "seed": seed, **more}
    made = server.handle_completions(ask)["choices"]
    return new * sum(one["finish_reason"] == "length" for one in made), [one["text"] for one in made]


def same_texts(table: Table, title: str, mine: list[str], others: list[str]) -> None:
    same = sum(a == b for a, b in zip(mine, others, strict=True))
    table.add(f"greedy texts of {title}", {"equal": same, "of": len(mine)})
    assert same >= 0.75 * len(mine), f"{title} writes other texts"  # a tie within rounding may fall either way


def race(table: Table, title: str, runs: dict[str, Run], texts: int, new: int, rounds: int) -> dict[str, list[str]]:
    """Time all that run, in turns, and add a line for each but ours. Returns the texts of the last round."""
    taken, made = {}, {}
    for name, run in runs.items():
        try:
            run(2, 0)  # warm-up
            taken[name] = []
        except Exception as error:
            print(f"  {name} does not run: {first_line(error)}")
    for turn, name in turns(taken, rounds):
        seconds, (tokens, made[name]) = timed(partial(runs[name], new, turn + 1))
        assert tokens == texts * new, f"{name}: {tokens} tokens instead of {texts} times {new}"
        taken[name].append(seconds)
    for name in [name for name in taken if name != OURS]:
        table.add(f"{title}: {name}", ratio(taken[name], taken[OURS]))
    return made


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--page", type=int, default=512, help="tokens of the prompt, and in front of every question")
    parser.add_argument("--longest", type=int, default=64)
    args = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    lm, small = (load(name, device="cpu", dtype="float32") for name in (args.model, "study"))
    n, new, prompt = SAMPLES, args.longest, page(lm, args.page)
    questions = [f"{prompt}\nQ: {page(lm, 20, i + 1)}?\nA:" for i in range(8)]
    setting = f"{lm.name}, float32, {n} samples or {len(questions)} greedy answers of {new} tokens, {args.page} before"
    there = ["xllamacpp"] if find_spec("xllamacpp") else []
    table = Table("sampling", args, setting, there)
    greedy = {OURS: partial(ours, lm, questions, 0.0), "transformers, padded batch": partial(theirs, lm, questions)}
    runs = {
        OURS: partial(ours, lm, [prompt] * n, 1.0),
        "transformers, num_return_sequences": partial(theirs, lm, [prompt], do_sample=True, num_return_sequences=n),
        "transformers, prompt read once": partial(theirs, lm, [prompt] * n, do_sample=True, read_once=True),
        "transformers, continuous batching": partial(continuous, lm, prompt, n),
    }
    with tempfile.TemporaryDirectory() as folder:
        if there:
            server = llama_server(lm, Path(folder), args)
            texts = [asked(server, lm, one, new, 0, temperature=0.0)[1][0] for one in questions]
            same_texts(table, "llama.cpp", greedy[OURS](new, 0)[1], texts)
            how = {"n": n, "temperature": 1.0, "samplers": ["temperature"], "ignore_eos": True}
            runs["llama.cpp, one request"] = partial(asked, server, lm, prompt, **how)
        else:
            print("  llama.cpp does not run: xllamacpp is not installed")
        for one in (lm, small):
            one.model.generation_config.eos_token_id = [NEVER]
        race(table, f"{n} samples", runs, n, new, args.rounds)
    made = race(table, "greedy answers", greedy, len(questions), new, args.rounds)
    same_texts(table, "transformers", *made.values())
    short = page(small, 64)
    ways = {
        "samples": {count: (count, 64) for count in (1, 2, 4, 8, 16, 32, 64)},
        "tokens of each of 16 samples": {length: (16, length) for length in (16, 32, 64, 128, 256)},
    }
    for what, sizes in ways.items():
        by_size = {size: partial(ours, small, [short] * n, 1.0, new, 0) for size, (n, new) in sizes.items()}
        table.add(f"growth with {what}, {small.name}", growth(by_size, args.rounds))
    table.write()


if __name__ == "__main__":
    main()
