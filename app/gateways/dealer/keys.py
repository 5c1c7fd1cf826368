"""The Redis keys of one sale. They carry one hash tag, so a sale lives in one cluster slot."""


class Keys:
    """What is kept where: `terms`, `claims`, `purchases` and groups and offers are hashes, `units` and `seats`
    bitmaps, `pending` a sorted set by time, `former` (members who gave a purchase back, or hold a second one) a
    set, `lines` (ids of offers and groups that people wait for) a set, `loading`, `compared` (when it was
    compared with the rows, ms) and requests strings.

    Of the entrance of a flash sale: `line` (each member's number, in which of the sets below they are counted, and
    how far the line has moved) and `tickets`
    (each member's last one, and which request used which) are hashes, members from one device or address sets,
    proofs strings.
    """

    def __init__(self, sale_id: str) -> None:
        tag = f"{{sale:{sale_id}}}"
        self.terms = f"{tag}:terms"
        self.claims = f"{tag}:claims"
        self.pending = f"{tag}:pending"
        self.purchases = f"{tag}:purchases"
        self.former = f"{tag}:former"
        self.lines = f"{tag}:lines"
        self.loading = f"{tag}:loading"
        self.compared = f"{tag}:compared"
        self.line = f"{tag}:line"
        self.tickets = f"{tag}:tickets"
        self._tag = tag

    def offer(self, offer_id: str) -> str:
        return f"{self._tag}:offer:{offer_id}"

    def units(self, offer_id: str) -> str:
        return f"{self._tag}:offer:{offer_id}:units"

    def group(self, group_id: str) -> str:
        return f"{self._tag}:group:{group_id}"

    def seats(self, group_id: str) -> str:
        return f"{self._tag}:group:{group_id}:seats"

    def origin(self, kind: str, name: str) -> str:
        return f"{self._tag}:{kind}:{name}"

    def proof(self, nonce: str) -> str:
        return f"{self._tag}:proof:{nonce}"

    def request(self, request_key: str) -> str:
        return f"{self._tag}:request:{request_key}"
