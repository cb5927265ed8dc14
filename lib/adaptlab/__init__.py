"""adaptlab: measure, on a laptop, what it buys to show a language model examples, or to train it on them.

    import adaptlab as al

gives the names below, each loaded when it is first used. Behind them stand seven rooms; each imports only from those
below it (`lib/README.md` lists their files):

    runner      execute notebooks, build the report, the command line
    studies     what a notebook cannot show in fifteen lines; one file a notebook
    evidence    grid -> tidy frame -> statistics -> claim, figure, widget
    methods     ways to adapt a model: prompting, tuning, self-instruction
    studymodel  the embedded model: its corpus, its pretraining
    engine      what a causal language model can do: load, score, generate, train
    tasks       what there is to learn: records and file formats
"""

import os

import lazy_loader

# Threads that wait for each other should soon sleep: on a shared machine (a laptop at work, Binder, CI) spinning makes
# two threads several times slower than one. A thousand turns bridge the gaps between small products: on two free cores
# they took a quarter off the time of training the study model, and between two jobs added a quarter, where 30,000 made
# it seven times as long. OpenMP reads this once, when torch is imported; what is set already stays.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "engine.models": ["load"],
        "engine.scoring": ["Request", "score"],
        "engine.generation": ["Decoding", "generate"],
        "engine.adapters": ["Full", "Lora"],
        "engine.training": ["TrainingConfig"],
        "tasks.export": ["save"],
        "tasks.reading": ["read"],
        "tasks.sets": ["load_open", "load_records", "load_seed", "load_task"],
        "methods.answering": ["Chooser", "Generator", "fitting", "in_context", "shown"],
        "methods.baselines": ["NaiveBayes", "WordForWord"],
        "methods.prompting": ["LABEL_MAPPINGS"],
        "methods.selection": ["select"],
        "methods.tuning": ["FinetuneConfig", "build_examples", "tune"],
        "evidence.evaluate": ["align_items", "evaluate", "evaluate_turns", "grid", "once"],
        "evidence.bets": ["settle"],
        "evidence.claims": ["Verdicts", "claim", "claims"],
        "evidence.ledger": ["predictions"],
        "evidence.stats": ["summary"],
        "evidence.figures": ["curve", "panels", "points", "seed_strip", "shares"],
        "evidence.explore": ["explore"],
        "evidence.record": ["cost", "provenance", "told", "with_alt_text"],
        "studies.exercises": ["check_exercise"],
        "studies.own_data": ["NOT_TESTED", "describe"],
        "evidence.token_shift": ["token_shift"],
    },
)
