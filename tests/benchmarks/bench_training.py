"""Training adapters beside TRL's SFTTrainer: the same examples in the same steps, one run, one machine.

LoRA on every linear map, the same first weights, AdamW, a learning rate that falls in a line, products in bfloat16
where the processor has them. Every row is a process of its own, which takes one step before its time is taken. TRL
packs before it draws, so the steps of that row hold other examples, and its loss is not compared; its rows are made as
long as a batch, for as many steps (at its defaults, all of these examples would go into one). A second table has
adapters on the top third of the layers, what lies below them computed in every epoch, or once.

Threads wait for each other as adaptlab has them wait, in all rows: asleep, unless OMP_WAIT_POLICY says otherwise.
Prints seconds, by the clock and of the processor (which say more where others are at work), tokens a second without
padding, the mean loss of the examples afterwards (float32, one program for all), and what share of the rate of a large
product of matrices the useful work amounts to.

    make bench        (or: .venv/bin/python tests/benchmarks/bench_training.py --examples 64)
"""

import argparse
import contextlib
import io
import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import datasets
import torch
import transformers
import trl

from adaptlab.engine import loss_mask
from adaptlab.engine.adapters import Adapted, Lora, prepare_for_training
from adaptlab.engine.lm import LM
from adaptlab.engine.loss_mask import TrainingExample
from adaptlab.engine.machine import has_bf16
from adaptlab.engine.models import load
from adaptlab.engine.training import TrainingConfig, train
from adaptlab.methods.tuning import build_examples
from adaptlab.tasks.sets import load_open

CPU = torch.device("cpu")
PLAN = TrainingConfig(epochs=1, batch=16, lr=1e-3, warm_up=0, bf16=True)
PACKED = {"gradient_checkpointing": False, "packing": True}
TRL = {
    "TRL as it comes": {},
    "TRL, no checkpointing": {"gradient_checkpointing": False},
    "TRL, padding-free": {"gradient_checkpointing": False, "padding_free": True, "max_length": None},
    "TRL, packed": PACKED,
}


@dataclass(frozen=True)
class Run:
    """What one training took: seconds by the clock and of the processor; the mean loss it led to, in nats; and the
    order in which it met the examples, where we know it."""

    seconds: float
    processor: float
    loss: float
    order: tuple[int, ...]


def examples_of(lm: LM, n: int) -> list[TrainingExample]:
    """Requests to do something with a list; answers and end tokens are trained."""
    return build_examples(lm, load_open("requests", "english", pool=n, test=1).pool)


def ours(
    copy: Adapted, examples: Sequence[TrainingExample], plan: TrainingConfig
) -> tuple[Callable, list[TrainingExample]]:
    """A run to be timed, and a list in which it notes what it meets."""
    seen: list[TrainingExample] = []

    def loss(model, part):
        seen.extend(part)
        return loss_mask.losses(model, part)

    return (lambda: train(copy.model, examples, plan, loss=loss)), seen


def theirs(
    copy: Adapted, examples: Sequence[TrainingExample], plan: TrainingConfig, settings: dict, folder: str
) -> Callable:
    """A run of TRL; it meets the examples in the order given, unless it packs them."""
    packed = {"max_length": plan.batch * sum(map(len, examples)) // len(examples), "per_device_train_batch_size": 1}
    config = {
        "output_dir": folder,
        "num_train_epochs": plan.epochs,
        "per_device_train_batch_size": plan.batch,
        "train_sampling_strategy": "random" if settings == PACKED else "sequential",
        "learning_rate": plan.lr,
        "lr_scheduler_type": plan.decay,
        "weight_decay": plan.weight_decay,
        "max_grad_norm": plan.clip,
        "bf16": has_bf16(CPU),
        "use_cpu": True,
        "report_to": [],
        "save_strategy": "no",
    }
    config |= (packed if settings == PACKED else {}) | settings
    labels = [[token if trained else -100 for token, trained in zip(e.ids, e.loss_mask, strict=True)] for e in examples]
    data = datasets.Dataset.from_dict({"input_ids": [list(e.ids) for e in examples], "labels": labels})
    return trl.SFTTrainer(
        copy.adapter, trl.SFTConfig(**config), train_dataset=data, processing_class=copy.tokenizer
    ).train


@torch.no_grad()
def mean_loss(copy: Adapted, examples: Sequence[TrainingExample]) -> float:
    """Over the trained tokens of all examples, in float32 and nats."""
    copy.model.eval()
    parts = [examples[i : i + 32] for i in range(0, len(examples), 32)]
    total = sum(loss_mask.losses(copy.model, part).sum().item() for part in parts)
    return total / sum(example.weight for example in examples)


def measured(
    args: argparse.Namespace, how: Lora, plan: TrainingConfig, settings: dict | None, order: Sequence[int]
) -> Run:
    """One training, in this process: ``settings`` of TRL, or ours without any."""
    torch.set_num_threads(args.threads)
    lm = load(args.model, device="cpu", dtype="float32")
    examples = examples_of(lm, args.examples)
    given = [examples[i] for i in order] or examples
    for some in (given[: plan.batch], given):
        copy, seen = prepare_for_training(lm, how, seed=0), []
        with tempfile.TemporaryDirectory() as folder:
            if settings is None:
                run, seen = ours(copy, some, plan)
            else:
                run = theirs(copy, some, plan, settings, folder)
            started, processor = time.perf_counter(), time.process_time()
            run()
            seconds, processor = time.perf_counter() - started, time.process_time() - processor
    met = tuple(map(examples.index, seen[: len(examples)]))
    return Run(seconds, processor, mean_loss(copy, examples), met)


def quietly(*given) -> Run:
    """`measured`, without what trainers print."""
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return measured(*given)


def alone(
    args: argparse.Namespace,
    how: Lora,
    plan: TrainingConfig,
    settings: dict | None = None,
    order: Sequence[int] = (),
) -> Run:
    """The fastest of several, each in a process of its own: what one leaves behind, the next does not find."""
    runs = []
    for _ in range(args.rounds):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            runs.append(pool.submit(quietly, args, how, plan, settings, order).result())
    return min(runs, key=lambda run: run.seconds)


def product_rate(dtype: torch.dtype, size: int = 2048) -> float:
    """Floating-point operations a second in a product of two square matrices, the best of several."""
    one, other = (torch.randn(size, size).to(dtype) for _ in range(2))
    times = []
    for _ in range(8):
        started = time.perf_counter()
        one @ other
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times)


