"""Training adapters beside TRL's SFTTrainer: the same examples in the same steps, one run, one machine.

LoRA on every linear map, the same first weights, AdamW, a learning rate that falls in a line, products in bfloat16
where the processor has them. Every run is a process of its own, which takes one step before its time is taken. TRL
packs before it draws, so the steps of that row hold other examples, and its loss is not compared; its rows are made as
long as a batch, for as many steps (at its defaults, all of these examples would go into one).

Threads wait for each other as adaptlab has them wait, in all rows: asleep, unless OMP_WAIT_POLICY says otherwise.
The losses that are compared are means over the examples afterwards (float32, one program for all). Our useful work is
told as a share of the rate of a large product of matrices, in the number formats that the processor multiplies in.

    make bench        (or: .venv/bin/python tests/benchmarks/bench_training.py --examples 64 --rounds 1)
"""

import argparse
import contextlib
import io
import multiprocessing
import tempfile
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import datasets
import numpy as np
import torch
import transformers
import trl
from beside import Table, Taken, arguments, growth, mean, ratio, timed, turns

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
OURS = "adaptlab"
PACKED = {"gradient_checkpointing": False, "packing": True}
TRL = {
    "TRL as it comes": {},
    "TRL, no checkpointing": {"gradient_checkpointing": False},
    "TRL, padding-free": {"gradient_checkpointing": False, "padding_free": True, "max_length": None},
    "TRL, packed": PACKED,
}


@dataclass(frozen=True)
class Run:
    """What one training took; the mean loss it led to, in nats; and the order in which it met the examples, where we
    know it."""

    taken: Taken
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
            taken, _ = timed(run)
    met = tuple(map(examples.index, seen[: len(examples)]))
    return Run(taken, mean_loss(copy, examples), met)


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
    """In a process of its own: what one run leaves behind, the next does not find."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(quietly, args, how, plan, settings, order).result()


def product_rate(dtype: torch.dtype, size: int = 2048) -> float:
    """Floating-point operations a second in a product of two square matrices, the best of several."""
    one, other = (torch.randn(size, size).to(dtype) for _ in range(2))
    return 2 * size**3 / min(timed(lambda: one @ other)[0][0] for _ in range(8))


def operations(lm: LM, how: Lora, examples: Sequence[TrainingExample]) -> float:
    """Useful floating-point operations a token: forward, and backward through activations, for frozen weights; those
    of their own gradients as well for adapters; the head at trained tokens alone. Attention is left out."""
    model = prepare_for_training(lm, how, seed=0).model
    head = model.get_output_embeddings().weight.numel()
    adapters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in model.parameters()) - adapters - head
    trained = sum(example.weight for example in examples) / sum(map(len, examples))
    return 4 * frozen + 6 * adapters + 4 * head * trained


def beside_trl(args: argparse.Namespace, lm: LM, examples: Sequence[TrainingExample], table: Table) -> None:
    how, tokens, order = Lora(rank=8, alpha=16), sum(map(len, examples)), ()
    ways, runs = {OURS: None} | TRL, {name: [] for name in (OURS, *TRL)}
    for _, name in turns(ways, args.rounds):
        runs[name].append(alone(args, how, PLAN, ways[name], order if name in TRL else ()))
        order = runs[OURS][0].order  # ours is the first to run
    taken = {name: [run.taken for run in some] for name, some in runs.items()}
    losses = {name: np.mean([run.loss for run in some]) for name, some in runs.items()}
    for name in TRL:
        table.add(name, ratio(taken[name], taken[OURS]) | {"loss": round(float(losses[name] / losses[OURS]), 4)})
    work = operations(lm, how, examples) * tokens / np.transpose(taken[OURS])[0]
    for dtype in (torch.bfloat16, torch.float32)[not has_bf16(CPU) :]:
        share = mean(work / product_rate(dtype))
        table.add(
            f"useful work, share of the rate of a product in {str(dtype).removeprefix('torch.')}", {"share": share}
        )
    for name, loss in losses.items():
        assert TRL.get(name) == PACKED or abs(loss / losses[OURS] - 1) < 0.01, f"{name} learned something else"


def growing(table: Table, rounds: int) -> None:
    """With examples: of a small model."""
    lm = load("study", device="cpu", dtype="float32")
    runs = {}
    for n in (32, 64, 128):
        copy, some = prepare_for_training(lm, Lora(rank=8, alpha=16), seed=0), examples_of(lm, n)
        runs[n] = partial(train, copy.model, some, PLAN)
    table.add(f"growth with examples, {lm.name}", growth(runs, rounds))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--examples", type=int, default=128)
    args = parser.parse_args()
    lm = load(args.model, device="cpu", dtype="float32")
    examples = examples_of(lm, args.examples)
    length, trained = (sum(map(f, examples)) / len(examples) for f in (len, lambda example: example.weight))
    what = f"{len(examples)} examples of {length:.1f} tokens, {trained:.1f} of them trained, {PLAN.batch} a step"
    number = "bfloat16" if has_bf16(CPU) else "float32"
    table = Table("training", args, f"{lm.name}, LoRA of rank 8, one epoch in {number}, {what}", ["trl"])
    beside_trl(args, lm, examples, table)
    growing(table, args.rounds)
    table.write()


if __name__ == "__main__":
    main()
