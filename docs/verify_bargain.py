"""Draw every cut of a bargain again, from the seed that its hash has promised.

python verify_bargain.py < bargain.json, as GET /v1/bargains/{id} answers once nobody can cut any more.
"""

import json
import sys
from hashlib import sha256

bargain = json.load(sys.stdin)
seed, slots, cuts = bargain["seed"], bargain["slots"], [cut["amount"] for cut in bargain["cuts"]]
span = bargain["start_price"] - bargain["floor_price"]
hashes = [sha256(f"{seed}:{slot}".encode()).digest()[:8] for slot in range(1, slots + 1)]
shares = [500 + int.from_bytes(drawn, "big") % 1001 for drawn in hashes]
ends = [(span - slots) * sum(shares[:slot]) // sum(shares) for slot in range(slots + 1)]
drawn_cuts = [1 + ends[slot + 1] - ends[slot] for slot in range(slots)]
right = [
    sha256(seed.encode()).hexdigest() == bargain["seed_hash"],
    cuts == drawn_cuts[: len(cuts)],
    bargain["start_price"] - sum(cuts) == bargain["price"],
]
if not all(right):
    sys.exit(f"not as promised: hash, cuts and price are {right}")
sys.stdout.write("as promised\n")
