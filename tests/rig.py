"""All components in one process for tests: real chain, bucket and broker; simulated people with
records.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from analytics.code import code_hash, params_schema_hash
from analytics.params import complete
from analytics.simulate.synthetic import simulate_people
from api.demo.stage import World
from api.operate.bootstrap import FOREVER
from api.worker.sandbox import ForkServer
from api.worker.supervisor import Worker
from chain.events import Receipt
from chain.ledger import Ledger
from governance.broker.custody import Broker
from governance.broker.endpoint import Server
from governance.objects.broker_client import BrokerClient
from governance.objects.bucket_emulator import BucketProcess
from governance.objects.envelope import Header, read_header
from governance.objects.ingest import Source, encrypt, store_leaves
from governance.objects.keys import new_pair
from governance.objects.leaves import Leaf, leaves_root
from governance.objects.vault import Bucket
from governance.readmodel.database import TableOutbox, open_database
from governance.readmodel.projection import Projection
from governance.rules.ledger_data import identity_id

PARAMS = complete(
    {
        "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
        "models": {"logistic": ["genes"]},
        "folds": 2,
        "repeats": 2,
        "permutations": 19,
        "bootstraps": 0,
    }
)
# One for all workers of a test session: loading the models' libraries takes seconds.
CHILDREN = ForkServer()


@dataclass
class Rig:
    """`subjects` are enrolled, willing, and have two records each."""

    folder: Path
    world: World
    bucket: Bucket
    bucket_log: Path
    endpoint: Server
    broker: Broker
    client: BrokerClient
    subjects: list[bytes] = field(default_factory=list)
    leaves: list[Leaf] = field(default_factory=list)
    database_at: Callable[[str], str] | None = None  # the address for a file's name, if it is none

    @classmethod
    def build(cls, folder: Path, chain_url: str, bucket: BucketProcess, people: int = 24) -> Rig:
        world = World.create(chain_url, role_delay=0)
        broker = Broker(
            folder / "broker", chain_url, dict(world.ledger.identity), lambda: int(time.time())
        )
        world.set_role(broker.address, "broker")
        endpoint = Server(0, broker)
        threading.Thread(
            target=endpoint.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        store = Bucket(f"b{secrets.token_hex(8)}", bucket.url)
        store.create()
        client = BrokerClient(
            f"http://127.0.0.1:{endpoint.server_address[1]}",
            world.ledger.domain,
            identity_id(world.ledger.identity),
        )
        rig = cls(folder, world, store, bucket.log, endpoint, broker, client)
        rig.subjects = world.enrol(people)
        rig.ingest(
            [
                Source(subject, category, payload)
                for subject, person in zip(
                    rig.subjects, simulate_people(people, seed=3), strict=True
                )
                for category, payload in (
                    (2, person.observations(subject.hex())),
                    (6, person.expression(subject.hex())),
                )
            ]
        )
        world.grant(rig.subjects)
        return rig

    def ingest(self, sources: list[Source], versions: dict[bytes, int] | None = None) -> list[Leaf]:
        leaves = encrypt(
            sources, self.world.dataset, self.client_identity, self.client, self.bucket, versions
        )
        ingest = secrets.token_bytes(32)
        root = leaves_root(ingest, self.world.dataset, leaves)
        store_leaves(self.bucket, root, leaves)
        self.world.register_records(ingest=ingest, leavesRoot=root, count=len(leaves))
        self.client.hand_over(ingest, [leaf.to_json() for leaf in leaves])
        self.leaves += leaves
        return leaves

    @property
    def client_identity(self) -> bytes:
        return identity_id(self.world.ledger.identity)

    def permit(self, **change: Any) -> bytes:
        return self.world.permit(
            **{"codeHash": code_hash(), "paramsSchemaHash": params_schema_hash()} | change
        )

    def request(
        self, permit: bytes | None = None, result_key: bytes | None = None, params: bytes = PARAMS
    ) -> bytes:
        nonce = secrets.randbits(256)
        message = {
            "permit": permit or self.permit(),
            "paramsHash": sha256(params).digest(),
            "resultKey": result_key or new_pair()[1],
            "nonce": nonce,
            "deadline": FOREVER,
        }
        self.world.relay(
            "AccessLedger",
            "requestRun",
            "RunRequest",
            message,
            params,
            self.world.by("noor", "RunRequest", message),
        )
        account = bytes.fromhex(self.world.people["noor"].address[2:]).rjust(32, b"\0")
        return sha256(account + nonce.to_bytes(32, "big")).digest()

    def authorise(self, run: bytes, worker_key: bytes, attempt: int = 1, **change: Any) -> Receipt:
        return self.world.authorise(
            run,
            self.subjects,
            workerKey=worker_key,
            attempt=attempt,
            **{"codeHash": code_hash()} | change,
        )

    def headers(self, leaves: list[Leaf] | None = None) -> list[Header]:
        return [
            read_header(self.bucket.get(f"o/{leaf.ciphertext.hex()}"))
            for leaf in leaves or self.leaves
        ]

    def database(self, name: str = "volens.db") -> str:
        return self.database_at(name) if self.database_at else f"sqlite:///{self.folder / name}"

    def projection(self, name: str = "volens.db") -> Projection:
        return Projection(open_database(self.database(name)), self.world.ledger, self.bucket)

    def worker(self, name: str = "volens.db", **change: Any) -> Worker:
        wallet = self.world.people["wanda"]
        engine = open_database(self.database(name))
        ledger = Ledger.connect(
            self.url, self.world.ledger.identity, wallet, TableOutbox(engine), resend=False
        )
        projection = Projection(engine, ledger, self.bucket)
        change = {"children": CHILDREN, "device": "cpu"} | change
        return Worker(wallet, ledger, engine, projection, self.bucket, self.client, **change)

    @property
    def url(self) -> str:
        return str(self.world.ledger.node.url)

    def journal(self) -> list[str]:
        return (self.folder / "broker" / "journal.jsonl").read_text().splitlines()

    def fetches(self) -> int:
        """Objects the bucket handed out, by its own request log (written just after each answer)."""
        time.sleep(0.2)
        return sum(
            "GET" in line and "alt=media" in line
            for line in self.bucket_log.read_text(errors="replace").splitlines()
        )

    def close(self) -> None:
        self.endpoint.shutdown()
        self.endpoint.server_close()