def operations(lm: LM, how: Lora, examples: Sequence[TrainingExample]) -> float:
    """Useful floating-point operations a token: forward, and backward through activations, for frozen weights; those
    of their own gradients as well for adapters; the head at trained tokens alone. Attention is left out."""
    model = prepare_for_training(lm, how, seed=0).model
    head = model.get_output_embeddings().weight.numel()
    adapters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in model.parameters()) - adapters - head
    trained = sum(example.weight for example in examples) / sum(map(len, examples))
    return 4 * frozen + 6 * adapters + 4 * head * trained


def show(title: str, runs: dict[str, Run], tokens: int, last: Run) -> None:
    """A table; ratios are those to the ``last``."""
    print(f"\n{title}\n  {'':22}{'seconds':>9}{'ratio':>8}{'of CPU':>9}{'ratio':>8}{'tokens/s':>10}{'loss':>9}")
    for name, run in runs.items():
        clock = f"{run.seconds:9.1f}{run.seconds / last.seconds:7.2f}x"
        processor = f"{run.processor:9.1f}{run.processor / last.processor:7.2f}x"
        print(f"  {name:22}{clock}{processor}{tokens / run.seconds:10.0f}{run.loss:9.4f}")


def beside_trl(args: argparse.Namespace, lm: LM, examples: Sequence[TrainingExample]) -> None:
    how, tokens = Lora(rank=8, alpha=16), sum(map(len, examples))
    mine = alone(args, how, PLAN)
    runs = {name: alone(args, how, PLAN, settings, order=mine.order) for name, settings in TRL.items()}
    runs["adaptlab"] = mine
    show(f"{how}, 1 epoch, {PLAN.batch} examples a step", runs, tokens, mine)
    work = operations(lm, how, examples)
    print(f"  useful work: {work / 1e6:.0f} million operations a token; their rate, beside that of a product in")
    for dtype in (torch.bfloat16, torch.float32):
        rate = product_rate(dtype)
        shares = (f"{tokens / run.seconds * work / rate:.0%} {name}" for name, run in runs.items())
        print(f"  {str(dtype).removeprefix('torch.')} ({rate / 1e9:.0f} GFLOP/s):", *shares, sep="\n    ")
    for name, run in runs.items():
        assert TRL.get(name) == PACKED or abs(run.loss / mine.loss - 1) < 0.01, f"{name} learned something else"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--examples", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1, help="runs of every row, of which the fastest counts")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    lm = load(args.model, device="cpu", dtype="float32")
    examples = examples_of(lm, args.examples)
    mean, trained = (sum(map(f, examples)) / len(examples) for f in (len, lambda example: example.weight))
    print(f"{lm.name}, {'bf16' if has_bf16(CPU) else 'fp32'}, {args.threads} threads, TRL {trl.__version__}")
    print(f"{len(examples)} examples of {mean:.1f} tokens, the longest of {max(map(len, examples))};", end=" ")
    print(f"{trained:.1f} tokens of each are trained")
    beside_trl(args, lm, examples)


if __name__ == "__main__":
    main()
