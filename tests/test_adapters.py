"""What learns is what was asked for, what was learned travels in PEFT's format, and what makes no sense is refused."""

import json
import socket
import warnings
from dataclasses import replace

import huggingface_hub
import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from adaptlab.engine import adapters
from adaptlab.engine.adapters import Adapted, Full, Lora, prepare_for_training
from adaptlab.engine.folders import ModelNotFound, digest
from adaptlab.engine.lm import LM
from adaptlab.engine.loss_mask import losses
from adaptlab.engine.models import load
from adaptlab.engine.seal import SEAL
from adaptlab.engine.training import TrainingConfig, train
from conftest import DAMAGE, tiny_lm
from test_training import apart, drawn, weights

ARCHITECTURES = ["llama", "qwen3", "gpt2", "gemma3-sliding"]
HOWS = [Full(), Full(layers=1), Lora(rank=2), Lora(rank=2, layers=1)]
PLAN = TrainingConfig(epochs=2, batch=4, lr=1e-2)
IDS = torch.tensor([[5, 6, 7, 8, 9]])

each = pytest.mark.parametrize("architecture", ARCHITECTURES)
each_how = pytest.mark.parametrize("how", HOWS, ids=str)


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model(IDS).logits


def taught(lm: LM, how, seed: int = 0) -> LM:
    copy = prepare_for_training(lm, how, seed)
    train(copy.model, drawn(8), PLAN)
    return copy


def is_to_learn(how, name: str) -> bool:
    """Whether a parameter of a model with three layers is one that learns."""
    in_top = ".layers.2." in name or ".h.2." in name
    return (in_top or not how.layers) and (isinstance(how, Full) or "lora_" in name)


@each
@each_how
def test_only_what_was_asked_for_learns_and_the_model_stays_as_it_is(architecture, how):
    lm = tiny_lm(architecture)
    before, said = weights(lm.model), logits(lm.model)
    copy = prepare_for_training(lm, how, seed=0)
    first = weights(copy.model)
    assert torch.equal(logits(copy.model), said)
    losses(copy.model, drawn(8)).sum().backward()
    wanted = {name for name in first if is_to_learn(how, name)}
    assert {name for name, p in copy.model.named_parameters() if p.grad is not None} == wanted
    copy.model.zero_grad()
    train(copy.model, drawn(8), PLAN)
    after = weights(copy.model)
    assert {name for name in first if not torch.equal(first[name], after[name])} == wanted
    assert not torch.allclose(logits(copy.model), said, atol=1e-3)
    assert torch.equal(logits(lm.model), said) and apart(before, weights(lm.model)) == 0
    assert all(parameter.requires_grad for parameter in lm.model.parameters())


@each
def test_adapters_share_frozen_weights_and_stand_beside_every_map_but_the_head(architecture):
    lm = tiny_lm(architecture)
    copy = prepare_for_training(lm, Lora(rank=2), seed=0)
    held = {p.data_ptr() for p in lm.model.parameters()}
    own = [p for p in copy.model.parameters() if p.data_ptr() not in held]
    assert all(p.requires_grad and 2 in p.shape for p in own)
    maps = [m for m in lm.model.base_model.modules() if hasattr(m, "weight") and m.weight.dim() == 2]
    maps = [m for m in maps if not isinstance(m, torch.nn.Embedding)]
    assert len(own) == 2 * len(maps) > 0
    full = {p.data_ptr() for p in prepare_for_training(lm, Full(), seed=0).model.parameters()}
    assert not full & held


def test_the_seed_draws_the_first_adapters_and_nothing_else():
    lm = tiny_lm("llama")
    state = torch.get_rng_state()
    one, again, other = (weights(prepare_for_training(lm, Lora(rank=2), seed).model) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("layers", [-1, 4])
@pytest.mark.parametrize("how", [Full, Lora])
def test_layers_that_are_not_there_are_refused(how, layers):
    with pytest.raises(ValueError, match=rf"layers must be 0 \(all\) to 3 for llama; found {layers}"):
        prepare_for_training(tiny_lm("llama"), how(layers=layers), seed=0)


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"alpha": 0}, {"rank": -1}])
def test_a_rank_or_scale_of_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="rank must be at least 1 and alpha above 0"):
        Lora(**wrong)


