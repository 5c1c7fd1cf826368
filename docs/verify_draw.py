# Draws a sale again and prints the winners: python verify_draw.py [seed hash noted before the draw] < draw.json
import json
import sys
from hashlib import sha256
from hmac import digest

draw, winners = json.load(sys.stdin), []
seed, lots, left = bytes.fromhex(draw["seed"]), draw["entries"], {one["id"]: one["stock"] for one in draw["offers"]}
every = sha256("".join(sorted(map("{id} {offer_id} {quantity} {weight}\n".format_map, lots))).encode()).hexdigest()
for lot in lots:
    lot["drawn"] = min(digest(seed, f"{every}{lot['id']}:{i}".encode(), "sha256") for i in range(lot["weight"]))
drawn = sorted(lots, key=lambda lot: (lot["offer_id"], lot["drawn"]))
for lot in drawn:
    if lot["quantity"] <= left[lot["offer_id"]]:
        left[lot["offer_id"]] -= lot["quantity"]
        winners.append(lot["id"])
found = [sha256(seed).hexdigest(), every, winners, sorted(lots, key=lambda lot: (lot["offer_id"], lot["rank"]))]
told = [[draw["seed_hash"], *sys.argv[1:]][-1], draw["entries_hash"], draw["winners"], drawn]
wrong = [name for name, one, other in zip(["seed", "entries", "winners", "order"], found, told) if one != other]
sys.exit(f"NOT AS PUBLISHED: {', '.join(wrong)}" if wrong else print(*winners, sep="\n"))
