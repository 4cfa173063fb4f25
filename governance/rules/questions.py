"""How many different questions a permit and a dataset bear (Questions.sol).

A question is the hash of a run's parameters, asked about some people and their records. The mean of
many perturbed answers tells what one does not, so a permit says how many different ones its runs may
ask.
"""

from governance.rules.encoding import sha256, words
from governance.rules.signatures import Args
from governance.rules.vocabulary import DATASET_QUESTIONS


class Questions:
    """The different questions asked so far, under each permit and about each dataset."""

    def __init__(self) -> None:
        # By permit and question, the hash of its parameters and the state of the dataset.
        self.asked = dict[bytes, dict[bytes, tuple[bytes, int]]]()
        self.about = dict[bytes, int]()  # dataset: under all its permits
        # By dataset, how often records were registered, or a registration taken back.
        self.changes = dict[bytes, int]()

    def note_change(self, dataset: bytes) -> None:
        self.changes[dataset] = self.changes.get(dataset, 0) + 1

    def records_of(self, dataset: bytes) -> int:
        """The state of a dataset, as the contract stores it: 65,536 changes later it comes again."""
        return self.changes.get(dataset, 0) % 2**16

    def name(self, params: bytes, records: int, list_hash: bytes) -> bytes:
        """The question of these parameters about these people and a dataset in this state."""
        return sha256(words(params, records, list_hash))

    def under(self, permit: bytes) -> dict[bytes, tuple[bytes, int]]:
        """The questions asked under a permit."""
        return self.asked.get(permit, {})

    def reason(self, request: Args, question: bytes) -> int:
        """Why a run under the permit of this request cannot ask it, 0 if it can."""
        asked = self.under(request["permit"])
        if question in asked:
            return 0
        if len(asked) >= request["questions"]:
            return 44
        return 45 if self.about.get(request["dataset"], 0) >= DATASET_QUESTIONS else 0

    def ask(self, request: Args, question: bytes, params: bytes, records: int) -> None:
        asked = self.asked.setdefault(request["permit"], {})
        if question not in asked:
            asked[question] = params, records
            self.about[request["dataset"]] = self.about.get(request["dataset"], 0) + 1

    def may_be_free(self, request: Args, params: bytes) -> bool:
        """Whether these parameters were asked of the dataset as it is: free, if the people are too."""
        return (params, self.records_of(request["dataset"])) in self.under(
            request["permit"]
        ).values()