@pytest.fixture
def unplugged(monkeypatch):
    """No network, and no setting that says so: a list of the calls that were tried."""
    calls = []

    def refuse(*args, **_):
        calls.append(args)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    return calls


@pytest.fixture
def base(tmp_path):
    """A function that saves a tiny model in a folder, and loads it from there."""

    def saved(architecture: str) -> LM:
        lm = tiny_lm(architecture)
        for part in (lm.model, lm.tokenizer):
            part.save_pretrained(tmp_path / "base")
        return load(str(tmp_path / "base"), device="cpu")

    return saved


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT asks by an old name
@each
@pytest.mark.parametrize("how", HOWS[2:], ids=str)
def test_adapters_load_as_they_were_saved(tmp_path, base, unplugged, architecture, how):
    lm = base(architecture)
    copy = taught(lm, how)
    said = logits(copy.model)
    assert isinstance(copy, Adapted)
    adapters.save(copy, tmp_path / "kept" / "adapter", {"how": str(how)})
    assert not unplugged
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    by_peft = peft.PeftModel.from_pretrained(plain, tmp_path / "kept" / "adapter").eval()
    assert torch.allclose(logits(by_peft), said, atol=1e-6)
    loaded = load(str(tmp_path / "kept" / "adapter"), device="cpu")
    assert torch.allclose(logits(loaded.model), said, atol=1e-6)
    assert not torch.allclose(logits(lm.model), said, atol=1e-3)
    assert loaded.encode("the house") == lm.encode("the house")
    assert json.loads((tmp_path / "kept" / "adapter" / adapters.RECORD).read_text()) == {"how": str(how)}
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["adapter"], "nothing half-made is left"
    assert not unplugged


def test_adapters_keep_the_name_of_their_model_and_no_hub_is_asked_about_it(tmp_path, unplugged):
    lm = replace(tiny_lm("llama"), name="someone/some-model")
    adapters.save(prepare_for_training(lm, Lora(rank=2), seed=0), tmp_path / "adapter", {})
    facts = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert facts["base_model_name_or_path"] == "someone/some-model" and not unplugged


@each
@pytest.mark.parametrize("how", HOWS[:2], ids=str)
def test_whole_models_load_as_they_were_saved(tmp_path, unplugged, architecture, how):
    copy = taught(tiny_lm(architecture), how)
    adapters.save(copy, tmp_path / "whole", {})
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "whole").eval()
    for model in (plain, load(str(tmp_path / "whole"), device="cpu").model):
        assert torch.allclose(logits(model), logits(copy.model), atol=1e-6)
    assert not unplugged


@each_how
def test_a_folder_that_is_there_is_refused_and_left_alone(tmp_path, how):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("dear diary")
    with pytest.raises(FileExistsError, match="mine exists; name a new folder"):
        adapters.save(prepare_for_training(tiny_lm("llama"), how, seed=0), tmp_path / "mine", {})
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "notes"]


def test_the_digest_follows_adapters_and_their_model(tmp_path, base):
    lm = base("llama")
    found = {lm.digest}
    for seed in (0, 1):
        adapters.save(taught(lm, Lora(rank=2), seed), tmp_path / str(seed), {})
        assert load(str(tmp_path / str(seed)), device="cpu").digest == digest(str(tmp_path / str(seed)))
        found.add(digest(str(tmp_path / str(seed))))
    with torch.no_grad():
        lm.model.model.norm.weight[0] += 1
    lm.model.save_pretrained(tmp_path / "base")
    assert len(found | {digest(str(tmp_path / "1"))}) == 4


