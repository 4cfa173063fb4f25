"""Replays mined transactions: executes the contracts' rules and compares the events that each call
must leave.
"""

from collections.abc import Sequence
from itertools import pairwise, zip_longest

from governance.rules.abi import TOPICS, decode_call
from governance.rules.accesses import AccessRules
from governance.rules.care import CareRules
from governance.rules.consents import ConsentRules
from governance.rules.encoding import Finding, Malformed, need, sha256, words
from governance.rules.ledger_data import Block, Log, Transaction
from governance.rules.permits import PermitRules
from governance.rules.signatures import Crypto
from governance.rules.state import Event


class ReplayedState(PermitRules, ConsentRules, AccessRules, CareRules):
    """The state that the rules give, transaction by transaction; after a Finding it MUST NOT be
    used any more.
    """

    def apply(
        self, block: Block, tx: Transaction, logs: Sequence[Log], crypto: Crypto | None = None
    ) -> None:
        """Execute one mined transaction; `logs` are all its logs of the five contracts. Raises
        Finding.

        With crypto every signature that leads to an access is checked; without it, the ledger's
        events are believed.
        """
        try:
            need(
                block.number == tx.block and self.position < (tx.block, tx.index),
                "it does not follow the one before",
            )
            need(self.time <= block.timestamp, "its time is before the time of the block before")
            need(all(x.index < y.index for x, y in pairwise(logs)), "its events are not in order")
            self.position, self.time = (tx.block, tx.index), block.timestamp
            self._tx, self._logs, self._crypto = tx, tuple(logs), crypto
            contract, function, arguments = decode_call(tx.input)
            address = self.identity.contracts[contract][0]
            need(tx.to == address, f"{function} was not sent to the {contract}")
            rule, m = getattr(self, f"_{function}"), arguments.get("m")
            kind, body, events = rule(m, arguments) if m else rule(arguments["items"])
            self.count, call, digest = self.count + 1, sha256(tx.input), sha256(body)
            self.head = sha256(words(self.head, address, kind, tx.block, self.time, call, digest))
            head: Event = ("Head", (self.count,), (self.head, kind, digest))
            trail = self.identity.contracts["Trail"][0]
            required = [(address, event) for event in events] + [(trail, head)]
            self._compare(
                [
                    (name, contract_address, [*map(words, indexed)], words(*plain))
                    for contract_address, (name, indexed, plain) in required
                ]
            )
        except Malformed as error:
            raise Finding(
                f"step {self.count}, block {tx.block}, transaction 0x{tx.hash.hex()}: {error}"
            ) from None

    def _compare(self, required: Sequence[tuple[str, bytes, Sequence[bytes], bytes]]) -> None:
        """Compare the transaction's logs with the events that the rules require. Raises Malformed."""
        for i, (name, address, indexed, data) in enumerate(required, 1):
            need(len(self._logs) >= i, f"event {i} ({name}) is missing")
            log, topic = self._logs[i - 1], TOPICS[name]
            source = (log.address, log.tx, log.block, log.topics[:1])
            same = source == (address, self._tx.hash, self._tx.block, (topic,))
            need(same, f"event {i} ({name}) is another one, or not of this call")
            wanted = (topic, *indexed, data)
            for want, actual in zip_longest(wanted, (*log.topics, log.data), fillvalue=b""):
                need(
                    actual == want,
                    f"event {i} ({name}) must say 0x{want.hex()} where it says 0x{actual.hex()}",
                )
        need(len(self._logs) == len(required), f"event {len(required) + 1} should not be there")
