"""How many different questions a permit and a dataset bear (Questions.sol).

A question is the hash of a run's parameters, asked about some people and their records. The mean of
many perturbed answers tells what one does not, so a permit says how many different ones its runs may
ask.
"""

from typing import NamedTuple

from governance.rules.encoding import sha256, words
from governance.rules.signatures import Args
from governance.rules.tables import Reason
from governance.rules.vocabulary import DATASET_QUESTIONS, MAX_MOVES


class Question(NamedTuple):
    """The parameters of a run, about some people and the records of a dataset in some state."""

    params: bytes
    records: int
    people: bytes  # the hash of their list, with epochs

    @property
    def name(self) -> bytes:
        return sha256(words(*self))


class Asked(NamedTuple):
    """A question that was counted: for which run, b"" once another run has asked it as well."""

    params: bytes
    records: int
    run: bytes


class Questions:
    """The different questions asked so far, under each permit and about each dataset."""

    def __init__(self) -> None:
        self.asked = dict[bytes, dict[bytes, Asked]]()  # by permit and name of the question
        self.about = dict[bytes, int]()  # dataset: under all its permits
        # By dataset, how often records were registered, or a registration taken back.
        self.changes = dict[bytes, int]()

    def note_change(self, dataset: bytes) -> None:
        self.changes[dataset] = self.changes.get(dataset, 0) + 1

    def records_of(self, dataset: bytes) -> int:
        """The state of a dataset, as the contract stores it: 65,536 changes later it comes again."""
        return self.changes.get(dataset, 0) % 2**16

    def under(self, permit: bytes) -> dict[bytes, Asked]:
        """The questions asked under a permit."""
        return self.asked.get(permit, {})

    def reason(self, request: Args, question: bytes) -> int:
        """Why a run under the permit of this request cannot ask it, 0 if it can."""
        asked = self.under(request["permit"])
        if question in asked:
            return 0
        if len(asked) >= request["questions"]:
            return Reason.PERMIT_QUESTIONS
        used_up = self.about.get(request["dataset"], 0) >= DATASET_QUESTIONS
        return Reason.DATASET_QUESTIONS if used_up else 0

    def refuse(
        self, run: bytes, request: Args, question: Question, earlier: Question | None, moves: int
    ) -> int:
        """Why an attempt of a run cannot ask it, 0 if it can. earlier: what the attempt before it
        asked. moves: how often an attempt was about others than the one before it.
        """
        if question == earlier:
            return 0
        if earlier and moves == MAX_MOVES:
            return Reason.RUN_MOVED
        if earlier and self._moves(request["permit"], run, earlier, question):
            return 0
        return self.reason(request, question.name)

    def _moves(self, permit: bytes, run: bytes, earlier: Question, question: Question) -> bool:
        """Whether what was counted for a run counts for another question instead: the run paid for
        the earlier one, and no other run has asked that for nothing.
        """
        asked = self.under(permit)
        paid = asked.get(earlier.name)
        return question.name not in asked and paid is not None and paid.run == run

    def ask(self, request: Args, run: bytes, question: Question, earlier: Question | None) -> None:
        """Count the question of a run's attempt; `earlier`: that of the attempt before it."""
        asked = self.asked.setdefault(request["permit"], {})
        if question == earlier:
            return
        if earlier and self._moves(request["permit"], run, earlier, question):
            del asked[earlier.name]
        elif question.name not in asked:
            self.about[request["dataset"]] = self.about.get(request["dataset"], 0) + 1
        other = question.name in asked and asked[question.name].run != run
        asked[question.name] = Asked(question.params, question.records, b"" if other else run)

    def may_be_free(self, request: Args, params: bytes) -> bool:
        """Whether these parameters were asked of the dataset as it is: free, if the people are too."""
        records = self.records_of(request["dataset"])
        return any(
            (asked.params, asked.records) == (params, records)
            for asked in self.under(request["permit"]).values()
        )
