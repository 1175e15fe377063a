"""Do several outputs have the same label, and more often than by chance?"""

from collections import Counter
from collections.abc import Sequence


def agreement(labels: Sequence[Sequence[str | None]]) -> tuple[int, int]:
    """(samples whose outputs all have the same label, samples); an output without a label agrees with nothing.

    labels: one list per output, each with one label per sample.
    """
    samples = list(zip(*labels, strict=True))
    return sum(sample[0] is not None and len(set(sample)) == 1 for sample in samples), len(samples)


def expected_agreement(labels: Sequence[Sequence[str | None]]) -> float:
    """Chance that outputs drawn independently of one another agree: the sum over labels of the product of their shares.

    labels: one list per output, not necessarily equally long. All combinations count, not only the few that happen to
    stand side by side, which makes the estimate steady. 0 without samples.
    """
    if not all(len(column) for column in labels):
        return 0.0
    counts = [Counter(label for label in column if label is not None) for column in labels]
    chance = 0.0
    for label in set.intersection(*(set(count) for count in counts)):
        product = 1.0
        for count, column in zip(counts, labels):
            product *= count[label] / len(column)
        chance += product
    return chance
