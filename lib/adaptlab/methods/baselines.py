"""Learners without a language model, to stand on the same axes: what do the demonstrations alone give away?"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from adaptlab.engine.generation import Completion
from adaptlab.engine.kv_sharing import EMPTY, PrefixCache
from adaptlab.engine.scoring import Cost, OptionScore
from adaptlab.methods.answering import Generations, OptionScores
from adaptlab.tasks.records import Instruction, Labelled


def words(text: str) -> list[str]:
    """Lower-case words of a text."""
    return re.findall(r"[a-z']+", text.lower())


@dataclass(frozen=True)
class NaiveBayes:
    """Bag-of-words naive Bayes with add-one smoothing, trained on the demonstrations that a prompt would hold."""

    demonstrations: tuple[Labelled, ...]
    labels: tuple[str, ...]

    name = "naive Bayes"
    model = "bag of words"

    @property
    def shots(self) -> int:
        return len(self.demonstrations)

    def answer(self, items: Sequence[Labelled], prefix_cache: PrefixCache = EMPTY) -> OptionScores:
        """log p(class, words) up to a constant; no tokens are spent, so the cost is empty."""
        counts = {label: Counter() for label in self.labels}
        for demonstration in self.demonstrations:
            counts[demonstration.label].update(words(demonstration.text))
        vocabulary = len(set().union(*counts.values())) + 1
        priors = Counter(d.label for d in self.demonstrations)

        def logprob(label: str, text: str) -> float:
            total = sum(counts[label].values()) + vocabulary
            prior = (priors[label] + 1) / (self.shots + len(self.labels))
            return math.log(prior) + sum(math.log((counts[label][w] + 1) / total) for w in words(text))

        options = [{label: OptionScore(logprob(label, i.text), 1) for label in self.labels} for i in items]
        return OptionScores(options, Cost())


@dataclass(frozen=True)
class WordForWord:
    """A dictionary made from the demonstrations whose question and answer have as many words: the n-th word of one
    stands for the n-th of the other. It answers word for word, and not at all where it lacks a word."""

    demonstrations: tuple[Instruction, ...]

    name = "dictionary"
    model = "word for word"

    @property
    def shots(self) -> int:
        return len(self.demonstrations)

    def answer(self, items: Sequence[Instruction], prefix_cache: PrefixCache = EMPTY) -> Generations:
        """What the dictionary says; it has no probabilities, and no tokens are spent."""
        partner: dict[str, str] = {}
        for one in self.demonstrations:
            asked, said = one.query.split(), one.output.split()
            partner |= zip(asked, said, strict=True) if len(asked) == len(said) else ()
        texts = (" ".join(partner.get(word, "") for word in item.query.split()) for item in items)
        completions = [Completion(text, True, (0,)) for text in texts]
        return Generations(completions, [OptionScore(math.nan, 1)] * len(completions), Cost())
