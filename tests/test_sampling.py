"""Written text: greedy is the argmax, a batch is like its rows alone, samples follow the model's probabilities."""

from collections import Counter

import pytest
import torch

from adaptlab.engine.sampling import generate

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
    written = generate(any_lm, PROMPTS, longest=8, stop=())
    assert [w.text for w in written] == [naive_greedy(any_lm, prompt, 8) for prompt in PROMPTS]
    assert [generate(any_lm, [prompt], longest=8, stop=())[0] for prompt in PROMPTS] == written


def test_text_ends_before_a_stop_string_and_says_so(llama):
    (whole,) = generate(llama, PROMPTS[:1], longest=12, stop=())
    cut = whole.text[len(whole.text) // 2 :][:2]
    (stopped,) = generate(llama, PROMPTS[:1], longest=12, stop=(cut,))
    assert stopped.text == whole.text[: whole.text.index(cut)] and stopped.stopped
    assert not generate(llama, PROMPTS[:1], longest=12, stop=("no such string",))[0].stopped


def test_samples_follow_the_probabilities_and_the_seed(llama):
    prompt, n = "the blue house", 2000
    with torch.inference_mode():
        p = llama.model(torch.tensor([llama.encode(prompt)])).logits[0, -1].softmax(-1)
    drawn = Counter(w.text for w in generate(llama, [prompt] * n, temperature=1.0, longest=1, stop=(), rows=500))
    expected = Counter()  # several tokens can read alike
    for token, share in enumerate(p.tolist()):
        expected[llama.tokenizer.decode([token], skip_special_tokens=True)] += share
    assert max(expected.values()) > 0.1
    for text, share in expected.most_common(5):
        assert drawn[text] / n == pytest.approx(share, abs=0.05)
    once, again = (generate(llama, PROMPTS, temperature=1.0, longest=6, seed=3) for _ in range(2))
    assert once == again != generate(llama, PROMPTS, temperature=1.0, longest=6, seed=4)
    state = torch.random.get_rng_state()
    generate(llama, PROMPTS[:1], temperature=1.0, longest=2)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_prompt_that_leaves_no_room_is_refused(llama):
    with pytest.raises(ValueError, match="do not fit into"):
        generate(llama, ["word " * llama.context_length], longest=8)
