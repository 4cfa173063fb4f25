"""The two children that read plaintext are confined: every known way out is tried in each.

Each way is first shown to work in the same child without confinement, then to be refused within it.
Taken out one at a time, a layer lets through the ways that only it refuses, and no other.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from extent import extent
from fhir_files import bundle, observation, procedure
from vcf_files import cohort, in_memory, subjects
from ways_out import WAYS, mark

from analytics.catalogue import MODELS
from analytics.params import complete
from api.confinement import ALL, Confinement, Layer, NotConfined
from api.confinement.layers import MEANS
from api.confinement.outside import layers_in_force
from api.errors import NotServing, UsageError
from api.ingest import parser_sandbox as sandbox
from api.operate import doctor as checkup
from api.operate.settings import Settings
from api.worker.frames import PipeClosed
from api.worker.rehearsal import rehearse
from api.worker.sandbox import AttemptEnded, ForkServer
from api.worker.supervisor import open_worker

TESTS = Path(__file__).parent
OPEN = Confinement(Layer(0), Layer(0))
FULL = Confinement()
PR_SET_PTRACER, ANYBODY = 0x59616D61, -1
# How the models' libraries are loaded does not matter here, and takes seconds for each server.
LIGHT = """
import types
for name in ("models.pipeline", "run", "threads"):
    sys.modules["analytics." + name] = types.SimpleNamespace(warm_up=lambda *_: None, one_thread=lambda: None)
import analytics.models
analytics.models.pipeline = analytics.run = analytics.threads = sys.modules["analytics.run"]
"""


class Probed(ForkServer):
    """Children that try ways out in place of an attempt; without the limits of memory and files,
    which also refuse.
    """

    PROGRAM = f"""
sys.path.insert(0, {str(TESTS)!r})
import ways_out
sys.path.pop(0)
LIGHT
from api.worker import compute as child
child.limit = lambda: None
child.attempt = ways_out.answer
sys.exit(child.serve({{descriptor}}, {{confinement!r}}))
"""

    def __init__(self, confinement: Confinement, light: bool = True) -> None:
        super().__init__(confinement=confinement)
        self.PROGRAM = self.PROGRAM.replace("LIGHT", LIGHT if light else "")


PARSER = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
import ways_out
sys.path.pop(0)
from api.ingest import parser as lanechild
lanechild.limit = lambda: None
lanechild.split_file = ways_out.parse
sys.exit(lanechild.main())
"""
WAYS_TO_CONFINE = {
    "own root and Landlock": FULL,
    "Landlock alone": Confinement(mounts=False),
    "Landlock of ABI 1 alone": Confinement(mounts=False, landlock=1),
    "own root alone": Confinement(landlock=0),
}
Try = Callable[[Confinement, dict[str, Any]], dict[str, str]]


def by_computing(confinement: Confinement, scene: dict[str, Any]) -> dict[str, str]:
    """What became of the scene's ways in a computing child; `ended` where it did not live to say
    so.
    """
    server = Probed(confinement)
    try:
        child = server.child()
        child.say(scene)
        try:
            message, _ = child.hear()
        except AttemptEnded:
            return dict.fromkeys(scene["ways"], "refused: ended")
        finally:
            child.end()
    finally:
        server.end()
    ways: dict[str, str] = message["found"]
    return ways


def by_parsing(confinement: Confinement, scene: dict[str, Any]) -> dict[str, str]:
    """The same in a parser."""
    file = Path(scene["home"], "cohort.vcf").open("rb")
    try:
        with file, pytest.raises(UsageError) as error:
            list(sandbox.split("vcf", file, {"subjects": {}, "scene": scene}, confinement))
    except PipeClosed:
        return dict.fromkeys(scene["ways"], "refused: ended")
    if "could not be read safely" in str(error.value):
        return dict.fromkeys(scene["ways"], "refused: ended")
    ways: dict[str, str] = json.loads(str(error.value))
    return ways


