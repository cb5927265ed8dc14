"""What a reader bet on the claims of a notebook, beside what came out."""

from collections.abc import Iterable, Mapping
from typing import Any

from adaptlab.evidence.record import Record, told
from adaptlab.evidence.words import HOLDS, NO_HEADROOM, OPPOSITE, UNRESOLVED

BETS = {outcome.removesuffix(" here"): outcome for outcome in (HOLDS, OPPOSITE, UNRESOLVED, NO_HEADROOM)}


def settle(bets: Mapping[str, str], *tables: Any) -> Record:
    """Compare bets with verdicts, in one sentence.

    ``bets``: for the id of a claim, *holds*, *opposite*, *not resolved* or *no headroom*. ``tables``: `Verdicts`, or
    lists of them; what else a notebook shows where it tests nothing is passed over.

    Raises ``ValueError`` for a bet on a claim that the notebook does not have, and for one that is no outcome.
    """
    found = {v.claim.id: v.outcome for table in tables if isinstance(table, Iterable) for v in table}
    if not found:
        return told(["no claim was tested in this run, so no bet is settled"])
    made = {id: BETS.get(bet.strip().lower().removesuffix(" here")) for id, bet in bets.items() if bet.strip()}
    for id, bet in made.items():
        if id not in found:
            raise ValueError(f"bets: no claim {id!r} was tested here; take one of {', '.join(found)}")
        if bet is None:
            raise ValueError(f"bets: {bets[id]!r} for {id} is no outcome; take one of {', '.join(BETS)}")
    if not made:
        return told([f"you made no bet on the {len(found)} claims; write yours into `bets` above, and run this again"])
    missed = [f"{id} did not (bet: {bet}; it came out: {found[id]})" for id, bet in made.items() if found[id] != bet]
    bet = f"of {len(made)} bet{'s' * (len(made) != 1)} on {len(found)} claims"
    return told(["; ".join([f"{bet}, {len(made) - len(missed)} came out as you bet", *missed])])
