"""Written text: greedy is the argmax, a batch is like its rows alone, samples follow the model's probabilities."""

import re
from collections import Counter

import pytest
import torch
from scipy.stats import chisquare

from adaptlab.engine import kv_sharing, plain
from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.lm import pads_left
from adaptlab.engine.scoring import Request, score
from conftest import ARCHITECTURES, SIZE, UNSUPPORTED, tiny_lm
from test_scoring import naive

PROMPTS = ["the red house", "message: my order is late and the chain slips\ndesk:", "a"]


def naive_greedy(lm, prompt: str, n: int) -> str:
    ids = lm.encode(prompt)
    start = len(ids)
    with torch.inference_mode():
        for _ in range(n):
            ids.append(int(lm.model(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == lm.tokenizer.eos_token_id:
                return lm.tokenizer.decode(ids[start:-1])
    return lm.tokenizer.decode(ids[start:])


def test_greedy_is_the_argmax_of_every_step_and_padding_does_not_matter(any_lm):
    completions = generate(any_lm, PROMPTS, Decoding(max_new_tokens=8, stop=())).completions
    assert [w.text for w in completions] == [naive_greedy(any_lm, prompt, 8) for prompt in PROMPTS]
    assert [
        generate(any_lm, [prompt], Decoding(max_new_tokens=8, stop=())).completions[0] for prompt in PROMPTS
    ] == completions


def test_text_ends_before_a_stop_string_and_says_so(llama):
    (whole,) = generate(llama, PROMPTS[:1], Decoding(max_new_tokens=12, stop=())).completions
    cut = whole.text[len(whole.text) // 2 :][:2]
    (stopped,) = generate(llama, PROMPTS[:1], Decoding(max_new_tokens=12, stop=(cut,))).completions
    assert stopped.text == whole.text[: whole.text.index(cut)] and stopped.stopped
    assert (
        not generate(llama, PROMPTS[:1], Decoding(max_new_tokens=12, stop=("no such string",))).completions[0].stopped
    )


def test_samples_follow_the_probabilities_and_the_seed(llama):
    prompt, n = "the blue house", 2000
    with torch.inference_mode():
        p = llama.model(torch.tensor([llama.encode(prompt)])).logits[0, -1].softmax(-1)
    drawn = Counter(
        w.text
        for w in generate(
            llama, [prompt] * n, Decoding(temperature=1.0, max_new_tokens=1, stop=()), rows=500
        ).completions
    )
    expected = Counter()  # several tokens can read alike
    for token, share in enumerate(p.tolist()):
        expected[llama.tokenizer.decode([token], skip_special_tokens=True)] += share
    assert max(expected.values()) > 0.1
    for text, share in expected.most_common(5):
        assert drawn[text] / n == pytest.approx(share, abs=0.05)
    once, again = (
        generate(llama, PROMPTS, Decoding(temperature=1.0, max_new_tokens=6), seed=3).completions for _ in range(2)
    )
    assert once == again != generate(llama, PROMPTS, Decoding(temperature=1.0, max_new_tokens=6), seed=4).completions
    state = torch.random.get_rng_state()
    generate(llama, PROMPTS[:1], Decoding(temperature=1.0, max_new_tokens=2))
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_prompt_that_leaves_no_room_is_refused(llama):
    with pytest.raises(ValueError, match="do not fit into"):
        generate(llama, ["word " * llama.context_length], Decoding(max_new_tokens=8))


MANY = [
    "the red house " + end for end in ("stands", "by the river", "and the blue house by the road", "a b c d", "one")
]


WARM = Decoding(temperature=1.3, top_p=0.95, max_new_tokens=8, stop=("e",))


@pytest.mark.parametrize(
    "how",
    [
        Decoding(max_new_tokens=12, stop=()),
        Decoding(max_new_tokens=12, stop=("e", "\n")),
        Decoding(repetition_penalty=1.3, max_new_tokens=12, stop=()),
        Decoding(temperature=0.8, max_new_tokens=12, stop=("o",)),
        Decoding(temperature=1.2, top_p=0.9, repetition_penalty=1.15, max_new_tokens=12, stop=()),
    ],
    ids=str,
)
def test_shared_prompts_change_no_text(any_lm, how):
    """Greedy, penalised and sampled: beside transformers' `generate` on padded batches, with the same numbers drawn."""
    prompts = MANY * 4
    packed, padded = (generate(any_lm, prompts, how, seed=5, rows=7, plan=plan) for plan in ("trie", "plain"))
    assert packed.completions == padded.completions
    assert (packed.cost.decoded, packed.cost.per_option) == (padded.cost.decoded, padded.cost.per_option)
    assert packed.cost.prefilled + packed.cost.scored < padded.cost.scored


def test_a_prompt_with_many_continuations_is_computed_once(llama):
    prompt, how = MANY[2], Decoding(temperature=1.0, max_new_tokens=5, stop=())
    once = generate(llama, [prompt], how).cost
    many = generate(llama, [prompt] * 100, how).cost
    assert many.prefilled == once.prefilled and once.scored == many.scored == 1


def test_a_prefix_is_taken_over(llama):
    how = Decoding(max_new_tokens=6, stop=())
    first = generate(llama, MANY, how)
    longer = [f"{MANY[0]} and {end}" for end in ("a", "b")]
    again = generate(llama, longer, how, prefix_cache=first.prefix_cache)
    assert again.cost.cached == len(first.prefix_cache) > 0
    assert again.completions == generate(llama, longer, how).completions


def test_rows_that_leave_change_nothing_for_those_that_stay(any_lm):
    """Rows of unequal lengths behind a prefix, more tokens than there was room for, and windows that slide."""
    rows = [any_lm.encode(text) for text in MANY]
    prefix = kv_sharing.extend(any_lm.model, kv_sharing.EMPTY, any_lm.encode(MANY[0]))
    kept, alone = (kv_sharing.Rows(any_lm.model, prefix, texts, room=2) for texts in (rows, rows[2:3]))
    assert torch.allclose(kept.logits[2], alone.logits[0], atol=1e-4)
    kept.grow([3, 4, 5, 6, 7])
    kept.keep([2])
    alone.grow([5])
    whole = [*prefix.ids, *rows[2], 5]
    for token in (8, 9, 10, 11, 12):
        kept.grow([token])
        alone.grow([token])
        whole.append(token)
        with torch.inference_mode():
            naive_logits = any_lm.model(torch.tensor([whole])).logits[0, -1]
        assert torch.allclose(kept.logits, alone.logits, atol=1e-4)
        assert torch.allclose(kept.logits[0], naive_logits, atol=1e-4)


@pytest.mark.parametrize("plan", ["trie", "plain"])
@pytest.mark.parametrize("how", [Decoding(max_new_tokens=12, stop=("e",)), WARM], ids=["greedy", "sampled"])
def test_log_probabilities_are_those_of_a_pass_over_the_text(any_lm, how, plan):
    """Of every token, the end and stop strings included; before temperature, top-p and penalty."""
    for prompt, made in zip(MANY, generate(any_lm, MANY, how, seed=2, plan=plan).completions, strict=True):
        ids = any_lm.encode(prompt)
        expected = plain.distributions(any_lm, [*ids, *made.tokens], len(ids))
        expected = expected.gather(-1, torch.tensor(made.tokens)[:, None])[:, 0]
        assert torch.allclose(torch.tensor(made.logprobs), expected, atol=1e-4)
        assert made.logprob == pytest.approx(float(expected.sum()), abs=1e-3)


def test_a_sample_depends_on_seed_prompt_and_its_number_alone(any_lm):
    prompts = MANY * 3
    whole = generate(any_lm, prompts, WARM, seed=7).completions
    assert len({one.text for one in whole}) > len(MANY)
    for rows in (1, 2, 7):
        assert generate(any_lm, prompts, WARM, seed=7, rows=rows).completions == whole
    backwards = generate(any_lm, MANY[::-1] * 2, WARM, seed=7).completions
    assert backwards == whole[4::-1] + whole[9:4:-1]
    assert generate(any_lm, [MANY[3]] * 2, WARM, seed=7).completions == whole[3:9:5]


def test_samples_have_the_probabilities_of_the_model(llama):
    """A chi-square test on whole texts of two tokens, which can be enumerated."""
    n, how, ids = 20_000, Decoding(temperature=0.25, max_new_tokens=2, stop=()), llama.encode("a")
    drawn = Counter(one.tokens for one in generate(llama, ["a"] * n, how, seed=1).completions)
    with torch.inference_mode():
        first = (plain.logits(llama.model, ids)[-1] / how.temperature).softmax(-1)
        expected = {}
        for token in first.topk(12).indices.tolist():
            second = (plain.logits(llama.model, [*ids, token])[-1] / how.temperature).softmax(-1)
            expected |= {(token, other): n * float(first[token] * p) for other, p in enumerate(second)}
    often = {text: count for text, count in expected.items() if count >= 10 and not {*text} & {*plain.ends(llama)}}
    observed = [drawn[text] for text in often]
    found = chisquare([*observed, n - sum(observed)], [*often.values(), n - sum(often.values())])
    assert len(often) > 20 and found.pvalue > 1e-4


@pytest.mark.parametrize(
    "field, value",
    [
        ("temperature", -1),
        ("top_p", 0),
        ("repetition_penalty", 0),
        ("max_new_tokens", 0),
        ("stop", ("",)),
        ("stop", ("\n", "")),
        ("stop", "ab"),
        ("stop", (3,)),
    ],
)
def test_impossible_decoding_is_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must be .*; found {re.escape(repr(value))}"):
        Decoding(**{field: value})


def test_a_penalty_does_not_see_the_padding():
    """Where padding is EOS, padded rows would be kept from ending."""
    lm, how = tiny_lm("llama"), Decoding(repetition_penalty=1.5, max_new_tokens=20, stop=())
    lm.tokenizer.pad_token = lm.tokenizer.eos_token
    together = generate(lm, [*PROMPTS, *MANY], how).completions
    assert together == [generate(lm, [prompt], how).completions[0] for prompt in [*PROMPTS, *MANY]]


SMALL = {k: v for k, v in SIZE.items() if k != "attn_implementation"}
MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 16}
LAYERS = {"layer_types": ["conv", "full_attention", "conv"]}
FAMILIES = {
    "lfm2": ("Lfm2Config", SMALL | LAYERS),
    "falcon-h1": ("FalconH1Config", SMALL | MAMBA | {"mamba_d_ssm": 64}),
    "bamba": ("BambaConfig", SMALL | MAMBA | {"attn_layer_indices": [1]}),
    "mamba2": (
        "Mamba2Config",
        {"hidden_size": 32, "state_size": 8, "num_hidden_layers": 2, "num_heads": 8, "head_dim": 8, "n_groups": 1},
    ),
    "falcon-mamba": ("FalconMambaConfig", {"hidden_size": 32, "state_size": 4, "num_hidden_layers": 2}),
    "recurrent-gemma": ("RecurrentGemmaConfig", SMALL | {"lru_width": 32, "head_dim": 8, "attention_window_size": 8}),
    "jamba": (
        "JambaConfig",
        SMALL | {"attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 4, "use_mamba_kernels": False},
    ),
    "rwkv": ("RwkvConfig", {"hidden_size": 32, "num_hidden_layers": 2, "context_length": 256}),
    "llama4-chunked": (
        "Llama4TextConfig",
        SMALL | {"head_dim": 8, "num_local_experts": 2, "intermediate_size_mlp": 48, "attention_chunk_size": 8},
    ),
    "bart-decoder": (
        "BartConfig",
        {"d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4, "max_position_embeddings": 256},
    ),
    "gpt-without-cache": ("OpenAIGPTConfig", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}),
    "olmo2": ("Olmo2Config", SMALL),
}
ONE_BY_ONE = {"mamba", "bloom-alibi", "llama-longrope", *FAMILIES} - {"olmo2"}


@pytest.mark.parametrize("family", [*UNSUPPORTED, *FAMILIES])
def test_every_family_writes_what_it_writes_alone(monkeypatch, family):
    """Against `generate` of transformers, prompt by prompt, and scores against one pass for each option."""
    if family in FAMILIES:
        monkeypatch.setitem(ARCHITECTURES, family, FAMILIES[family])
    lm, prompts = tiny_lm(family), [*PROMPTS, "message: my order is late\ndesk:", "no", "the red house"]
    assert pads_left(lm.model) == (family not in ONE_BY_ONE)
    expected = []
    for prompt in prompts:
        ids = torch.tensor([lm.encode(prompt)])
        out = lm.model.generate(ids, max_new_tokens=9, do_sample=False, use_cache=family != "recurrent-gemma")
        expected.append(tuple(out[0, ids.shape[1] :].tolist()))
    for order in (slice(None), slice(None, None, -1)):
        found = generate(lm, prompts[order], Decoding(max_new_tokens=9, stop=()))
        assert [one.tokens for one in found.completions] == expected[order] and found.plan == "plain"
    sampled = [generate(lm, prompts, Decoding(temperature=1.0, max_new_tokens=4), seed=3) for _ in range(2)]
    assert sampled[0].completions == sampled[1].completions
    questions = [Request(f"{prompt}:", (" yes", " no no")) for prompt in [*prompts, "the river " * 9]]
    scores = score(lm, questions)
    assert scores.plan == "plain"
    for question, row in zip(questions, scores.options, strict=True):
        assert [option.logprob for option in row] == pytest.approx(naive(lm, question), abs=1e-4)