def hear_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a parser fail in its own words, which is how these tests hear from it."""
    monkeypatch.setattr(
        sandbox, "failure_of", lambda message, _: (message["message"], message["hint"])
    )


@pytest.fixture(params=[by_computing, by_parsing], ids=["computing", "parsing"])
def tried(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Try:
    monkeypatch.setattr(sandbox, "PROGRAM", PARSER)
    hear_all(monkeypatch)
    chosen: Try = request.param

    def looked_at(confinement: Confinement, scene: dict[str, Any]) -> dict[str, str]:
        with Onlooker(scene) as onlooker:
            ways = chosen(confinement, scene)
        unseen = {way for way in ways if WAYS[way].shown} - onlooker.seen
        return ways | dict.fromkeys(unseen, "refused: nobody sees it")

    return looked_at


class Onlooker:
    """Reads what /proc shows of every process, as anybody on the host may; `seen`: the ways whose
    mark stood there.
    """

    def __init__(self, scene: dict[str, Any]) -> None:
        self.seen: set[str] = set()
        self._marks = {
            what: (way.shown, mark(scene, way.shown)) for what, way in WAYS.items() if way.shown
        }
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Onlooker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            for process in Path("/proc").glob("[0-9]*"):
                for what, (file, marked) in self._marks.items():
                    with suppress(OSError):
                        if marked in (process / file).read_bytes():
                            self.seen.add(what)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A home as an operator has it, a broker that listens, processes to signal, and memory to read."""
    for name in (
        "broker/master.key",
        "broker/seeds/1",
        "keys/ada.json",
        "volens.db",
        "cohort.vcf",
        "cut",
        "rename",
        "unlink",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"secret")
    unix, abstract, tcp = (
        socket.socket(socket.AF_UNIX),
        socket.socket(socket.AF_UNIX),
        socket.create_server(("127.0.0.1", 0)),
    )
    unix.bind(str(tmp_path / "s"))
    abstract.bind(f"\0volens-{os.getpid()}")
    unix.listen()
    abstract.listen()
    victims = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import signal, time; signal.signal(10, print); time.sleep(600)",
            ],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        for _ in range(4)
    ]
    canary = ctypes.create_string_buffer(b"canary!!")
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANYBODY, 0, 0, 0)  # where only a parent may trace
    shared = Path(f"/dev/shm/volens-test-{os.getpid()}")
    yield {
        "home": str(tmp_path),
        "socket": str(tmp_path / "s"),
        "abstract": f"volens-{os.getpid()}",
        "port": tcp.getsockname()[1],
        "victims": [process.pid for process in victims],
        "supervisor": os.getpid(),
        "address": ctypes.addressof(canary),
        "shared": str(shared),
        "ways": [what for what, way in WAYS.items() if not way.fatal],
    }
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, 0, 0, 0, 0)
    shared.unlink(missing_ok=True)
    for victim in victims:
        victim.kill()
        victim.wait()
    for line in (unix, abstract, tcp):
        line.close()


def through(ways: dict[str, str]) -> set[str]:
    faults = {what: became for what, became in ways.items() if became.startswith("fault")}
    assert faults == {}
    return {what for what, became in ways.items() if became == "through"}


FATAL = [what for what, way in WAYS.items() if way.fatal]


def test_there_are_ways_enough() -> None:
    assert len(WAYS) >= 90
    assert {way.only for way in WAYS.values()} == {None, *Layer} - {Layer.NETWORK}


def test_without_confinement_every_way_is_open(tried: Try, scene: dict[str, Any]) -> None:
    ways = tried(OPEN, scene)
    asked = {what for what in scene["ways"] if os.geteuid() == 0 or not WAYS[what].root}
    assert asked - through(ways) == set(), ways
    carried = [os.readlink(Path(scene["home"], "symlink")), os.stat(scene["home"] + "/volens.db")]
    assert (len(str(carried[0])), carried[1].st_mtime) == (2000, 123456789)  # type: ignore[union-attr]


