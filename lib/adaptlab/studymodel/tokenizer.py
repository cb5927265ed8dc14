"""The study models' tokenizer: byte-level BPE of about a thousand entries, trained on their corpus.

Any text round-trips. Behind a space, every invented noun is two tokens: its syllables.
"""

import random
import re
from collections.abc import Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from adaptlab.studymodel import corpus
from adaptlab.tasks.words import FIRST, SECOND

SIZE = 1024
DOCUMENTS = 20_000
PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role == 'user' %}User: {{ message.content }}\n"
    "{% elif message.role == 'assistant' %}Assistant: {{ message.content }}\n\n"
    "{% else %}{{ message.content }}\n\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
_NOUN = re.compile(rf"\b({'|'.join(FIRST)})({'|'.join(SECOND)})\b")


def train(seed: int = 0) -> PreTrainedTokenizerFast:
    """Train the tokenizer; the same seed gives the same one."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(_texts(seed), trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, bpe.token_to_id(BOS))]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token=PAD, bos_token=BOS, eos_token=EOS)
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.padding_side = "left"
    return tokenizer


def _texts(seed: int) -> Iterator[str]:
    """Text of the first course, its nouns cut between their syllables: else frequent ones became tokens themselves."""
    rng = random.Random(f"tokenizer {seed}")
    for _ in range(DOCUMENTS):
        yield _NOUN.sub("\\1\0\\2", corpus.document(rng, rng.choice(corpus.FIRST_COURSE), 200).text)
