"""Commands of the operator: start services, play the demo, rebuild the database."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli import context as cli
from api.cli.context import AsJson
from api.errors import UsageError, VerificationFailed

Engine = Annotated[
    str,
    typer.Option(
        help="Where runs are computed: local, ray, or ray://HOST:PORT. Default: VOLENS_ENGINE."
    ),
]


def serve(
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Serve the demo's home, with its demo accounts."),
    ] = False,
    engine: Engine = "",
) -> None:
    """Start ledger, bucket, broker, API, pages and worker on this machine, until Ctrl-C.

    A part that ends is said, and started again.

    A new home folder gets demo accounts, whose keys are all in it.
    """
    from api.operate.serving import serve as start

    raise typer.Exit(start(demo, engine))


def worker(engine: Engine = "") -> None:
    """Run one worker on a home folder whose other services already run, here or elsewhere.

    Each worker has a key of its own with the role: VOLENS_WORKER names it.
    """
    from api.worker.start import main

    raise typer.Exit(main(engine))


def demo(
    scene: Annotated[
        str | None,
        typer.Argument(help="attacks, tampers, kills, science, care or reach; default: the story."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="The story, then every scene.")] = False,
) -> None:
    """Play the whole story on real data with demo accounts, and print what was measured.

    A scene shows one topic in full, on a temporary ledger: `volens demo attacks` tries every attack
    on the contracts, `tampers` changes an exported trail in thirty ways, `kills` kills the
    ledger while it writes, `science` adds survival, clusters, explanation, fairness and series to the report,
    `care` draws up plans for invented patients under their own consent,
    and `reach` has two workers, PostgreSQL and Ray where they are there.

    Exit code 7 when a check failed.
    """
    from api.demo.others import SCENES, play_scene
    from api.demo.story import main

    if scene is not None and every:
        raise UsageError("a scene and --all were both asked for", "leave one of them out")
    if scene is not None and scene not in SCENES:
        raise UsageError("there is no such scene", "choose among: " + ", ".join(SCENES))
    failed = main() if scene is None else 0
    for name in SCENES if every else [scene] if scene else []:
        failed = failed or (0 if play_scene(name) else 7)
    raise typer.Exit(failed)


def rebuild(
    compare: Annotated[
        bool, typer.Option("--compare", help="Change nothing: name every row that differs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Derive the database from ledger and bucket again. With --compare, find rows that somebody
    edited or deleted.

    Exit code 7 when --compare finds a difference.
    """
    from api.operate.buckets import open_bucket
    from api.operate.identity import read_identity
    from chain.ledger import Ledger
    from governance.readmodel.database import open_database
    from governance.readmodel.projection import Projection

    settings = cli.settings()
    ledger = Ledger.connect(settings.address("chain"), read_identity(settings))
    projection = Projection(open_database(settings.database), ledger, open_bucket(settings))
    if not compare:
        counts = projection.rebuild()
        cli.show(counts, as_json)
        return
    differences = projection.compare()
    cli.show(
        {"differences": differences},
        as_json,
        "\n".join(differences) or "Every row follows from the ledger.",
    )
    if differences:
        raise VerificationFailed(
            "rows of the database do not follow from the ledger",
            "derive them again: volens rebuild",
        )
