"""The demo: one fixed story through the public HTTP routes, from an empty home to a verified trail.

It prints each result when it happens, and writes report.json (schema: report-schema.json), the
trail and the verifier. Every number comes from this run; a value that was not measured is absent,
and one unexpected line fails the demo.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx

from api.demo.narrator import Teller
from api.errors import ApiError
from api.operate.bootstrap import DEMO_HOME
from api.operate.processes import Parts
from api.operate.settings import Settings
from governance.certificates import trusted


def main(home: Path | None = None) -> int:
    """Play the story; returns 0 when all checks passed, else 7."""
    teller = Teller()
    settings = Settings()
    home = (home or settings.home / "demo").resolve()
    _clear(home)
    teller.say("volens demo   ledger: anvil, one node (not decentralised)   custody: 1 broker")
    teller.say(
        "The people are personas. 198 records are published research data (GSE7390), "
        "the rest simulated; consents are invented."
    )
    # The demo stops its ledger and looks into the files of its home, so it uses nothing of others.
    own = {"home": home, "chain_url": "", "bucket_url": "", "database_url": ""}
    parts = Parts.start(settings.model_copy(update=own))
    try:
        material = _play(home, parts, teller)
    finally:
        parts.stop()
    from api.demo.recording import picture
    from api.demo.report import write

    report = material["report"]
    write(home, material)
    home.joinpath("report.json").write_text(
        json.dumps(report, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )
    code = _close(home, report, teller.say)
    (home / "terminal.svg").write_text(picture("\n".join(teller.printed)), encoding="utf-8")
    return code


def _play(home: Path, parts: Parts, teller: Teller) -> dict[str, Any]:
    """The values of report.html; its key "report" is the content of report.json."""
    from api.demo.cast import Cast

    cast = Cast(home, parts)
    contracts, alive = len(cast.identity["contracts"]), cast.healthy_parts()
    teller.tell(1, "Otto", f"starts {', '.join(alive)}", f"{contracts} contracts, code as pinned")
    from api.demo import scenes, science  # the readers' libraries: loaded once the parts run
    from api.demo.report import gather

    report: dict[str, Any] = {"versions": _versions(), "seed": science.SEED}
    scenes.gate(cast, teller)
    report |= scenes.change_of_mind(cast, teller)
    report |= scenes.science(cast, teller)
    report |= scenes.proof(cast, teller)
    report |= {
        "story": teller.lines,
        "seconds": f"{teller.seconds:.1f}",
        "machine": {"cores": os.cpu_count() or 1, "load": f"{os.getloadavg()[0]:.1f}"},
    }
    return gather(cast, report)


def _clear(home: Path) -> None:
    """An empty home. Raises ApiError if the demo did not make it, or if a deployment runs in it."""
    if home.exists() and any(home.iterdir()):
        if not (home / DEMO_HOME).exists():
            raise ApiError(
                "the demo's folder holds something else", "name another with VOLENS_HOME"
            )
        if _is_running(home):
            raise ApiError(
                "a deployment runs in the demo's folder",
                "stop it, or name another with VOLENS_HOME",
            )
        for path in home.iterdir():  # the mark stays until everything else is gone
            if path.name != DEMO_HOME:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    home.mkdir(parents=True, mode=0o700, exist_ok=True)
    (home / DEMO_HOME).touch()


def _is_running(home: Path) -> bool:
    try:
        urls = json.loads((home / "run.json").read_text(encoding="utf-8"))
        return (
            httpx.get(urls["chain"] + "/health", timeout=2.0, verify=trusted()).status_code
            == httpx.codes.OK
        )
    except (OSError, ValueError, KeyError, TypeError, httpx.HTTPError):
        return False


def _versions() -> dict[str, str]:
    wanted = (
        "volens",
        "cryptography",
        "web3",
        "scikit-learn",
        "google-cloud-storage",
        "fastapi",
    )
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in wanted},
    }


def _close(home: Path, report: dict[str, Any], say: Callable[[str], None] = print) -> int:
    keys, after = report["keys"], report["after_revocation"]
    good = (
        all(line["holds"] for line in report["story"])
        and keys["released"] == keys["logged"] > 0
        and after == {"accesses": 0, "keys": 0}
        and report["phi"]["hits"] == 0
    )
    say(
        f" {'DONE' if good else 'NOT PROVEN'} in {report['seconds']} s.  unlogged decryptions "
        f"{keys['released'] - keys['logged']}   keys after withdrawal {after['keys']}   "
        f"plaintext in ledger, bucket, database, logs {report['phi']['hits']}"
    )
    wrong = [f"{line['n']}" for line in report["story"] if not line["holds"]]
    if wrong:
        say(
            f" Line {', '.join(wrong)} does not say what it must: read the files under logs in {_shown(home)}."
        )
    say(
        " Limits: the worker sees plaintext; one machine holds every part; a released result cannot be recalled."
    )
    where, tools = _shown(home), _shown(Path(sys.executable).parent)
    say(f" Look:   {where}/report.html   Pages:  {tools}/volens serve --demo")
    say(
        f" Check it:  {tools}/python {where}/verify.py {where}/trail.json --receipt {where}/receipt.json"
    )
    return 0 if good else 7


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
