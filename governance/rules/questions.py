"""How many different questions a permit and a dataset bear (Questions.sol).

A question is the hash of a run's parameters. The mean of many perturbed answers tells what one does
not, so a permit says how many different ones its runs may ask.
"""

from governance.rules.encoding import sha256, words
from governance.rules.signatures import Args
from governance.rules.vocabulary import DATASET_QUESTIONS


class Questions:
    """The different questions asked so far, under each permit and about each dataset."""

    def __init__(self) -> None:
        # By permit and question, about whom its first released answer is: the hash of their list,
        # b"" before there is one.
        self.answers = dict[bytes, dict[bytes, bytes]]()
        self.about = dict[bytes, int]()  # dataset: under all its permits

    def under(self, permit: bytes) -> dict[bytes, bytes]:
        """The questions asked under a permit."""
        return self.answers.get(permit, {})

    def reason(self, request: Args, question: bytes) -> int:
        """Why a run under the permit of this request cannot ask it, 0 if it can."""
        asked = self.under(request["permit"])
        if question in asked:
            return 0
        if len(asked) >= request["questions"]:
            return 44
        return 45 if self.about.get(request["dataset"], 0) >= DATASET_QUESTIONS else 0

    def ask(self, request: Args, question: bytes) -> None:
        asked = self.answers.setdefault(request["permit"], {})
        if question not in asked:
            asked[question] = b""
            self.about[request["dataset"]] = self.about.get(request["dataset"], 0) + 1

    def answered(self, permit: bytes, question: bytes, list_hash: bytes) -> bytes:
        """Which question an answer about these people is to: about others than the first one, it
        is perturbed anew, and so it is another question.
        """
        first = self.answers[permit][question]
        return question if first in (b"", list_hash) else sha256(words(question, list_hash))

    def answer(self, request: Args, question: bytes, list_hash: bytes) -> None:
        answered = self.answered(request["permit"], question, list_hash)
        if answered == question:
            self.answers[request["permit"]][question] = list_hash
        else:
            self.ask(request, answered)
