"""Proofs of work: a client does a sum that costs it a moment before it may stand in line for a flash sale.

Challenges and solutions are those of ALTCHA. Whether a proof was used before, the dealer says.
"""

from datetime import timedelta
from secrets import randbelow

import altcha

from app.domain.errors import ProofInvalid
from app.schemas.admissions import ChallengePublic
from app.state import State

LIFE = timedelta(minutes=5)
"""How long a challenge may take."""
KEPT_SECONDS = 2 * int(LIFE.total_seconds())
"""How long a proof is remembered as used: longer than it is good, on any of our clocks."""
PURPOSE = "proof of work"


def make_challenge(state: State, member_id: str, sale_id: str, hardness: int) -> ChallengePublic:
    """A sum for one member and one sale: to find the number below `hardness` that gives this hash."""
    made = altcha.create_challenge(
        "SHA-256",
        1,
        counter=randbelow(hardness),
        expires_at=state.clock() + LIFE,
        data={"member": member_id, "sale": sale_id},
        hmac_secret=state.settings.key_for(PURPOSE),
    )
    return ChallengePublic.model_validate(made.to_dict())


def read_proof(state: State, proof: str, member_id: str, sale_id: str) -> str:
    """The nonce of a challenge of ours that a member has solved. Raises `ProofInvalid`."""
    if not altcha.verify_solution(proof, state.settings.key_for(PURPOSE)).verified:
        raise ProofInvalid
    asked = altcha.Payload.from_base64(proof).challenge.parameters
    if asked.data != {"member": member_id, "sale": sale_id}:
        raise ProofInvalid
    if (asked.expires_at or 0) <= state.clock().timestamp():
        raise ProofInvalid
    return asked.nonce
