"""The rules of CareLedger: appointments, and plans drawn from one patient's records."""

from governance.rules.encoding import need, sha256, words
from governance.rules.signatures import Args
from governance.rules.state import NOBODY_APPOINTED, Appointment, Attempt, Effect, Permit, Run
from governance.rules.steps import Steps, effect
from governance.rules.tables import Reason
from governance.rules.vocabulary import (
    APPROVED,
    CARE,
    CATEGORIES,
    CLINICIAN,
    DAY,
    INDIVIDUAL,
    MAX_ATTEMPTS,
    MAX_PARAMS,
    WORKER,
)


class CareRules(Steps):
    """One method for each call of the contract."""

    def appointment(self, dataset: bytes, subject: bytes) -> Appointment:
        """Her newest appointment, whether it is live or not."""
        return self.appointments.get((dataset, subject), NOBODY_APPOINTED)

    def care_denied(self, dataset: bytes, subject: bytes, categories: int, day: int) -> int:
        """0 if she allows her own care on that day with one of these categories, else one of the
        reasons 1 to 7.
        """
        reason = self.denied(dataset, subject, CARE, 0, day)
        shared = self.consent(dataset, subject).categories & categories
        return reason or (0 if shared else Reason.CATEGORY)

    def plan_denied(self, run: Run, time: int) -> int:
        """Why a plan must not be drawn, viewed or countersigned at that time, 0 if it may: the
        clinician's role, the permit, her consent, and the appointment, which her consent's epoch
        binds.
        """
        permit, subject, day = self._care_permit(run), run.request["subject"], time // DAY
        dataset = permit.request["dataset"]
        if not self.member_live(run.analyst, CLINICIAN, time):
            return Reason.CLINICIAN_ROLE
        if permit.status != APPROVED:
            return Reason.PERMIT_SUSPENDED
        if time >= permit.request["expiry"]:
            return Reason.PERMIT_EXPIRED
        reason = self.care_denied(dataset, subject, permit.request["categories"], day)
        appointed = self.appointment(dataset, subject)
        live = (
            appointed.clinician == self._shown(run)
            and appointed.epoch == self.consent(dataset, subject).epoch
            and day <= appointed.until_day
        )
        return reason or (0 if live else Reason.APPOINTMENT)

    def plan_ended(self, run: Run, attempt: Attempt, time: int) -> int:
        """As `plan_denied`, and whether her consent has changed since the attempt was authorised."""
        subject, epoch, _ = attempt.granted[0]
        dataset = self._care_permit(run).request["dataset"]
        changed = self.consent(dataset, subject).epoch != epoch
        return self.plan_denied(run, time) or (Reason.CONSENT_CHANGED if changed else 0)

    def _appoint(self, m: Args, a: Args) -> Effect:
        dataset, subject = m["dataset"], m["subject"]
        consent, old = self.consent(dataset, subject), self.appointment(dataset, subject)
        self._hers("Appoint", m, subject, a)
        need(dataset in self.datasets, "there is no such dataset")
        need(m["replaces"] == old.version, "the appointment replaces another one")
        need(m["epoch"] == consent.epoch, "the appointment is of another epoch of her consent")
        today = self.time // DAY
        # An appointment that only ends one needs no consent.
        if m["untilDay"] >= today:
            denied = self.care_denied(dataset, subject, CATEGORIES, today)
            need(not denied, "she does not allow her own care")
        new = Appointment(
            m["clinician"], m["epoch"], m["replaces"] + 1, m["untilDay"], bool(m["resultToMe"])
        )
        self.appointments[dataset, subject] = new
        event_values = (*new, m["noticeHash"])
        return effect(48, "Appointed", (subject, dataset), event_values, words(*m.values()))

    def _requestPlan(self, m: Args, a: Args) -> Effect:
        need(m["permit"] in self.permits, "there is no such permit")
        permit = self.permits[m["permit"]]
        need(
            sha256(a["params"]) == m["paramsHash"] and len(a["params"]) <= MAX_PARAMS,
            "the parameters are not as signed",
        )
        who = self._by("PlanRequest", m, a["signature"], permit.applicant, CLINICIAN)
        run = sha256(words(m["permit"], who, m["nonce"]))
        need(run not in self.runs, "the run exists already")
        usable = permit.status == APPROVED and self.time < permit.request["expiry"]
        need(usable and self._is_care(permit), "the permit is not for care, or not usable")
        new = Run(who, m, 0, "", 0, 0)
        appointed = self.appointment(permit.request["dataset"], m["subject"])
        need(self._shown(new) == appointed.clinician, "she has not appointed this clinician")
        self.runs[run] = new
        plain = (m["subject"], m["paramsHash"], m["deadline"])
        return effect(49, "PlanRequested", (run, m["permit"], who), plain)

    def _authorisePlan(self, m: Args, a: Args) -> Effect:
        name, nth, run = m["run"], m["attempt"], self._plan(m)
        worker = self._by("PlanBinding", m, a["signature"], role=WORKER)
        need(
            not run.ended and nth == run.attempts + 1 <= MAX_ATTEMPTS,
            "the plan ended, or not the next attempt",
        )
        permit, subject = self._care_permit(run), run.request["subject"]
        request = permit.request
        dataset = request["dataset"]
        consent, appointed = self.consent(dataset, subject), self.appointment(dataset, subject)
        # In the contract's order.
        reasons = [
            self.time > run.request["deadline"] and Reason.DEADLINE,
            m["codeHash"] != request["codeHash"] and Reason.CODE,
            self.plan_denied(run, self.time),
        ]
        # Without crypto the worker is unknown, and two workers may send the same values.
        message = self._unused(words(worker, *m.values())) if self._crypto else b""
        if any(reasons):
            self.used_up.add(message)
            return effect(51, "RunRefused", (name,), (nth, next(filter(None, reasons))))
        last_day = min(consent.until_day, appointed.until_day)
        lease = min(
            self.time + min(m["leaseSeconds"], self.identity.max_lease),
            request["expiry"],
            (last_day + 1) * DAY,
        )
        packed = nth << 56 | consent.epoch << 24 | consent.version
        list_hash = sha256(words(subject, consent.epoch))
        granted = [(subject, consent.epoch, consent.version)]
        self.runs[name] = run._replace(attempts=nth)
        self.attempts[name, nth] = Attempt(
            worker, m, granted, [], lease, 0, list_hash, self._tx.hash, self._tx.block, {}, b"", {}
        )
        totals = (nth, 1, 0, lease, m["workerKey"], list_hash, m["relaxed"])
        return (
            50,
            words(name, m["relaxed"] << 32 | nth, subject, packed),
            [
                ("AccessGranted", (name, subject), (packed,)),
                ("RunAuthorised", (name,), totals),
            ],
        )

    def _sealPlan(self, m: Args, a: Args) -> Effect:
        run, attempt = self._newest_plan(m)
        need(not run.ended, "the plan has ended")
        self._by("PlanSeal", m, a["signature"], attempt.worker, WORKER)
        need(
            self.time <= attempt.lease_until and not attempt.seal,
            "the lease is over, or the plan sealed already",
        )
        need(m["outputClass"] == INDIVIDUAL, "a plan is an output of class Individual")
        # As an output of research is kept: the same event tells of both.
        *fields, deadline = m.items()
        seal = dict(fields) | {"statistics": 0} | dict([deadline])
        plain = (m["attempt"], sha256(words(*m.values())), *seal.values())
        self.attempts[m["run"], m["attempt"]] = attempt._replace(seal=seal, seal_hash=plain[1])
        return effect(52, "Sealed", (m["run"],), plain, words(m["run"], *plain[:2]))

    def _viewPlan(self, m: Args, a: Args) -> Effect:
        run, attempt = self._newest_plan(m)
        who = self._by("PlanView", m, a["signature"], run.analyst)
        need(attempt.seal and run.ended != "cancelled", "nothing is sealed, or the plan ended")
        need(not self.plan_ended(run, attempt, self.time), "her consent or the appointment ended")
        body = words(m["run"], m["attempt"], run.analyst, m["viewerKey"])
        self.used_up.add(self._unused(body))
        attempt.views[who] = m["viewerKey"]
        plain = (m["attempt"], m["viewerKey"])
        return effect(53, "OutputViewed", (m["run"], run.analyst), plain, body)

    def _countersign(self, m: Args, a: Args) -> Effect:
        run, attempt = self._newest_plan(m)
        self._by("Countersign", m, a["signature"], run.analyst)
        need(not run.ended, "the plan has ended")
        need(m["sealHash"] == attempt.seal_hash, "the countersignature is not on what was sealed")
        need(run.analyst in attempt.views, "the clinician did not view the plan")
        message = self._unused(words(*m.values()))
        if reason := self.plan_ended(run, attempt, self.time):
            self.used_up.add(message)
            why = (m["attempt"], run.request["subject"], reason)
            return effect(55, "ReleaseRefused", (m["run"],), why)
        self.runs[m["run"]] = run._replace(ended="released")
        self.notes[m["run"]] = m["notesHash"]
        plain = (m["attempt"], m["sealHash"], run.analyst, m["notesHash"])
        return effect(54, "Countersigned", (m["run"],), plain)

    def _openPlan(self, m: Args, a: Args) -> Effect:
        run, attempt = self._newest_plan(m)
        subject, request = run.request["subject"], self._care_permit(run).request
        signer = self._hers("PlanOpening", m, subject, a)
        need(run.ended == "released", "the plan is not countersigned")
        wish = self.appointment(request["dataset"], subject).result_to_me
        need(wish, "she did not ask for the plan")
        categories, today = request["categories"], self.time // DAY
        denied = self.care_denied(request["dataset"], subject, categories, today)
        need(not denied, "she does not allow her own care")
        body = words(m["run"], m["attempt"], signer, m["viewerKey"])
        self.used_up.add(self._unused(body))
        attempt.views[signer] = m["viewerKey"]
        plain = (m["attempt"], m["viewerKey"])
        return effect(56, "PlanOpened", (m["run"], signer), plain, body)

    def _endPlan(self, m: Args, a: Args) -> Effect:
        run = self._plan(m)
        self._by("PlanEnd", m, a["signature"], run.analyst)
        need(not run.ended, "the plan has ended")
        self.runs[m["run"]] = run._replace(ended="cancelled")
        return effect(57, "RunCancelled", (m["run"],))

    def _hers(self, kind: str, m: Args, subject: bytes, a: Args) -> bytes:
        """Her enrolled key, which signed. Raises Malformed."""
        need(subject in self.signers, "she is not enrolled")
        signer = self.signers[subject]
        need(a["signer"] == signer, "the key is not the one that she enrolled")
        return self._by(kind, m, a["signature"], signer)

    def _plan(self, m: Args) -> Run:
        need(m["run"] in self.runs and self.runs[m["run"]].is_care, "there is no such plan")
        return self.runs[m["run"]]

    def _newest_plan(self, m: Args) -> tuple[Run, Attempt]:
        run = self._plan(m)
        need(m["attempt"] == run.attempts > 0, "the attempt is not the newest")
        return run, self.attempts[m["run"], m["attempt"]]

    def _care_permit(self, run: Run) -> Permit:
        return self.permits[run.request["permit"]]

    def _is_care(self, permit: Permit) -> bool:
        return bool(permit.request["purposeNeed"] == CARE)

    def _shown(self, run: Run) -> bytes:
        """Whom the clinician showed that he is, as she appoints him."""
        return sha256(words(run.analyst, run.request["salt"]))
