"""Attacks on releases: model files, and more statistics or questions than were allowed."""

from __future__ import annotations

from api.demo.attacks.frame import attack, willing
from api.demo.stage import PARAMS, World, random32
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


def _begun_twice(world: World, permit: bytes, subjects: list[bytes]) -> list[bytes]:
    """Two runs that ask the same about the same people: only the first is counted."""
    runs = [world.request_run(permit) for _ in range(2)]
    for run in runs:
        world.authorise(run, subjects)
    return runs


@attack("more different questions than the committee allowed", "analyst", "reason 44")
def too_many_questions(world: World, forged: bool) -> Receipt:
    """The mean of many perturbed answers tells what one does not."""
    subjects, permit = willing(world), world.permit(questions=1)
    world.authorise(world.request_run(permit), subjects)
    params = PARAMS + b" " if forged else PARAMS
    return world.authorise(world.request_run(permit, params=params), subjects)


@attack("one question asked anew about ever other people", "analyst", "reason 44")
def other_people(world: World, forged: bool) -> Receipt:
    """A participant who is in it with her withdraws and agrees, and each answer has new noise. What
    a run shows before any release is an answer too.
    """
    subjects, permit = willing(world, 4), world.permit(questions=1)
    world.authorise(world.request_run(permit), subjects)
    return world.authorise(world.request_run(permit), subjects[1:] if forged else subjects)


@attack("a later attempt's answer of other records", "analyst", "reason 44")
def other_records(world: World, forged: bool) -> Receipt:
    """The records of one person are added between two answers, which then differ by her alone: the
    second run asked for nothing what the first had paid, and has nothing to take along."""
    dataset = _dataset(world)
    subjects = world.enrol(4)
    world.grant(subjects, dataset=dataset)
    _, run = _begun_twice(world, world.permit(dataset=dataset, questions=1), subjects)
    if forged:
        world.register_records(dataset=dataset)
    return world.authorise(run, subjects, attempt=2)


@attack("one question paid and two lists of people answered", "analyst", "reason 44")
def paid_once(world: World, forged: bool) -> Receipt:
    """The run that paid goes on to other people, another run answers for the first ones."""
    subjects = willing(world, 4)
    run, _ = _begun_twice(world, world.permit(questions=1), subjects)
    return world.authorise(run, subjects[1:] if forged else subjects, attempt=2)


@attack("one run tried about ever other people", "analyst", "reason 46")
def ever_others(world: World, forged: bool) -> Receipt:
    """Each attempt shows steps, seconds and whether it was refused, though one is released."""
    subjects = willing(world, 12)
    run = world.request_run(world.permit(questions=1))
    for others in range(9):
        world.authorise(run, subjects[others:], attempt=1 + others)
    return world.authorise(run, subjects[9 if forged else 8 :], attempt=10)


@attack("a permit for more questions than any permit allows", "analyst", "PermitInvalid")
def too_many_allowed(world: World, forged: bool) -> Receipt:
    request = world.permit_request(questions=101 if forged else 100)
    signature = world.by("noor", "PermitRequest", request)
    return world.relay("PermitRegistry", "requestPermit", "PermitRequest", request, signature)
