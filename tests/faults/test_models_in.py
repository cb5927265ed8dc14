"""Model folders as they come: quantised, damaged, with odd tokenizers, chat templates and adapters of their own."""

import json
import re
from types import SimpleNamespace

import peft
import pytest
import torch
from transformers import AutoTokenizer

from adaptlab.engine import models
from adaptlab.engine.folders import ModelNotFound
from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.loss_mask import tokenize_with_mask
from adaptlab.engine.models import load
from adaptlab.engine.scoring import Request, score
from adaptlab.methods.prompting import render
from adaptlab.tasks.records import Demonstration
from conftest import tiny_lm

PARTS = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json")


@pytest.fixture
def folder(tmp_path, llama):
    place = tmp_path / "tiny"
    llama.model.save_pretrained(place)
    llama.tokenizer.save_pretrained(place)
    return place


def configured(folder, **settings) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


METHODS = "gptq awq bitsandbytes fp8 mxfp4 compressed-tensors torchao hqq quanto eetq nonsense".split()


@pytest.mark.parametrize("method", METHODS)
def test_quantised_weights_are_refused_by_their_name(folder, method):
    configured(folder, quantization_config={"quant_method": method, "bits": 4})
    with pytest.raises(ModelNotFound, match=rf"^{folder} holds quantised weights \({method}\); take the model in full"):
        load(str(folder), device="cpu")


BROKEN = ["", "[", "[]", "3", "null", '{"model_type": 3}', '{"a":' * 100_000, "\x00", '{"vocab_size": ' + "9" * 5000]
SETTINGS = [
    {"num_attention_heads": 0},
    {"hidden_size": "x"},
    {"hidden_act": "nonsense"},
    {"eos_token_id": "x"},
    {"dtype": "nonsense"},
    {"rope_parameters": {"rope_type": "nonsense"}},
    {"return_dict": False},
    {"num_hidden_layers": -1},
    {"vocab_size": 5},
    {"model_type": "nonsense"},
]


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("part", PARTS[:3])
def test_a_broken_part_is_one_sentence_with_the_folder(folder, part, text):
    if (part, text) == ("tokenizer_config.json", BROKEN[5]):
        pytest.skip("an object with a key that nobody reads")
    (folder / part).write_text(text)
    with pytest.raises(ModelNotFound, match=rf"^[^\n]*{re.escape(str(folder))}[^\n]*$"):
        load(str(folder), device="cpu")


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_a_setting_that_makes_no_sense_is_one_sentence_with_the_folder(folder, setting):
    configured(folder, **setting)
    with pytest.raises(ModelNotFound, match=rf"^{folder} [^\n]*$"):
        load(str(folder), device="cpu")


@pytest.mark.parametrize(
    "name", ["someone/kernel", "someone/kernel:fn", "kernels-community/flash-attn", "flex_attention"]
)
@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "_attn_implementation_internal"])
def test_no_config_names_a_kernel(folder, monkeypatch, key, name):
    def refuse(*args, **kwargs):
        raise AssertionError("a kernel was asked for")

    monkeypatch.setattr("transformers.modeling_utils.load_and_register_attn_kernel", refuse, raising=False)
    monkeypatch.setattr("transformers.integrations.hub_kernels.get_kernel", refuse, raising=False)
    configured(folder, **{key: name, key.replace("attn", "experts"): name})
    assert load(str(folder), device="cpu").model.config._attn_implementation in ("sdpa", "eager")


