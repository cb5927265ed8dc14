"""Every causal architecture is scored and continued exactly, or refused in one sentence.

Exactly: as one pass of the model over each whole text has it. A text is continued as transformers' own `generate` does
it, wherever that agrees with such passes.
"""

import pytest
import torch

import architectures
from adaptlab.engine import plain
from adaptlab.engine.folders import ModelNotFound
from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.models import load
from adaptlab.engine.scoring import Request, score

PROMPTS = ["the red house stands by the river and the blue house", "message: my order is late\ndesk:", "no"]
OPTIONS = (" yes", " no no", " the red river")
REFUSED = {"cpmant", "prophetnet", "xlnet"}  # they see later tokens
# Their `generate` counts positions otherwise than a pass over the text, or keeps what it has read wrongly.
OTHERWISE = {
    *("camembert", "data2vec-text", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
    *("moshi", "xlstm"),
}
FEW = "gemma2 mixtral olmo2 phi3 gpt_neox qwen3_next deepseek_v3 bloom roberta prophetnet".split()
KINDS = [pytest.param(one, marks=[] if one in FEW else pytest.mark.slow) for one in architectures.kinds()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_it_is_exact_or_refused(tmp_path, kind):
    try:
        architectures.write_folder(kind, tmp_path)
    except Exception as error:
        assert kind not in FEW
        pytest.skip(f"not to be made small: {error}"[:120])
    if kind in REFUSED:
        with pytest.raises(ModelNotFound, match=rf"^{tmp_path} holds a {kind} that sees later tokens; a causal model"):
            load(str(tmp_path), device="cpu")
        return
    lm = load(str(tmp_path), device="cpu")
    questions = [Request(f"{prompt}:", OPTIONS) for prompt in [*PROMPTS, "the river " * 12]]
    for question, row in zip(questions, score(lm, questions).options, strict=True):
        assert [one.logprob for one in row] == pytest.approx(naive(lm, question), abs=1e-4)
    texts = [one.tokens for one in generate(lm, PROMPTS, Decoding(max_new_tokens=10, stop=())).completions]
    assert texts == [greedy(lm, prompt, 10) for prompt in PROMPTS]
    assert (lm.batching == "not at all") == (kind in OTHERWISE)
    if kind not in OTHERWISE:
        assert texts == [theirs(lm, prompt, 10) for prompt in PROMPTS]


def naive(lm, question: Request) -> list[float]:
    """One pass for each option."""
    context, values = lm.encode(question.context), []
    for option in question.options:
        ids = lm.encode(question.context + option)
        assert ids[: len(context)] == context, "this reference needs a clean seam"
        with torch.inference_mode():
            logprobs = plain.logits(lm.model, ids).double().log_softmax(-1)
        values.append(sum(float(logprobs[i - 1, ids[i]]) for i in range(len(context), len(ids))))
    return values


def greedy(lm, prompt: str, n: int) -> tuple[int, ...]:
    """One pass for each token."""
    ids = lm.encode(prompt)
    start = len(ids)
    while len(ids) < start + n and not (len(ids) > start and ids[-1] in plain.ends(lm)):
        with torch.inference_mode():
            ids = [*ids, int(plain.logits(lm.model, ids)[-1].argmax())]
    return tuple(ids[start:])


def theirs(lm, prompt: str, n: int) -> tuple[int, ...]:
    ids, cache = torch.tensor([lm.encode(prompt)]), lm.model.config.model_type != "recurrent_gemma"
    made = lm.model.generate(ids, max_new_tokens=n, do_sample=False, use_cache=cache)
    return tuple(made[0, ids.shape[1] :].tolist())
