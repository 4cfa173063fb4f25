"""The rules of PermitRegistry: roles, datasets, and permits with the committee's votes."""

from itertools import pairwise

from governance.rules.encoding import need, sha256, words
from governance.rules.signatures import Args
from governance.rules.state import NOBODY, Effect, Member, Permit
from governance.rules.steps import Steps, effect
from governance.rules.vocabulary import (
    ANALYST,
    APPROVED,
    BROKER,
    CARE,
    CATEGORIES,
    CLINICIAN,
    COMMITTEE,
    CUSTODIAN,
    FOREVER,
    INDIVIDUAL,
    LAST_ROLE,
    PERMIT_QUESTIONS,
    PROTECTION,
    PURPOSES,
    REJECTED,
    REQUESTED,
    SUSPENDED,
    WORKER,
)


class PermitRules(Steps):
    """One method for each call of the contract."""

    def _setRole(self, m: Args, a: Args) -> Effect:
        member, quorum = self.members.get(m["account"], NOBODY), self.identity.quorum
        signers = [
            self._by("RoleChange", m, signature, role=COMMITTEE) for signature in a["signatures"]
        ]
        ordered = self._crypto is None or all(x < y for x, y in pairwise(signers))
        need(len(signers) >= quorum and ordered, "no quorum of different members signed, in order")
        need(m["role"] <= LAST_ROLE, "there is no such role")
        need(m["replaces"] == member.version, "the change replaces another version of the role")
        start, end = self._window(m, member)
        need(any(m["account"]) and m["role"] and start <= end, "the change is senseless")
        taken = member.role not in (0, m["role"]) and self.time < member.end
        need(not taken, "the account holds another role")
        version = member.version + 1
        self.committee_until[m["account"]] = self._member_until(m["account"])
        self._become(m["account"], Member(m["role"], start, end, version))
        self.set_at[m["account"]] = self.time
        need(self._committee_at(self.time) >= quorum, "no quorum is left")
        if self.datasets and COMMITTEE in (member.role, m["role"]):
            self._need_lasting_quorum()
        return effect(1, "RoleSet", (m["account"], m["role"]), (start, end, version))

    def _need_lasting_quorum(self) -> None:
        left = self._committee_at(self.time + self.identity.role_delay, lasting=True)
        fact = "no quorum without an end is left after the delay"
        need(left >= self.identity.quorum, fact)

    def _committee_at(self, time: int, lasting: bool = False) -> int:
        return sum(
            self.member_live(who, COMMITTEE, time) and not (lasting and member.end != FOREVER)
            for who, member in self.members.items()
        )

    def _member_until(self, who: bytes) -> int:
        """Until when the account was in the committee, now at the latest; 0 if never."""
        member, before = self.members.get(who, NOBODY), self.committee_until.get(who, 0)
        begun = member.start < member.end and member.start <= self.time
        if member.role != COMMITTEE or not begun:
            return before
        return max(before, min(member.end, self.time))

    def _window(self, m: Args, member: Member) -> tuple[int, int]:
        """Start and end of the role that a role change gives.

        Once a dataset exists, a new worker or broker begins only after the delay, and a member of
        the committee stays one until the delay is over.
        """
        start, end, earliest = m["start"], m["end"], self.time + self.identity.role_delay
        if not self.datasets:
            return start, end
        if self.member_live(m["account"], COMMITTEE, self.time):
            return member.start, max(end, min(earliest, member.end))
        live = self.member_live(m["account"], m["role"], self.time)
        waits = m["role"] in (BROKER, WORKER) and end > self.time and not live
        return (max(start, earliest) if waits else start), end

    def _cancelRole(self, m: Args, a: Args) -> Effect:
        member = self.members.get(m["account"], NOBODY)
        by = self._by("CancelRole", m, a["signature"], self._claim("RoleCancelled", 1))
        was = self._member_until(by) > self.set_at.get(m["account"], 0)
        live = self.member_live(by, COMMITTEE, self.time)
        need(was or live, f"0x{by.hex()} is no member of the committee, and was none then")
        need(m["version"] == member.version, "the order is about another version of the role")
        pending = member.role in (BROKER, WORKER) and member.start > self.time
        need(pending, "no worker or broker of this account is waiting")
        version = member.version + 1
        self._become(m["account"], Member(member.role, self.time, self.time, version))
        return effect(6, "RoleCancelled", (m["account"], by), (version,))

    def _registerDataset(self, m: Args, a: Args) -> Effect:
        need(any(m["dataset"]), "a dataset has no id")
        need(m["dataset"] not in self.datasets, "the dataset is registered already")
        who = self._by(
            "RegisterDataset", m, a["signature"], self._claim("DatasetRegistered", 1), CUSTODIAN
        )
        if not self.datasets:
            self._need_lasting_quorum()
        self.datasets[m["dataset"]] = who
        return effect(2, "DatasetRegistered", (m["dataset"], who), (m["documentHash"],))

    def _requestPermit(self, m: Args, a: Args) -> Effect:
        values, purposes, categories = tuple(m.values()), m["purposeNeed"], m["categories"]
        care = purposes == CARE
        who = self._by(
            "PermitRequest",
            m,
            a["signature"],
            self._claim("PermitRequested", 2),
            CLINICIAN if care else ANALYST,
        )
        need(
            m["permit"] not in self.permits and m["dataset"] in self.datasets,
            "a known permit, or an unknown dataset",
        )
        research = purposes and not purposes & ~(PURPOSES & ~CARE)
        need(care or research, "the purposes are not allowed")
        # Of the care of one person comes a result about her, of research none about anybody.
        classes, individual = m["outputClasses"], 1 << INDIVIDUAL
        allowed = (
            classes == individual and m["minCohort"] <= 1
            if care
            else classes and not classes & individual
        )
        need(
            categories and not categories & ~CATEGORIES and allowed,
            "categories or outputs not allowed",
        )
        need(
            1 <= m["questions"] <= PERMIT_QUESTIONS,
            "the permit allows no question, or more than a permit may",
        )
        need(m["expiry"] > self.time, "the permit would have ended already")
        self.permits[m["permit"]] = Permit(who, m, sha256(words(*values)), REQUESTED, {})
        return effect(
            3, "PermitRequested", (m["permit"], m["dataset"], who), values, words(who, *values)
        )

    def _vote(self, m: Args, a: Args) -> Effect:
        permit = self._permit(m["permit"], REQUESTED)
        who = self._by("Vote", m, a["signature"], self._claim("Voted", 1), COMMITTEE)
        fresh = (
            who not in (permit.applicant, *permit.votes) and m["requestHash"] == permit.request_hash
        )
        need(fresh, "the applicant voted, somebody voted twice, or on another request")
        permit.votes[who] = bool(m["yes"])
        kind, body, events = effect(4, "Voted", (m["permit"], who), (m["yes"],))
        agreeing = [member for member, yes in permit.votes.items() if yes == bool(m["yes"])]
        live = sum(self.member_live(member, COMMITTEE, self.time) for member in agreeing)
        if live >= self.identity.quorum:
            status = APPROVED if m["yes"] else REJECTED
            self.permits[m["permit"]] = permit._replace(status=status)
            expiry = (permit.request["expiry"],)
            events.append(
                ("PermitApproved", (m["permit"],), expiry)
                if m["yes"]
                else ("PermitRejected", (m["permit"],), ())
            )
        return kind, body, events

    def _suspend(self, m: Args, a: Args) -> Effect:
        claimed = self._claim("PermitSuspended", 1)
        role = (
            PROTECTION if self.members.get(claimed[-20:], NOBODY).role == PROTECTION else COMMITTEE
        )
        by = self._by("Suspend", m, a["signature"], claimed, role)
        self.permits[m["permit"]] = self._permit(m["permit"], APPROVED)._replace(status=SUSPENDED)
        return effect(5, "PermitSuspended", (m["permit"],), (by,))

    def _permit(self, name: bytes, status: int) -> Permit:
        permit = self.permits.get(name)
        need(permit and permit.status == status, "the permit is unknown, or not at that point")
        return self.permits[name]