def test_adapters_without_a_model_to_stand_beside_are_refused(tmp_path, base):
    adapters.save(taught(base("llama"), Lora(rank=2)), tmp_path / "one", {})
    (tmp_path / "one" / SEAL).unlink()
    config = tmp_path / "one" / "adapter_config.json"
    facts = json.loads(config.read_text())
    own, missing = "base_model_name_or_path must name a model", "model 'no-such-model' is neither"
    for named, message in ((None, own), ("", own), (str(tmp_path / "one"), own), ("no-such-model", missing)):
        config.write_text(json.dumps(facts | {"base_model_name_or_path": named}))
        for ask in (load, digest):
            with pytest.raises(ModelNotFound, match=message):
                ask(str(tmp_path / "one"))


@pytest.mark.parametrize("how", [Full(), Lora(rank=1)], ids=str)
def test_adapters_are_merged_before_anything_else_learns(tmp_path, how):
    adapted = prepare_for_training(tiny_lm("llama"), Lora(rank=2), seed=0)
    for name, parameter in adapted.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    again = prepare_for_training(adapted, how, seed=0)
    assert again.name == adapted.name and again.digest != adapted.digest
    assert torch.allclose(logits(again.model), logits(adapted.model), atol=1e-4)
    if isinstance(how, Lora):
        with pytest.raises(ValueError, match="belong to a changed llama"):
            adapters.save(again, tmp_path / "whole", {})
        return
    assert not [name for name, _ in again.model.named_parameters() if "lora" in name]
    adapters.save(again, tmp_path / "whole", {})
    assert torch.allclose(logits(load(str(tmp_path / "whole"), device="cpu").model), logits(again.model), atol=1e-5)


def test_weights_that_learn_are_float32():
    lm = tiny_lm("llama")
    half = replace(lm, model=lm.model.to(torch.bfloat16))
    assert prepare_for_training(half, Full(), seed=0).dtype == torch.float32
    assert half.dtype == torch.bfloat16


def test_adapters_that_are_no_safetensors_are_refused(tmp_path, base):
    folder = tmp_path / "adapter"
    adapters.save(prepare_for_training(base("llama"), Lora(rank=2), seed=0), folder, {})
    (folder / SEAL).unlink()
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(ModelNotFound, match="safetensors or not at all"):
        load(str(folder), device="cpu")


KEY = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"
HARMS = {
    "no tensors": (lambda t: {}, "lacks weights"),
    "a missing tensor": (lambda t: {k: v for k, v in t.items() if k != KEY}, f"lacks weights: {KEY};"),
    "foreign names": (lambda t: {f"model.{k}": v for k, v in t.items()}, "lacks weights"),
    "a foreign tensor": (
        lambda t: t | {"other.lora_A.weight": torch.ones(2, 2)},
        "does not know: other.lora_A.weight;",
    ),
    "not a number": (lambda t: t | {KEY: t[KEY] * torch.nan}, f"NaN or infinite: {KEY};"),
    "another shape": (lambda t: t | {KEY: torch.ones(3, 3)}, "could not be loaded"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_adapters_that_do_not_fit_are_refused(tmp_path, base, harm):
    adapters.save(taught(base("llama"), Lora(rank=2)), tmp_path / "one", {})
    (tmp_path / "one" / SEAL).unlink()
    change, message = HARMS[harm]
    weights = tmp_path / "one" / "adapter_model.safetensors"
    save_file(change(load_file(weights)), weights)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with pytest.raises(ModelNotFound, match=f"{tmp_path / 'one'} .*{message}"):
            load(str(tmp_path / "one"), device="cpu")


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("how", [Full(), Lora(rank=2)], ids=str)
def test_damage_to_what_was_saved_is_noticed(tmp_path, base, how, damage):
    adapters.save(taught(base("llama"), how), tmp_path / "one", {})
    (weights,) = (tmp_path / "one").glob("*.safetensors")
    weights.write_bytes(DAMAGE[damage](weights.read_bytes()))
    with pytest.raises(ModelNotFound, match=f"{weights} is damaged|the files in {weights.parent} are not those"):
        load(str(tmp_path / "one"), device="cpu")
