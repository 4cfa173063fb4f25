"""The rules of AccessLedger: records, runs, attempts, output reviews and releases."""

from itertools import chain, pairwise, zip_longest

from governance.rules.abi import TOPICS
from governance.rules.encoding import need, sha256, words
from governance.rules.questions import Question
from governance.rules.signatures import Args
from governance.rules.state import Attempt, Effect, Event, Ingest, Permit, Run, most_attempts
from governance.rules.steps import Steps, effect
from governance.rules.tables import Reason
from governance.rules.vocabulary import (
    ANALYST,
    APPROVED,
    BUDGET,
    CARE,
    CHECKER,
    COMMITTEE,
    CUSTODIAN,
    DAY,
    GENOMIC,
    MAX_PARAMS,
    MAX_SUBJECTS,
    OUTPUT_CLASSES,
    REJECTED,
    REQUESTED,
    SUSPENDED,
    WORKER,
)


class AccessRules(Steps):
    """One method for each call of the contract."""

    def _registerRecords(self, m: Args, a: Args) -> Effect:
        need(
            m["dataset"] in self.datasets and m["ingest"] not in self.ingests and m["count"],
            "no new ingest",
        )
        self._by("RecordsRegistered", m, a["signature"], self.datasets[m["dataset"]], CUSTODIAN)
        self.ingests[m["ingest"]] = Ingest(
            m["dataset"], m["leavesRoot"], m["count"], m["relaxed"], False
        )
        self.questions.note_change(m["dataset"])
        plain = (m["leavesRoot"], m["count"], m["relaxed"])
        return effect(32, "RecordsSealed", (m["ingest"], m["dataset"]), plain)

    def _voidRecords(self, m: Args, a: Args) -> Effect:
        ingest = self.ingests.get(m["ingest"])
        need(ingest and not ingest.void, "there is no such registration, or it is void already")
        ingest = self.ingests[m["ingest"]]
        signers = [self._by("VoidRecords", m, signature) for signature in a["signatures"]]
        custodian = self.datasets[ingest.dataset]
        if len(signers) == 1 and signers[0] in (custodian, b""):
            live = self.member_live(custodian, CUSTODIAN, self.time)
            need(live, "the custodian's role is not live")
        else:
            members = [self.member_live(who, COMMITTEE, self.time) for who in signers if who]
            ordered = not self._crypto or all(x < y for x, y in pairwise(signers))
            quorum = len(signers) >= self.identity.quorum
            need(quorum and ordered and all(members), "neither the custodian nor a quorum signed")
        self.ingests[m["ingest"]] = ingest._replace(void=True)
        self.questions.note_change(ingest.dataset)
        return effect(42, "RecordsVoided", (m["ingest"], ingest.dataset))

    def _requestRun(self, m: Args, a: Args) -> Effect:
        need(m["permit"] in self.permits, "there is no such permit")
        permit = self.permits[m["permit"]]
        need(permit.status != REQUESTED, "the committee has not decided on the permit")
        need(
            sha256(a["params"]) == m["paramsHash"] and len(a["params"]) <= MAX_PARAMS,
            "the parameters are not as signed",
        )
        need(permit.request["purposeNeed"] & CARE == 0, "the permit is not for research")
        who = self._by("RunRequest", m, a["signature"], permit.applicant, ANALYST)
        run, reason = sha256(words(who, m["nonce"])), self._permit_reason(permit)
        need(run not in self.runs, "the run exists already")
        message = self._unused(words(run, *m.values()))
        if reason:
            self.used_up.add(message)
            return effect(35, "RunRefused", (run,), (0, reason))
        self.runs[run] = Run(who, m, 0, "", 0, 0)
        return effect(
            33,
            "RunRequested",
            (run, m["permit"], who),
            (m["paramsHash"], m["resultKey"], m["deadline"]),
        )

    def _permit_reason(self, permit: Permit) -> int:
        if permit.status != APPROVED:
            reasons = {SUSPENDED: Reason.PERMIT_SUSPENDED, REJECTED: Reason.PERMIT_REJECTED}
            return reasons[permit.status]
        return Reason.PERMIT_EXPIRED if self.time >= permit.request["expiry"] else 0

    def _authorise(self, m: Args, a: Args) -> Effect:
        subjects, name, nth, run = a["subjects"], m["run"], m["attempt"], self._run(m)
        permit, worker = self.permits[run.request["permit"]], self._binding(m, a, run)
        dataset, purposes, categories = self._asked(permit)
        today = self.time // DAY
        decisions = [
            (subject, self.denied(dataset, subject, purposes, categories, today))
            for subject in subjects
        ]
        live = [
            (subject, self.consent(dataset, subject)) for subject, reason in decisions if not reason
        ]
        least = max(1, permit.request["minCohort"], self.identity.cohort_floor)
        granted = [(subject, consent.epoch, consent.version) for subject, consent in live]
        list_hash = sha256(b"".join(words(subject, epoch) for subject, epoch, _ in granted))
        records = self.questions.records_of(dataset)
        question = Question(run.request["paramsHash"], records, list_hash)
        earlier = self._question(run, self.attempts[name, nth - 1]) if nth > 1 else None
        # In the contract's order.
        reasons = [
            run.ended and Reason.CANCELLED,
            self.time > run.request["deadline"] and Reason.DEADLINE,
            m["codeHash"] != permit.request["codeHash"] and Reason.CODE,
            not self.member_live(run.analyst, ANALYST, self.time) and Reason.ANALYST_ROLE,
            self._permit_reason(permit),
            len(live) < least and Reason.COHORT_MINIMUM,
            self.questions.refuse(name, permit.request, question, earlier, run.moves),
        ]
        # Without crypto the worker is unknown, and two workers may send the same values.
        message = self._unused(words(worker, *m.values())) if self._crypto else b""
        if any(reasons):
            self.used_up.add(message)
            return effect(35, "RunRefused", (name,), (nth, next(filter(None, reasons))))
        denied = [(subject, reason) for subject, reason in decisions if reason]
        packed = {subject: nth << 56 | epoch << 24 | version for subject, epoch, version in granted}
        ends = [permit.request["expiry"], *((consent.until_day + 1) * DAY for _, consent in live)]
        lease = min(self.time + min(m["leaseSeconds"], self.identity.max_lease), *ends)
        tx = self._tx
        self.questions.ask(permit.request, name, question, earlier)
        moves = run.moves + (earlier not in (None, question))
        self.runs[name] = run._replace(attempts=nth, moves=moves)
        self.attempts[name, nth] = Attempt(
            worker, m, granted, denied, lease, records, list_hash, tx.hash, tx.block, {}, b"", {}
        )
        events: list[Event] = [
            ("AccessDenied", (name, who), (nth, reason))
            if reason
            else ("AccessGranted", (name, who), (packed[who],))
            for who, reason in decisions
        ]
        totals = (nth, len(granted), len(denied), lease, m["workerKey"], list_hash, m["relaxed"])
        return (
            34,
            words(name, m["relaxed"] << 32 | nth, *chain(*packed.items(), *denied)),
            [*events, ("RunAuthorised", (name,), totals)],
        )

    def _binding(self, m: Args, a: Args, run: Run) -> bytes:
        """The worker who signed for the next attempt with these people, in order."""
        worker, subjects = self._by("WorkerBinding", m, a["signature"], role=WORKER), a["subjects"]
        need(
            run.ended in ("", "cancelled")
            and m["attempt"] == run.attempts + 1 <= most_attempts(run),
            "the run ended, or not the next attempt",
        )
        need(
            len(subjects) <= MAX_SUBJECTS
            and all(x < y for x, y in pairwise((bytes(32), *subjects))),
            "the list is too long or unsorted",
        )
        need(
            sha256(b"".join(subjects)) == m["subjectsHash"],
            "the list is not the one that the worker signed",
        )
        return worker

    def _asked(self, permit: Permit) -> tuple[bytes, int, int]:
        """The dataset, the purposes and the categories that the permit asks for."""
        request = permit.request
        return request["dataset"], request["purposeNeed"], request["categories"]

    def _question(self, run: Run, attempt: Attempt) -> Question:
        return Question(run.request["paramsHash"], attempt.records, attempt.list_hash)

    def _run(self, m: Args) -> Run:
        need(m["run"] in self.runs and not self.runs[m["run"]].is_care, "the run is unknown")
        return self.runs[m["run"]]

    def _open(self, m: Args) -> tuple[Run, Attempt]:
        run = self._run(m)
        need(
            not run.ended and m["attempt"] == run.attempts > 0,
            "the run ended, or the attempt is not the newest",
        )
        return run, self.attempts[m["run"], m["attempt"]]

    def _seal(self, m: Args, a: Args) -> Effect:
        run, attempt = self._open(m)
        self._by("Seal", m, a["signature"], attempt.worker, WORKER)
        need(
            self.time <= attempt.lease_until and not attempt.seal,
            "the lease is over, or the output sealed already",
        )
        classes = self.permits[run.request["permit"]].request["outputClasses"]
        allowed = classes >> m["outputClass"] & 1
        need(
            allowed and m["outputClass"] in OUTPUT_CLASSES,
            "the permit does not allow this class of output",
        )
        need(m["outputClass"] != GENOMIC or m["statistics"], "a genomic output without statistics")
        self._cost(run, attempt, m)
        plain = (m["attempt"], sha256(words(*m.values())), *m.values())
        self.attempts[m["run"], m["attempt"]] = attempt._replace(seal=m, seal_hash=plain[1])
        return effect(36, "Sealed", (m["run"],), plain, words(m["run"], *plain[:2]))

    def _cost(self, run: Run, attempt: Attempt, seal: Args) -> dict[bytes, int]:
        """The dataset's spent budget with this seal: m statistics of N people cost m / N, in
        millionths, rounded up.
        """
        dataset = self.permits[run.request["permit"]].request["dataset"]
        total = self.spent.get(dataset, 0) - (-seal["statistics"] * 10**6 // len(attempt.granted))
        need(total <= BUDGET, "the dataset's budget of per-variant statistics is spent")
        return {dataset: total} if seal["statistics"] else {}

    def _viewOutput(self, m: Args, a: Args) -> Effect:
        run, attempt = self._open(m)
        who = self._by("Review", m, a["signature"], self._claim("OutputViewed", 1), CHECKER)
        need(
            who != run.analyst and attempt.seal,
            "the analyst asked for the view, or nothing is sealed",
        )
        body = words(m["run"], m["attempt"], who, m["viewerKey"])
        self.used_up.add(self._unused(body))
        attempt.views[who] = m["viewerKey"]
        return effect(37, "OutputViewed", (m["run"], who), (m["attempt"], m["viewerKey"]), body)

    def _checker(
        self, m: Args, run: Run, attempt: Attempt, signature: bytes, claimed: bytes
    ) -> bytes:
        need(m["sealHash"] == attempt.seal_hash, "the decision is not on what was sealed")
        who = self._by("Decision", m, signature, claimed, CHECKER)
        need(
            not who or (who != run.analyst and who in attempt.views),
            "the checker is the analyst, or did not view the output",
        )
        return who

    def _release(self, m: Args, a: Args) -> Effect:
        run, attempt = self._open(m)
        permit = self.permits[run.request["permit"]]
        released = any(log.topics[:1] == (TOPICS["Released"],) for log in self._logs)
        claimed = [self._claim("Released", word) if released else b"" for word in (3, 4)]
        pair = [
            self._checker(m, run, attempt, signature, claim)
            for signature, claim in zip(a["signatures"], claimed, strict=True)
        ]
        need(
            m["reason"] == 0 and (pair[0] < pair[1] or not any(pair)),
            "two different checkers must agree",
        )
        granted = [(subject, epoch) for subject, epoch, _ in attempt.granted]
        need(
            list(zip_longest(a["subjects"], a["epochs"])) == granted,
            "the list is not the granted one",
        )
        dataset, purposes, categories = self._asked(permit)
        today = self.time // DAY
        dismissed = not self.member_live(run.analyst, ANALYST, self.time)
        refusals = [
            (bytes(32), Reason.ANALYST_ROLE if dismissed else self._permit_reason(permit)),
            *(
                (
                    who,
                    self.denied(dataset, who, purposes, categories, today)
                    or Reason.CONSENT_CHANGED * (self.consent(dataset, who).epoch != epoch),
                )
                for who, epoch in granted
            ),
        ]
        message = self._unused(words(*m.values()))
        # Analyst and permit, then the first person whose consent denies it or has another epoch.
        for subject, reason in refusals:
            if reason:
                self.used_up.add(message)
                return effect(39, "ReleaseRefused", (m["run"],), (m["attempt"], subject, reason))
        self.spent |= self._cost(run, attempt, attempt.seal)
        self.runs[m["run"]] = run._replace(ended="released")
        return effect(38, "Released", (m["run"],), (m["attempt"], m["sealHash"], *pair))

    def _reject(self, m: Args, a: Args) -> Effect:
        run, attempt = self._open(m)
        who = self._checker(m, run, attempt, a["signature"], self._claim("Rejected", 3))
        need(m["reason"], "a rejection names its reason")
        self.runs[m["run"]] = run._replace(ended="rejected")
        return effect(40, "Rejected", (m["run"],), (m["attempt"], m["sealHash"], who, m["reason"]))

    def _cancel(self, m: Args, a: Args) -> Effect:
        run = self._run(m)
        self._by("Cancel", m, a["signature"], run.analyst)
        need(not run.ended, "the run has ended")
        self.runs[m["run"]] = run._replace(ended="cancelled")
        return effect(41, "RunCancelled", (m["run"],))

    def _resume(self, m: Args, a: Args) -> Effect:
        run = self._run(m)
        self._by("Resume", m, a["signature"], run.analyst, ANALYST)
        used = m["attempts"] == run.attempts == most_attempts(run)
        need(not run.ended and used, "the run has ended, or has attempts left")
        self.runs[m["run"]] = run._replace(resumed=run.resumed + 1)
        return effect(43, "RunResumed", (m["run"],), (m["attempts"],))