@pytest.fixture
def larger(folder):
    """A tokenizer with tokens that the model has no weights for, as some have for pictures."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<picture>", "<sound>"], special_tokens=True)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    return load(str(folder), device="cpu")


USES = {
    "scoring": lambda lm: score(lm, [Request("the red <picture>", (" house",))]),
    "an option": lambda lm: score(lm, [Request("the red", (" house", "<sound>"))]),
    "many texts": lambda lm: lm.encode_all(["the", "red", "<picture>", "house"]),
    "generating": lambda lm: generate(lm, ["the <picture>"]),
    "tokens": lambda lm: generate(lm, [[5, 320]]),
    "training": lambda lm: tokenize_with_mask(lm, [("the <picture>", False), (" house", True)]),
}


@pytest.mark.parametrize("use", USES)
def test_a_token_that_the_model_lacks_is_named(larger, use):
    with pytest.raises(ValueError, match=r"the text holds '<(picture|sound)>', a token that \S+ has no weights for"):
        USES[use](larger)


def test_other_texts_are_none_the_worse(larger, llama):
    assert larger.tokenizer.pad_token_id < larger.vocabulary
    request = Request("the red", (" house", " river"))
    found, expected = (score(lm, [request], plan="plain").options[0] for lm in (larger, llama))
    assert [one.logprob for one in found] == pytest.approx([one.logprob for one in expected], abs=1e-4)


TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
TURNS += "{% if add_generation_prompt %}<assistant>{% endif %}"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + TURNS
SILENT = TURNS.replace("messages %}", "messages if m.role != 'system' %}", 1)
BLOCKS = TURNS.replace("{{ m.content }}", "{% generation %}{{ m.content }}{% endgeneration %}")
STRICT = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}"
)
STRICT += "{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
SHOWN = [Demonstration("a", "1"), Demonstration("b", "2")]
FOLDED = "<user>do\n\na<assistant>1<user>b<assistant>2<user>c<assistant>"
WHOLE = "<system>do<user>a<assistant>1<user>b<assistant>2<user>c<assistant>"


@pytest.mark.parametrize(
    ("template", "expected"),
    [(TURNS, WHOLE), (NO_SYSTEM, FOLDED), (SILENT, FOLDED), (BLOCKS, WHOLE), (STRICT, FOLDED)],
    ids=["all turns", "refuses a system turn", "drops it", "generation blocks", "turns must alternate"],
)
def test_a_chat_template_is_filled_in_as_it_allows(template, expected):
    tokenizer = tiny_lm("llama").tokenizer
    tokenizer.chat_template = template
    assert render("chat", "do", SHOWN, "c", tokenizer) == expected
    assert render("chat", "", SHOWN, "c", tokenizer) == expected.replace("<system>do", "").replace("do\n\n", "")
    shorter = render("chat", "do", SHOWN[:1], "c", tokenizer)
    assert expected.startswith(shorter.removesuffix("<user>c<assistant>"))


@pytest.mark.parametrize(
    "template", ["{{ raise_exception('no') }}", "{{ bad", "{% for %}", "{{ messages.x.y.z }}", "{{ 1/0 }}"]
)
def test_a_template_that_cannot_be_filled_in_is_a_sentence(template):
    tokenizer = tiny_lm("llama").tokenizer
    tokenizer.chat_template = template
    with pytest.raises(ValueError, match=r"the chat template of this tokenizer cannot be filled in: "):
        render("chat", "do", SHOWN, "c", tokenizer)


@pytest.fixture
def adapters(folder, tmp_path):
    """A folder of adapters for the tiny model, with a tokenizer and a template of its own, and a token more."""

    def make(*, grown: bool = False, tokenizer: bool = True):
        base, place = load(str(folder), device="cpu"), tmp_path / "adapters"
        base.tokenizer.chat_template = TURNS
        base.tokenizer.add_tokens(["<turn>"], special_tokens=True)
        base.tokenizer.eos_token = "<turn>"
        more = {"modules_to_save": ["embed_tokens", "lm_head"]} if grown else {}
        if grown:
            base.model.resize_token_embeddings(len(base.tokenizer), mean_resizing=False)
        torch.manual_seed(0)
        config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False, **more)
        made = peft.get_peft_model(base.model, config)
        made.peft_config["default"].base_model_name_or_path = str(folder)
        made.save_pretrained(place, save_embedding_layers=False)
        if tokenizer:
            base.tokenizer.save_pretrained(place)
        return place, made

    return make


def test_adapters_bring_their_tokenizer_template_and_end_token(adapters):
    place, made = adapters(grown=True)
    lm = load(str(place), device="cpu")
    assert lm.tokenizer.chat_template == TURNS and "<turn>" in lm.tokenizer.get_vocab()
    assert lm.model.generation_config.eos_token_id == [1, 320] and lm.vocabulary == 321
    ids = torch.tensor([[5, 6, 320, 7]])
    with torch.inference_mode():
        assert torch.allclose(lm.model(ids).logits, made(ids).logits, atol=1e-5)
    assert generate(lm, ["the <turn>"], Decoding(max_new_tokens=3, stop=())).completions


def test_adapters_without_a_tokenizer_take_their_models(adapters, folder):
    lm = load(str(adapters(tokenizer=False)[0]), device="cpu")
    assert lm.tokenizer.get_vocab() == load(str(folder), device="cpu").tokenizer.get_vocab()


def test_a_token_of_adapters_that_brought_no_weights_for_it_is_named(adapters):
    lm = load(str(adapters()[0]), device="cpu")
    with pytest.raises(ValueError, match="holds '<turn>', a token that"):
        lm.encode("the <turn>")


def test_a_lone_template_beside_adapters_is_theirs(adapters):
    place, _ = adapters(tokenizer=False)
    (place / "chat_template.jinja").write_text(NO_SYSTEM)
    assert load(str(place), device="cpu").tokenizer.chat_template == NO_SYSTEM


def test_a_broken_tokenizer_beside_adapters_is_named(adapters):
    place, _ = adapters()
    (place / "tokenizer.json").write_text("[")
    with pytest.raises(ModelNotFound, match=rf"the tokenizer in {place} could not be loaded: "):
        load(str(place), device="cpu")


def test_a_tokenizer_without_special_tokens_is_still_padded():
    bare = SimpleNamespace(eos_token="e", bos_token=None, unk_token=None, pad_token=None, added_tokens_decoder={})
    models._separate_pad(bare, 10)
    assert bare.pad_token == "e"
