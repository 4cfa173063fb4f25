"""The four parts of the demo's story; each returns what it measured for the report."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analytics.canonical import dump_canonical
from analytics.code import code_hash, params_schema_hash
from analytics.readers.gse7390 import load_gse7390, locate_gse7390
from api.demo import attacks, tampers
from api.demo.cast import Cast
from api.demo.stage import World
from api.errors import Answered, RefusedByPolicy
from api.results import keep_pair, open_output, run_receipt, write_receipt
from governance import verify
from governance.consent import CATEGORIES, PURPOSES, bits
from governance.errors import BrokerRefused
from governance.ingest import Source, encrypt, leaves_root, store_leaves
from governance.keys import new_pair
from governance.vault import Bucket

if TYPE_CHECKING:
    from api.demo.story import Teller

SEED = 7390
REFUSING = 14
PARAMS = dump_canonical({
    "model": "logistic", "layers": ["genes", "clinical", "combined"],
    "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
    "folds": 5, "repeats": 10, "permutations": 99, "seed": SEED,
})
PAPER = {"genes": "85", "combined": "91"}  # the source paper's accuracies: genomic only, combined


def gate(cast: Cast, teller: Teller) -> dict[str, Any]:
    """From nothing to one governed access, and none when the ledger is away."""
    teller.tell(1, "Otto", "starts ledger, bucket, broker, api, worker", "4 contracts, code as pinned")
    people = load_gse7390(locate_gse7390())
    teller.tell(2, "Rita", f"enrols {len(people)} people, each with a key of their own", f"{cast.enrol(len(people))} Enrolled")
    sources = [
        Source(p.subject, category, payload)
        for p, person in zip(cast.patients, people, strict=True)
        for category, payload in ((2, person.observations(p.subject.hex())), (6, person.expression(p.subject.hex())))
    ]
    found = _ingest(cast, sources)
    teller.tell(3, "Omar", f"encrypts {len(sources)} records; the bucket holds ciphertext", f"{found} plaintext fragments found in it")
    permit, votes = _permit(cast)
    teller.tell(4, "Pia, Quinn", "approve Noor's request; Noor votes for herself", votes)
    run = request(cast, permit)
    refused = cast.await_run(run, lambda r: r["state"] == "denied")
    teller.tell(5, "Noor", "asks to train before anyone agreed", f"REFUSED {refused['reason']['slug']}    keys {_count(cast.keys())}")
    willing = cast.patients[:-REFUSING]
    taken, proof, offered = cast.agree(willing)
    cast.facts["receipt"] = _keep_receipt(cast, proof, offered)
    teller.tell(6, "Ada", f"and {len(willing) - 1} sign \"cancer research, not for profit, 2 years\"; {REFUSING} refuse", f"{taken} ConsentGranted")
    first = request(cast, permit)
    cast.facts |= {"permit": permit, "first": first}
    authorised = cast.await_run(first, lambda r: bool(r["attempts"]))["attempts"][0]
    teller.tell(7, "worker", "one transaction checks and logs everyone",
                f"{authorised['granted']} granted  {authorised['denied']} denied  block {authorised['block']}")
    cast.await_run(first, lambda r: r["state"] == "sealed")
    keys, logged = cast.keys()[f"{first}:1"], cast.logged()[f"{first}:1"]
    teller.tell(8, "broker", "releases keys against that receipt, and only it", f"keys for {len(keys)} people = {len(logged)} logged")
    teller.tell(9, "Otto", "stops the ledger and tries again", _without_ledger(cast, permit))
    return {"keys_first_run": len(keys)}


def change_of_mind(cast: Cast, teller: Teller) -> dict[str, Any]:
    """Ada withdraws while a run is training."""
    ada, noor = cast.client("ada"), cast.client("noor")
    second = request(cast, cast.facts["permit"])
    cast.facts["second"] = second
    cast.await_run(second, lambda r: any(step["step"].startswith(("evaluate", "permute")) for step in r["progress"]))
    began = time.monotonic()
    answer = ada.revoke(cast.dataset, 0)
    mined = time.monotonic()
    cast.await_run(second, lambda r: any(step["step"] == "stopped" for step in r["progress"]))
    stopped = time.monotonic() - mined
    teller.tell(10, "Ada", "withdraws while a second run is training",
                f"signed, mined in {mined - began:.1f} s, block {answer['receipt']['block']}")
    cast.await_run(second, lambda r: r["attempt"] == 2)
    hers = [access for access in ada.accesses() if access["run"] == second]
    denied = next(access for access in hers if access["attempt"] == 2)
    teller.note(f"training stopped {stopped:.1f} s after that block; restarted without her: {denied['reason']['slug']}")
    refusal = _release(cast, cast.facts["first"])
    noor.cancel(cast.facts["first"])
    after = answer["receipt"]["block"]
    late = [access for access in hers if access["granted"] and access["block"] > after]
    teller.tell(11, "Sol, Tess", "approve the first run's output, which she is in", f"REFUSED {refusal}")
    teller.note("what cannot be undone: nothing of hers had been released")
    return {
        "revocation": {"refusal_blocks": 1, "stop_seconds": f"{stopped:.2f}"},
        "after_revocation": {"accesses": len(late), "keys": _keys_after(cast, ada.subject or b"", after)},
    }


def science(cast: Cast, teller: Teller) -> dict[str, Any]:
    """What the run found, and its way out."""
    second = cast.facts["second"]
    cast.await_run(second, lambda r: r["state"] == "sealed" and r["attempt"] == 2)
    opened = None
    for name in ("sol", "tess"):
        opened = _look(cast, name, second)
    result = json.loads(opened.result) if opened else {}
    teller.tell(12, "worker", "distant metastasis within 5 years, 5-fold x 10; all inside the fold", f"nobody relapses: {result.get('baseline', '..')} %")
    _print_table(teller, result)
    released = [cast.client(name).approve(second) for name in ("sol", "tess")][-1]
    run = cast.client("noor").run(second)
    mine = open_output(cast.client("noor"), cast.broker(), run, _result_key(cast))
    receipt = run_receipt(cast.client("noor"), run, mine, cast.broker().witness())
    cast.facts["run_receipt"] = write_receipt(cast.home / "receipts" / "noor", receipt)
    teller.tell(13, "Sol, Tess", "check the output; released to Noor, hash on the ledger", f"block {released['receipt']['block']}")
    return {"models": [{"model": "logistic", **layer} for layer in result["layers"]], "gain": result.get("gain", {}),
            "baseline": result.get("baseline")}


def proof(cast: Cast, teller: Teller) -> dict[str, Any]:
    """Everybody checks for themselves."""
    used = sorted({a["run"] for a in cast.client("ada").accesses() if a["granted"]})
    states = [cast.client("noor").run(run)["state"] for run in used]
    teller.tell(14, "Ada", f"who used my data? {len(used)} runs by Noor; results with her in them: {states.count('released') - 1}",
                "cancer research, genes + clinical")
    bundle = cast.client("vera").trail()
    trail = cast.home / "trail.json"
    trail.write_text(json.dumps(bundle), encoding="utf-8")
    shutil.copy(verify.__file__, cast.home / "verify.py")
    done = subprocess.run([sys.executable, "-I", str(cast.home / "verify.py"), str(trail), "--receipt", str(cast.facts["receipt"]),
                           "--receipt", str(cast.facts["run_receipt"])], capture_output=True, text=True, check=False)
    verdict = done.stdout.strip().splitlines()[-1] if done.stdout else "no answer"
    replay = verify.Replay(bundle)
    explained = sum(len(attempt.granted) for attempt in replay.fold.attempts.values())
    recorded = _count(cast.logged())
    teller.tell(15, "Vera", f"verifies offline, without our database: {verdict}", f"{explained} of {recorded} accesses explained")
    held = bundle["head"]
    found = [(what, tampers.detected(tampers.tamper(bundle, what), held)[0]) for what in tampers.TABLE]
    noticed = sum(word == what.word for what, word in found)
    teller.tell(16, "Otto", "edits, drops, inserts, reorders, cuts, recomputes", f"{noticed} of {len(found)} found, first bad place named")
    world = World.create(cast.parts.urls["chain"])
    refused = [one.name for one in attacks.TABLE if attacks.outcome(lambda one=one: one.action(world, True)) == one.expected]
    teller.tell(17, "Mallory", f"tries {len(attacks.TABLE)} attacks", f"{len(refused)} of {len(attacks.TABLE)} refused, each for its own reason")
    surfaces, hits = _search(cast)
    keys, logged = cast.keys(), cast.logged()
    return {
        "verified": verdict, "accesses": {"recorded": recorded, "explained": explained},
        "tampers": {"tried": len(found), "detected": noticed, "names": [what.name for what, _ in found]},
        "attacks": {"tried": len(attacks.TABLE), "refused": len(refused), "names": refused},
        "keys": {"released": _count(keys), "logged": _count({name: logged.get(name, set()) for name in keys})},
        "ledger": {"events": sum(len(item["logs"]) for item in bundle["transactions"]), **held},
        "phi": {"canaries": len(cast.facts["canaries"]), "surfaces": surfaces, "hits": hits},
    }


# -- steps -----------------------------------------------------------------------------------------------------------


def _ingest(cast: Cast, sources: list[Source]) -> int:
    """Register, encrypt, make exist, hand over; how many plaintext fragments the bucket's files hold."""
    omar, broker = cast.client("omar"), cast.broker()
    bucket = Bucket("volens", cast.parts.urls["bucket"])
    omar.register_dataset(cast.dataset, sha256(b"GSE7390: published research data; consents invented").digest())
    leaves = encrypt(sources, cast.dataset, omar.identity_id, broker, bucket)
    ingest = secrets.token_bytes(32)
    root = leaves_root(ingest, cast.dataset, leaves)
    store_leaves(bucket, root, leaves)
    listed = [leaf.to_json() for leaf in leaves]
    omar.register_records(cast.dataset, ingest, root, listed)
    broker.hand_over(ingest, listed)
    chosen = sources[:: max(1, len(sources) // 40)]
    cast.facts["canaries"] = [_fragment(source) for source in chosen]
    return _hits(cast.home / "bucket", cast.facts["canaries"])


def _fragment(source: Source) -> bytes:
    """24 bytes out of the middle of a record, beside the subject's id, which is on the ledger anyway."""
    longest = max(source.payload.split(source.subject.hex().encode()), key=len)
    return longest[len(longest) // 2:][:24]


def _permit(cast: Cast) -> tuple[bytes, str]:
    noor, permit = cast.client("noor"), secrets.token_bytes(32)
    noor.request_permit({
        "permit": permit, "dataset": cast.dataset, "purposeNeed": bits(("cancer-research", "outside-recipient"), PURPOSES),
        "categories": bits(("observations", "expression"), CATEGORIES), "codeHash": code_hash(),
        "paramsSchemaHash": params_schema_hash(), "minCohort": 20, "outputClasses": 1 << 1,
        "expiry": int(time.time()) + 30 * 86_400, "documentHash": sha256(b"Relapse of breast cancer from genes").digest(),
    })
    try:
        noor.vote(permit.hex(), True)
        own = "ACCEPTED"
    except RefusedByPolicy as refusal:
        own = f"REFUSED {refusal.reason}"
    yes = 0
    for name in ("pia", "quinn"):
        cast.client(name).vote(permit.hex(), True)
        yes += 1
    return permit, f"{yes} of 3 yes   {own}"


def request(cast: Cast, permit: bytes) -> str:
    """A run request of Noor's; its id."""
    key = keep_pair(_result_key(cast))
    return str(cast.client("noor").request_run(permit, PARAMS, key, secrets.randbits(256))["run"])


def _result_key(cast: Cast) -> Path:
    return cast.home / "keys" / "noor.results" / "demo"


def _keep_receipt(cast: Cast, proof: dict[str, Any], offered: Any) -> Path:
    whole = {**proof, "terms": offered.terms.decode(), "termsSalt": offered.salt.hex()}
    return write_receipt(cast.home / "receipts" / "ada",
                         verify.canonical_json({name: value for name, value in whole.items() if value is not None}))


def _without_ledger(cast: Cast, permit: bytes) -> str:
    """Stop the ledger, ask the service for a run and the broker for keys, start it again."""
    keys, fetches = _count(cast.keys()), cast.fetches()
    cast.parts.stop_part("chain")
    said = []
    try:
        request(cast, permit)
    except Answered as refusal:
        said.append(refusal.status)
    try:
        cast.broker().witness()
    except BrokerRefused as refusal:
        said.append(refusal.reason.slug)
    cast.parts.start_chain()
    new = _count(cast.keys()) - keys + cast.fetches() - fetches
    return f"REFUSED {said[-1] if said else '-'}    keys {new}"


def _look(cast: Cast, name: str, run: str) -> Any:
    """A checker's recorded look, and the opened output."""
    checker = cast.client(name)
    key_file = cast.home / "keys" / f"{name}.results" / run
    found = checker.run(run)
    checker.look(run, found["attempt"], keep_pair(key_file))
    return open_output(checker, cast.broker(), checker.run(run), key_file, checker.wallet.address[2:].lower())


def _release(cast: Cast, run: str) -> str:
    """Two checkers' yes to a sealed output; what the ledger said."""
    try:
        for name in ("sol", "tess"):
            checker = cast.client(name)
            checker.look(run, 1, new_pair()[1])
            checker.approve(run)
    except RefusedByPolicy as refusal:
        return refusal.reason
    return "-"


def _print_table(teller: Teller, result: dict[str, Any]) -> None:
    teller.note("layer      paper acc   here: acc  prec   rec    F1     AUC [95 %]         p (labels shuffled)")
    for layer in result["layers"]:
        shown = [f"{layer.get(name, '-'):>5}" for name in ("accuracy", "precision", "recall", "f1")]
        interval = "{} [{}, {}]".format(layer["auc"], *layer["auc_interval"])
        teller.note(f"{layer['layer']:<11}{PAPER.get(layer['layer'], ''):>9}        {'  '.join(shown)}     {interval:<18} {layer['p']}")
    gain = result.get("gain")
    if gain:
        low, high = gain["interval"]
        shown = "a gain" if low > 0 else "no gain shown"
        teller.note(f"genes only -> genes + clinical: paper 85 -> 91; here AUC {gain['auc']:+} [{low}, {high}], {shown}")


def _count(by_attempt: dict[str, set[str]]) -> int:
    return sum(len(subjects) for subjects in by_attempt.values())


def _keys_after(cast: Cast, subject: bytes, block: int) -> int:
    """Journal lines that let a key of this person out at a head after the block."""
    lines = (cast.home / "broker" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return sum(entry["block"] >= block and subject.hex() in entry["subjects"] for entry in map(json.loads, lines))


def _search(cast: Cast) -> tuple[int, int]:
    """The folders searched for plaintext fragments, and the hits."""
    surfaces = [cast.home / name for name in ("chain", "bucket", "broker", "logs", "volens.db", "volens.db-wal", "trail.json")]
    return len(surfaces), sum(_hits(surface, cast.facts["canaries"]) for surface in surfaces)


def _hits(place: Path, canaries: list[bytes]) -> int:
    """How often any of the fragments stands in a file: raw, UTF-16, hex or base64 (at each of its three offsets)."""
    forms = [form for canary in canaries for form in (
        canary, canary.decode("latin1").encode("utf-16-le"), canary.hex().encode(),
        *(base64.b64encode(canary[offset:])[:24] for offset in range(3)))]
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    return sum(form in data for data in map(Path.read_bytes, files) for form in forms)
