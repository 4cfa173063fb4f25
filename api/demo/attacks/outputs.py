"""Attacks on releases: model files, and more per-variant statistics than a dataset's budget allows."""

from __future__ import annotations

from api.demo.attacks.frame import attack
from api.demo.stage import World, random32
from chain.events import Receipt
from chain.vocabulary import OutputClass

PEOPLE = 20


def _authorised(world: World, dataset: bytes, output_class: int) -> tuple[bytes, list[bytes]]:
    """A run on a separate dataset, so that other attacks' statistics do not count."""
    subjects = world.enrol(PEOPLE)
    world.grant(subjects, dataset=dataset)
    run = world.request_run(
        world.permit(dataset=dataset, outputClasses=1 << OutputClass.METRICS | 1 << output_class)
    )
    world.authorise(run, subjects)
    return run, subjects


def _dataset(world: World) -> bytes:
    dataset = random32()
    world.register_dataset(dataset)
    return dataset


@attack("a model file sealed for release", "analyst", "OutputClassRefused")
def model_file(world: World, forged: bool) -> Receipt:
    """Refused even if a committee allowed it: support vectors and neighbours are patients' rows."""
    run, _ = _authorised(world, _dataset(world), OutputClass.MODEL)
    message = world.seal_message(
        run, outputClass=OutputClass.MODEL if forged else OutputClass.METRICS
    )
    return world.relay("AccessLedger", "seal", "Seal", message, world.by("wanda", "Seal", message))


@attack("per-variant statistics beyond what the people bear", "worker", "BudgetSpent")
def too_many_variants(world: World, forged: bool) -> Receipt:
    run, _ = _authorised(world, _dataset(world), OutputClass.GENOMIC)
    message = world.seal_message(
        run, outputClass=OutputClass.GENOMIC, statistics=3 if forged else 2
    )  # 0.128 x 20 = 2.56
    return world.relay("AccessLedger", "seal", "Seal", message, world.by("wanda", "Seal", message))


@attack("a genomic output that says it reports on no variant", "worker", "OutputClassRefused")
def no_variants(world: World, forged: bool) -> Receipt:
    run, _ = _authorised(world, _dataset(world), OutputClass.GENOMIC)
    message = world.seal_message(
        run, outputClass=OutputClass.GENOMIC, statistics=0 if forged else 1
    )
    return world.relay("AccessLedger", "seal", "Seal", message, world.by("wanda", "Seal", message))


@attack("a budget of variants spent twice by outputs sealed side by side", "analyst", "BudgetSpent")
def spent_twice(world: World, forged: bool) -> Receipt:
    dataset, receipts = _dataset(world), []
    sealed = []
    for _ in range(2):
        run, subjects = _authorised(world, dataset, OutputClass.GENOMIC)
        seal = world.seal(run, outputClass=OutputClass.GENOMIC, statistics=2 if forged else 1)
        world.view_output(run, "sol")
        world.view_output(run, "tess")
        sealed.append((run, seal, subjects))
    for run, seal, subjects in sealed:
        receipts.append(world.release(run, seal, subjects, [0] * PEOPLE))
    return receipts[-1]
