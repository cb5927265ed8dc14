"""adaptlab: measure, on a laptop, what it buys to show a language model examples, or to train it on them.

Six rooms, each importing only from those below it:

    runner      execute notebooks, build the report, the command line
    evidence    evaluate -> tidy frame -> statistics -> claim, figure, widget
    methods     ways to adapt a model: prompting, and later search, tuning, augmentation, sharpening
    studymodel  the embedded model: its corpus, its pretraining
    engine      what a causal language model can do: load, score, sample, train
    tasks       what there is to learn: records and file formats
"""

import os

# Threads that wait for each other should soon sleep: on a shared machine (a laptop at work, Binder, CI) spinning makes
# two threads several times slower than one. A thousand turns bridge the gaps between small products: on two free cores
# they took a quarter off the time of training the study model, and between two jobs added a quarter, where 30,000 made
# it seven times as long. OpenMP reads this once, when torch is imported; what is set already stays.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
