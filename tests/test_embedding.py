"""A text's vector is the mean of its own hidden states, whatever it is batched with."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, processors

from adaptlab.engine.embedding import embed
from conftest import UNSUPPORTED, tiny_lm

# From one token to many more than a sliding window holds.
TEXTS = [
    "river",
    "the red house stands by the river and the blue house by the road, and so on and on",
    "no",
    "message: my order is late\ndesk: delivery",
    "ein grünes Haus – 家",
    "the blue house",
]
sentences = st.lists(st.sampled_from("the red house river order late yes no".split()), min_size=1, max_size=12)


def states(lm, text: str, layer: int) -> np.ndarray:
    """Hidden states [tokens, hidden size] of one text alone: no padding, no mask."""
    with torch.inference_mode():
        output = lm.model(torch.tensor([lm.encode(text)]), output_hidden_states=True, use_cache=False)
    return output.hidden_states[layer][0].double().numpy()


def naive(lm, texts: list[str], layer: int, front: int = 0) -> np.ndarray:
    means = np.array([states(lm, text, layer)[front:].mean(0) for text in texts])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


@pytest.mark.parametrize("rows", [1, 3, 32])
@pytest.mark.parametrize("layer", [0, 2, 3])
def test_batches_change_nothing(any_lm, rows, layer):
    found = embed(any_lm, TEXTS, layer=layer, rows=rows)
    assert found.dtype == np.float32 and found.shape == (len(TEXTS), 32)
    np.testing.assert_allclose(found, naive(any_lm, TEXTS, layer), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("architecture", sorted(UNSUPPORTED))
def test_other_architectures_are_embedded_as_well(architecture):
    """One of them has rotary embeddings that depend on the length of the row, and cannot be padded."""
    lm = tiny_lm(architecture)
    np.testing.assert_allclose(embed(lm, TEXTS, layer=2), naive(lm, TEXTS, 2), atol=1e-5)


@settings(max_examples=20)
@given(words=st.lists(sentences, min_size=1, max_size=12), rows=st.integers(1, 8), order=st.randoms())
def test_neither_order_nor_company_matters(llama, words, rows, order):
    texts = [" ".join(row) for row in words]
    places = list(range(len(texts)))
    order.shuffle(places)
    found = embed(llama, texts)
    np.testing.assert_allclose(embed(llama, [texts[i] for i in places], rows=rows), found[places], atol=1e-5)


def test_a_text_that_occurs_twice_has_the_very_same_vector(llama):
    found = embed(llama, [*TEXTS, *TEXTS[::-1]], rows=4)
    assert np.array_equal(found[: len(TEXTS)], found[: len(TEXTS) - 1 : -1])


def test_layers_count_the_blocks_that_were_passed(llama):
    text = TEXTS[1]
    ids = torch.tensor([llama.encode(text)])
    with torch.inference_mode():  # of all blocks, the last state stands behind the final norm
        seen = {0: llama.model.get_input_embeddings()(ids), 3: llama.model.model(ids).last_hidden_state}
    for layer, state in seen.items():
        mean = state[0].mean(0)
        np.testing.assert_allclose(embed(llama, [text], layer=layer)[0], (mean / mean.norm()).numpy(), atol=1e-5)
    assert np.array_equal(embed(llama, [text]), embed(llama, [text], layer=2)), "half of 3 blocks, rounded up"
    assert not np.allclose(embed(llama, [text], layer=1), embed(llama, [text], layer=2), atol=1e-2)


def with_bos(lm):
    tokenizer = tiny_lm("llama").tokenizer
    tokenizer.add_special_tokens({"bos_token": "<eos>"})
    tokenizer._tokenizer.post_processor = processors.TemplateProcessing(
        single="<eos> $A", special_tokens=[("<eos>", tokenizer.eos_token_id)]
    )
    return replace(lm, tokenizer=tokenizer)


def test_bos_is_read_but_not_averaged(llama):
    lm = with_bos(llama)
    assert lm.encode("no") == [lm.tokenizer.bos_token_id, *llama.encode("no")]
    np.testing.assert_allclose(embed(lm, TEXTS, rows=3), naive(lm, TEXTS, 2, front=1), atol=1e-5)
    assert not np.allclose(embed(lm, TEXTS), naive(lm, TEXTS, 2, front=0), atol=1e-2)
    assert not np.allclose(embed(lm, TEXTS), naive(llama, TEXTS, 2), atol=1e-2), "the text sees it"


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ([], {}, "at least one text"),
        ("river", {}, "sequence of at least one text, not 'river'"),
        (["river", " \n"], {}, r"texts\[1\] is blank"),
        (["no", "river " * 300], {}, r"texts\[1\] takes \d+ tokens; llama has room for 256"),
        (["no"], {"layer": 4}, "layer must be 0 to 3 for llama, not 4"),
        (["no"], {"layer": -1}, "layer must be 0 to 3"),
        (["no"], {"rows": 0}, "rows must be at least 1"),
    ],
)
def test_what_cannot_be_embedded_is_refused(llama, texts, options, message):
    with pytest.raises(ValueError, match=message):
        embed(llama, texts, **options)


def test_a_text_without_tokens_is_refused(llama):
    lm = with_bos(llama)
    lm.tokenizer._tokenizer.normalizer = normalizers.Replace("no", "")
    with pytest.raises(ValueError, match=r"makes no token of texts\[1\]: 'no'"):
        embed(lm, ["river", "no"])


def test_a_text_that_just_fits_is_embedded(llama):
    text = "river " * 300
    ids = llama.encode(text)[:256]
    text = llama.tokenizer.decode(ids)
    assert len(llama.encode(text)) == llama.context_length
    assert np.isfinite(embed(llama, [text, "no"])).all()
