"""The contracts' rules executed again: a mined transaction, and what it must have left on the trail."""

from collections.abc import Sequence
from itertools import pairwise, zip_longest

from governance.rules.abi import TOPICS, decode_call
from governance.rules.accesses import AccessRules
from governance.rules.consents import ConsentRules
from governance.rules.encoding import Finding, Malformed, need, sha256, words
from governance.rules.ledger_data import Block, Log, Transaction
from governance.rules.permits import PermitRules
from governance.rules.signatures import Crypto
from governance.rules.state import Event


class ReplayedState(PermitRules, ConsentRules, AccessRules):
    """The state that the rules give, one transaction after the other; after a Finding it MUST NOT be used on."""

    def apply(
        self, block: Block, tx: Transaction, logs: Sequence[Log], crypto: Crypto | None = None
    ) -> None:
        """Execute one mined transaction; `logs` are all that it left at the four contracts. Raises Finding.
        With crypto every signature that leads to an access is checked; without it, the ledger's word is taken."""
        try:
            need(
                block.number == tx.block and self.place < (tx.block, tx.index),
                "it does not follow the one before",
            )
            need(self.time <= block.timestamp, "its time is before the time of the block before")
            need(all(x.index < y.index for x, y in pairwise(logs)), "its events are not in order")
            self.place, self.time = (tx.block, tx.index), block.timestamp
            self._tx, self._logs, self._crypto = tx, tuple(logs), crypto
            contract, function, arguments = decode_call(tx.input)
            address = self.identity.contracts[contract][0]
            need(tx.to == address, f"{function} was not sent to the {contract}")
            rule, m = getattr(self, f"_{function}"), arguments.get("m")
            kind, body, events = rule(m, arguments) if m else rule(arguments["items"])
            self.count, call, digest = self.count + 1, sha256(tx.input), sha256(body)
            place = (address, kind, tx.block, self.time)
            self.head = sha256(words(self.head, *place, call, digest))
            head: Event = ("Head", (self.count,), (self.head, kind, digest))
            trail = self.identity.contracts["Trail"][0]
            must = [(address, event) for event in events] + [(trail, head)]
            self._compare(
                [(name, who, [*map(words, at)], words(*rest)) for who, (name, at, rest) in must]
            )
        except Malformed as error:
            raise Finding(
                f"step {self.count}, block {tx.block}, transaction 0x{tx.hash.hex()}: {error}"
            ) from None

    def _compare(self, must: Sequence[tuple[str, bytes, Sequence[bytes], bytes]]) -> None:
        for i, (name, address, indexed, data) in enumerate(must, 1):
            need(len(self._logs) >= i, f"event {i} ({name}) is missing")
            log, law = self._logs[i - 1], (TOPICS[name], *indexed, data)
            ours = (log.address, log.tx, log.block, log.topics[:1]) == (
                address,
                self._tx.hash,
                self._tx.block,
                law[:1],
            )
            need(ours, f"event {i} ({name}) is another one, or not of this call")
            for want, said in zip_longest(law, (*log.topics, log.data), fillvalue=b""):
                need(
                    said == want,
                    f"event {i} ({name}) must say 0x{want.hex()} where it says 0x{said.hex()}",
                )
        need(len(self._logs) == len(must), f"event {len(must) + 1} should not be there")