@pytest.mark.parametrize("confinement", WAYS_TO_CONFINE.values(), ids=WAYS_TO_CONFINE)
def test_every_way_is_refused(tried: Try, scene: dict[str, Any], confinement: Confinement) -> None:
    """By both walls around files, by either alone, and where the kernel knows Landlock's first
    version only.
    """
    before = {path: path.stat().st_mtime for path in Path(scene["home"]).rglob("*")}
    ways = tried(confinement, scene)
    assert "refused: ended" not in ways.values(), "it must live to be refused each of them"
    known = {what for what, way in WAYS.items() if way.rooted and not confinement.mounts}
    assert through(ways) == known
    assert {path: path.stat().st_mtime for path in Path(scene["home"]).rglob("*")} == before


def test_devices_of_a_gpu_open_no_other_way(
    tried: Try, scene: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a GPU is, its devices may be written to and controlled; here two harmless ones stand in
    for them.
    """
    lines = "from api.confinement import interpreter\ninterpreter.GPU_DEVICES = ('/dev/null', '/dev/zero')"
    monkeypatch.setattr(
        sandbox, "PROGRAM", PARSER.replace("lanechild.limit", f"{lines}\nlanechild.limit")
    )
    monkeypatch.setattr(
        Probed, "PROGRAM", Probed.PROGRAM.replace("child.limit", f"{lines}\nchild.limit")
    )
    assert tried(FULL, {**scene, "ways": ["open a GPU's device"]}) == {
        "open a GPU's device": "through"
    }
    assert through(tried(FULL, scene)) == {
        "open a GPU's device",
        "carry data in the process's cores",
        "send a descriptor to nowhere",
        "read what is mounted",  # of its own namespace, as /proc shows it
    }


@pytest.mark.parametrize("layer", Layer, ids=[str(layer.name) for layer in Layer])
def test_a_layer_taken_out_lets_through_what_only_it_refuses(
    tried: Try, scene: dict[str, Any], layer: Layer
) -> None:
    ways = tried(Confinement(ALL & ~layer, ALL & ~layer), scene)
    alone = {what for what in scene["ways"] if WAYS[what].only is layer}
    assert through(ways) == alone


@pytest.mark.parametrize("what", FATAL)
def test_another_interface_to_the_kernel_ends_the_child(
    tried: Try, scene: dict[str, Any], what: str
) -> None:
    scene["ways"] = [what]
    assert tried(OPEN, scene) == {what: "through"}
    assert tried(FULL, scene) == {what: "refused: ended"}


# -- a child that says it is confined and is not


LIES = {
    "all": "confine = lambda confinement: 0",
    "files": "confine = lambda given, was=confine: 0 * was(type(given)(given.wanted & ~Layer.FILES))",
    "calls": "confine = lambda given, was=confine: was(type(given)(given.wanted & ~Layer.CALLS))",
    "nonsense": "confine = lambda given, was=confine: was(given) and True",
    "silence": "confine = lambda given, was=confine: was(given) and None",
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_child_that_lies_is_given_nothing(monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    confining = (
        f"from api.confinement import Layer\nfrom api.confinement.inside import confine\n{lie}\n"
    )
    server = Probed(FULL)
    server.PROGRAM = server.PROGRAM.replace(
        "child.limit", confining.replace("{", "{{") + "child.confine = confine\nchild.limit"
    )
    with pytest.raises(AttemptEnded) as ended:
        server.child()
    server.end()
    assert ended.value.pause
    assert "VOLENS_RELAX" in ended.value.hint or "say" in str(ended.value)
    program = PARSER.replace(
        "lanechild.limit", confining + "lanechild.confine = confine\nlanechild.limit"
    )
    monkeypatch.setattr(sandbox, "PROGRAM", program)
    file = in_memory(b"x")
    with pytest.raises(UsageError) as refused:
        list(sandbox.split("vcf", file, {"subjects": {}, "scene": {"ways": []}}))
    os.close(file)
    assert refused.value.hint
    # It was never asked: its answer would be an empty table.
    assert re.search("would lack|read safely", str(refused.value))


@pytest.mark.parametrize("layer", [Layer.NETWORK, Layer.PROCESSES])
def test_a_child_in_our_own_namespace_is_given_nothing(
    monkeypatch: pytest.MonkeyPatch, layer: Layer
) -> None:
    lacking = Confinement(ALL & ~layer, ALL)
    server = Probed(lacking)
    with pytest.raises(AttemptEnded, match="namespace of its own") as ended:
        server.child()
    server.end()
    assert "VOLENS_RELAX=isolation" in ended.value.hint
    monkeypatch.setattr(sandbox, "PROGRAM", PARSER)
    with pytest.raises(UsageError, match="namespace of its own") as refused:
        list(sandbox.split("vcf", io.BytesIO(b"x"), {"subjects": {}}, lacking))
    assert "VOLENS_RELAX=isolation" in refused.value.hint


def test_a_host_that_offers_nothing_is_refused_unless_relaxed() -> None:
    """With `isolation` a child is used all the same, and says which layers it lacks; what there is
    stays in force.
    """
    nothing, home = Confinement(Layer(0), ALL), Path("/nonexistent")
    server = Probed(nothing)
    with pytest.raises(AttemptEnded, match="would lack a network namespace of its own, a process"):
        server.child()
    server.end()
    for confinement, lacks in (
        (OPEN, ALL),
        (
            replace(Confinement.of("isolation", home), wanted=ALL & ~Layer.PROCESSES),
            Layer.PROCESSES,
        ),
        (Confinement.of("isolation", home), Layer(0)),
    ):
        server = Probed(confinement)
        child = server.child()
        assert child.relaxed == lacks
        child.end()
        server.end()
    assert Confinement.of("", home) == FULL
    assert FULL.required == ALL


def test_a_home_that_a_child_could_read_is_refused(tmp_path: Path) -> None:
    """Among the libraries, also by a link; only relaxed it is nobody's concern."""
    among = Path(os.__file__).parent / "volens"
    link = tmp_path / "link"
    link.symlink_to(among.parent)
    for home in (among, link / "volens"):
        with pytest.raises(NotConfined, match="is among the libraries"):
            Confinement.of("", home)
        with pytest.raises(NotConfined):
            open_worker(Settings(home=home))
        assert Confinement.of("isolation", home).required == Layer(0)
        assert checkup._confinement(Settings(home=home)).state == "bad"


WITHOUT = {
    "no hidden command line": (
        FULL,
        "from api.confinement import commandline; commandline.PR_SET_MM_MAP = 99",
        "CALLS",
    ),
    "no seccomp": (
        FULL,
        "from api.confinement import seccomp; seccomp.SET_MODE_FILTER = 99",
        "CALLS",
    ),
    "no walls around files": (Confinement(landlock=0, mounts=False), "", "FILES"),
    "no rights to mount and no Landlock": (
        Confinement(landlock=0),
        "from api.confinement import mounts; mounts.PLACES = ()",
        "FILES",
    ),
}


@pytest.mark.parametrize(("offered", "lines", "lacks"), WITHOUT.values(), ids=WITHOUT)
def test_a_kernel_that_lacks_one_layer_is_refused_unless_relaxed(
    monkeypatch: pytest.MonkeyPatch, offered: Confinement, lines: str, lacks: str
) -> None:
    """By a plain sentence for both children; relaxed, the others stay in force and the missing one
    is told.
    """
    hear_all(monkeypatch)
    for confinement in (offered, replace(offered, required=Layer(0))):
        server = Probed(confinement)
        server.PROGRAM = server.PROGRAM.replace("child.limit", f"{lines}\nchild.limit")
        program = PARSER.replace("lanechild.limit", f"{lines}\nlanechild.limit")
        monkeypatch.setattr(sandbox, "PROGRAM", program)
        parsed = sandbox.split(
            "vcf", io.BytesIO(b"x"), {"scene": {"ways": []}, "subjects": {}}, confinement
        )
        if confinement.required:
            with pytest.raises(AttemptEnded, match=f"would lack {MEANS[Layer[lacks]]}") as ended:
                server.child()
            assert "VOLENS_RELAX=isolation" in ended.value.hint
            with pytest.raises(UsageError, match=f"would lack {MEANS[Layer[lacks]]}"):
                list(parsed)
            with pytest.raises(NotServing, match="would lack") as stopped:
                rehearse(server, b"{}", 40, "cpu", lambda *_: None)
            assert "VOLENS_RELAX=isolation" in stopped.value.hint
        else:
            child = server.child()
            assert child.relaxed == Layer[lacks]
            child.end()
            with pytest.raises(UsageError, match=r"\{\}"):  # it was asked
                list(parsed)
        server.end()


def test_a_worker_does_not_start_where_children_cannot_be_confined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it asks any other part: the home is empty, and it would say so."""
    with pytest.raises(NotServing):
        open_worker(Settings(home=tmp_path))
    lacking = Confinement(ALL & ~Layer.CALLS)
    monkeypatch.setattr(
        Confinement, "of", lambda relax, _: replace(lacking, required=required[relax])
    )
    required = {"": ALL, "isolation": Layer(0)}
    with pytest.raises(NotConfined, match="system calls filtered by seccomp") as refused:
        open_worker(Settings(home=tmp_path))
    assert "VOLENS_RELAX=isolation" in refused.value.hint
    with pytest.raises(NotServing):
        open_worker(Settings(home=tmp_path, relax="isolation"))


def test_one_thread_that_is_not_filtered_is_seen() -> None:
    """And a command line that is not hidden: whoever filters no call may show it again."""
    program = (
        "import threading, time; from api.confinement import commandline, seccomp\n"
        "from api.confinement.kernel import call"
    )
    alone = "threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); call(157, 38, 1, 0, 0, 0)"
    install = (
        "{change}commandline.hide(); seccomp.install(False); print('x', flush=True); time.sleep(60)"
    )
    for change, seen in (
        ("", Layer.CALLS),
        ("seccomp.FLAG_TSYNC = 0; ", Layer(0)),
        ("commandline.hide = lambda: None; ", Layer(0)),
    ):
        code = f"{program}\n{alone}\n{install.format(change=change)}"
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"x\n"
            assert layers_in_force(process.pid, 0) & Layer.CALLS == seen
            process.kill()


def test_a_process_that_is_gone_has_no_layer() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert layers_in_force(process.pid, 6) == Layer(0)


def test_the_parser_can_only_read_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a file that its custodian opened for writing, and one that was copied from a pipe."""
    hear_all(monkeypatch)
    reply = (
        "raise lanechild.PayloadError(str(__import__('fcntl').fcntl(descriptor, 3) & os.O_ACCMODE))"
    )
    program = (
        "import os, sys\nfrom api.ingest import parser as lanechild\n"
        f"def answer(sink, descriptor, request):\n    {reply}\n"
    )
    monkeypatch.setattr(
        sandbox, "PROGRAM", program + "lanechild.split_file = answer\nsys.exit(lanechild.main())"
    )
    path = tmp_path / "cohort.vcf"
    path.write_bytes(b"x")
    with path.open("r+b") as writable:
        for file in (writable, io.BytesIO(b"x"), in_memory(b"x")):
            with pytest.raises(UsageError, match=f"^{os.O_RDONLY}\n"):  # then its hint
                list(sandbox.split("vcf", file, {"subjects": {}}))


# -- what is computed is the same


def jobs() -> dict[str, dict[str, Any]]:
    few = {"folds": 2, "repeats": 2, "permutations": 19, "bootstraps": 0}
    outcome = {"kind": "distant-metastasis", "horizon_days": 1825}
    asked: dict[str, dict[str, Any]] = {
        model: few | {"outcome": outcome, "models": {model: ["combined"]}} for model in MODELS
    }
    asked["svm"]["impute"] = "knn"
    asked["logistic"] |= {
        "tune": True,
        "explain": ["permutation", "shap-linear", "shapley-groups"],
        "fairness": ["female"],
    }
    asked["cnn"]["explain"] = ["integrated-gradients", "permutation"]
    genes = {"source": "variants", "select": "chi2", "components": 2}
    asked["svm of variants"] = asked["svm"] | {"genes": genes, "impute": "median"}
    diagnosis = {
        "kind": "diagnosis",
        "index": ["icd-10-cm:C50"],
        "event": ["icd-10-cm:C79"],
        "horizon_days": 1825,
        "censoring": "event-free",
    }
    asked["lstm"] |= {
        "outcome": diagnosis,
        "series": {"variables": ["steps_per_day", "heart_rate"]},
        "explain": ["attention", "permutation"],
    }
    encoded = {"source": "expression", "components": 2, "encoder": "autoencoder"}
    asked["svm with an autoencoder"] = asked["svm"] | {"genes": encoded}
    asked["associate"] = {
        "analysis": "associate",
        "statistics": 1,
        "components": 2,
        "outcome": diagnosis,
    }
    asked["frequencies"] = {"analysis": "frequencies", "sites": ["1:1000000:A>C"]}
    return asked


WALLS = dict(list(WAYS_TO_CONFINE.items())[-extent(2, len(WAYS_TO_CONFINE)) :])


@pytest.mark.campaign
@pytest.mark.parametrize("confinement", WALLS.values(), ids=WALLS)
def test_models_and_parsers_work_within_each_wall(confinement: Confinement) -> None:
    """What they load late is found, also where a kernel has only one of the walls around files."""
    server, job = ForkServer(confinement=confinement), jobs()["frequencies"]
    output = rehearse(server, complete(job), 40, "cpu", lambda *_: None)
    server.end()
    assert json.loads(output["result"])["analysis"] == "frequencies"
    genomes, names, _ = cohort(4, 50)
    asked = {"subjects": subjects(names), "build": "GRCh38"}
    frames = list(sandbox.split("vcf", io.BytesIO(genomes), asked, confinement))
    assert frames[-1][0]["report"]["people"] == 4
    record = bundle(observation(), procedure())
    frames = list(sandbox.split("fhir", io.BytesIO(record), {"subject": "a" * 64}, confinement))
    assert frames[-1][0]["records"] >= 1


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[ForkServer, ForkServer]]:
    """A server whose children are confined, and one whose children are not."""
    servers = ForkServer(), ForkServer(confinement=OPEN)
    yield servers
    for server in servers:
        server.end()


# `make soak` compares all of them.
NAMES = sorted(jobs()) if extent(False, True) else ["cnn", "logistic", "frequencies"]


@pytest.mark.campaign
@pytest.mark.parametrize("name", NAMES)
def test_every_model_gives_the_same_bytes_within(
    both: tuple[ForkServer, ForkServer], name: str
) -> None:
    job, people = complete(jobs()[name]), 200 if name == "associate" else 40
    within, without = (rehearse(server, job, people, "cpu", lambda *_: None) for server in both)
    assert within["result"] == without["result"]
    assert within["disclosure"] == without["disclosure"]


def test_a_second_end_closes_no_reused_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server's end and a watcher's came together, and one closed a descriptor that had a new
    owner.
    """
    server = Probed(FULL)
    child, closed = server.child(), list[int]()
    child.end()
    launched, close = server._server, os.close

    def slowly(descriptor: int) -> None:
        closed.append(descriptor)
        time.sleep(0.05)
        close(descriptor)

    monkeypatch.setattr("api.confinement.launching.os.close", slowly)
    own = launched._descriptor
    threads = [threading.Thread(target=launched.end) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert closed.count(own) == 1
