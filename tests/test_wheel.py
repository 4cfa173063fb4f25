"""The wheel: it holds what volens needs, and runs from a folder where there is no checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """
import sys
from chain.devnode.anvil import find_anvil
from chain.devnode.process import DevChain
from governance.consent import NOTICE
from pathlib import Path
for path in (find_anvil(), NOTICE):
    assert Path(path).is_relative_to(sys.argv[1]), path
    assert Path(path).stat().st_size
with DevChain.start(Path.cwd() / "chain") as chain:
    print(chain.folder.is_dir())
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    anvil = folder / "site" / "chain" / "devnode" / "bin" / "anvil"
    anvil.chmod(0o755)  # as pip does with what is executable in the archive
    return folder / "site"


def run(unpacked: Path, folder: Path, program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, str(unpacked)],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(unpacked)},  # before the checkout
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_dev_chain_and_the_notice_come_out_of_the_wheel(unpacked: Path, tmp_path: Path) -> None:
    assert run(unpacked, tmp_path, PROGRAM).split() == ["True"]


@pytest.mark.parametrize(
    "name",
    [
        "contracts/typed-data.json",
        "contracts/artifacts/AccessLedger.json",
        "governance/verify.py",
        "governance/terms/notice-1.md",
        "analytics/params-schema.json",
        "api/pages/static/sign.js",
        "api/pages/static/swagger-ui-bundle.js",
        "api/pages/templates/docs.html",
        "api/demo/templates/report.html",
        "volens/connection.py",
    ],
)
def test_it_holds_every_kind_of_file_that_is_read(unpacked: Path, name: str) -> None:
    assert (unpacked / name).read_bytes() == (ROOT / name).read_bytes()


def test_anvil_is_executable_in_the_archive(unpacked: Path) -> None:
    (wheel,) = unpacked.parent.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        mode = archive.getinfo("chain/devnode/bin/anvil").external_attr >> 16
    assert mode & 0o111 == 0o111
