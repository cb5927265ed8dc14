"""Texts to train on, from parts that are trained and parts that are only read."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from adaptlab.engine.models import LM
from adaptlab.engine.packing import Example


def lesson(lm: LM, parts: Sequence[tuple[str, bool]], ends: bool = True) -> Example:
    """A text in parts, (text, whether it is trained), tokenised as one, so that it is read as it will be written.

    ``ends`` appends the end token, trained with the last part: a model that never learned where to end runs on. The
    tokenizer's own BOS, where it puts one, is read only. Raises ValueError for a text that does not fit into the
    context, a tokenizer that names no end token, and a token that takes in a letter of either kind of part: behind the
    bare prompt, it would never be met.
    """
    texts = [text for text, _ in parts]
    whole = "".join(texts)
    encoding = lm.tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    bounds = list(accumulate(map(len, texts)))
    front = lm.encode("")
    ids, trained = list(front), [False] * len(front)
    for token, (start, end) in zip(encoding.input_ids, encoding.offset_mapping, strict=True):
        first, last = (min(bisect_right(bounds, place), len(parts) - 1) for place in (start, max(start, end - 1)))
        if parts[first][1] != parts[last][1] and whole[start : bounds[first]].strip():
            raise ValueError(f"the token {whole[start:end]!r} takes in a part that is trained and one that is not")
        ids.append(token)
        trained.append(parts[last][1])
    if ends:
        if lm.tokenizer.eos_token_id is None:
            raise ValueError(f"the tokenizer of {lm.name} names no end token")
        ids.append(lm.tokenizer.eos_token_id)
        trained.append(parts[-1][1])
    if len(ids) > lm.context_length:
        raise ValueError(f"a text of {len(ids)} tokens does not fit into the {lm.context_length} of {lm.name}")
    return Example(tuple(ids), (False, *trained[1:]))  # nothing stands before the first, to predict it from
