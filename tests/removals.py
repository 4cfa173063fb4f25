"""Mutations: removes one control of contracts, verifier or services at a time, and expects an
attack to succeed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from chain.artifacts import CONTRACTS, FOLDER, SOLC, Artifact, compile_all, load
from chain.devnode.tether import tether


@dataclass(frozen=True)
class Removal:
    control: str
    file: str
    edits: tuple[tuple[str, str], ...]
    attacks: tuple[str, ...]
    contracts: tuple[str, ...] = ()  # that the attacks are about, where several use the file


REMOVALS = [
    Removal(
        "worker role",
        "AccessLedger.sol",
        (
            (
                "_requireLive(worker, Role.Worker);\n        Run storage run = _knownRun",
                "Run storage run = _knownRun",
            ),
        ),
        ("a worker key of the relay's own under a live permit",),
    ),
    Removal(
        "epoch equality",
        "AccessLedger.sol",
        (
            (
                "if (slots[i].epochOf() != epochs[i]) return (subjects[i], Reasons.CONSENT_CHANGED);",
                "",
            ),
        ),
        ("a release after a revocation and a new grant",),
    ),
    Removal(
        "replaced version",
        "ConsentRegistry.sol",
        (("if (g.replaces != old.versionOf()) return VersionStale.selector;", ""),),
        (
            "a grant that replaces a version there never was",
            "a withheld wide grant after a narrow one",
        ),
    ),
    Removal(
        "what is ahead is not used up",
        "ConsentRegistry.sol",
        (
            (
                "g.replaces == old.versionOf() && g.epoch <= old.epochOf();",
                "g.replaces >= old.versionOf();",
            ),
        ),
        (
            "a narrower grant used up before the wider one is sent",
            "a new grant used up before her withdrawal is sent",
        ),
    ),
    Removal(
        "a run waits for the vote",
        "AccessLedger.sol",
        (
            (
                "if (p.status == PermitStatus.Requested) revert PermitUndecided(r.permit);",
                "",
            ),
        ),
        ("a run request used up before the last vote",),
    ),
    Removal(
        "release re-read",
        "AccessLedger.sol",
        (("= _releaseReason(run, p, subjects, epochs);", "= (bytes32(0), uint8(0));"),),
        ("a release after a revocation",),
    ),
    Removal(
        "budget of per-variant statistics",
        "Budget.sol",
        (("if (total > BUDGET) revert IAccessLedger.BudgetSpent(_spent[dataset], asked);", ""),),
        (
            "per-variant statistics beyond what the people bear",
            "a budget of variants spent twice by outputs sealed side by side",
        ),
        ("AccessLedger",),
    ),
    Removal(
        "bound on different questions",
        "Questions.sol",
        (("if (_askedUnder[permit] >= p.questions) return Reasons.PERMIT_QUESTIONS;", ""),),
        (
            "more different questions than the committee allowed",
            "one question asked anew about ever other people",
            "a later attempt's answer of other records",
            "one question paid and two lists of people answered",
        ),
        ("AccessLedger",),
    ),
    Removal(
        "another list of people is another question",
        "Questions.sol",
        (("records, listHash)", "records)"),),
        ("one question asked anew about ever other people",),
        ("AccessLedger",),
    ),
    Removal(
        "other records are another question",
        "Questions.sol",
        (("paramsHash, records, listHash", "paramsHash, listHash"),),
        ("a later attempt's answer of other records",),
        ("AccessLedger",),
    ),
    Removal(
        "a question goes on with the run that paid it",
        "Questions.sol",
        (("moved = _askedBy[permit][from] == run && _askedBy", "moved = _askedBy"),),
        (
            "a later attempt's answer of other records",
            "one question paid and two lists of people answered",
        ),
        ("AccessLedger",),
    ),
    Removal(
        "a question that two runs asked goes on with neither",
        "Questions.sol",
        (("_askedBy[permit][question] = SHARED;", ""),),
        ("one question paid and two lists of people answered",),
        ("AccessLedger",),
    ),
    Removal(
        "a run goes on to other people so often",
        "AccessLedger.sol",
        (("if (run.moves == MAX_MOVES) return Reasons.RUN_MOVED;", ""),),
        ("one run tried about ever other people",),
        ("AccessLedger",),
    ),
    Removal(
        "the most questions of a permit",
        "PermitRegistry.sol",
        (("r.questions > MOST_QUESTIONS ||", ""),),
        ("a permit for more questions than any permit allows",),
    ),
    Removal(
        "no model file",
        "AccessLedger.sol",
        (("|| s.outputClass == OutputClass.Model", ""),),
        ("a model file sealed for release",),
    ),
    Removal(
        "subjects hash",
        "AccessLedger.sol",
        (("if (given != b.subjectsHash) revert ListMismatch(given, b.subjectsHash);", ""),),
        ("a shortened subject list", "a padded subject list"),
    ),
    Removal(
        "low-s",
        "Typed.sol",
        (
            (
                "(signer,,) = ECDSA.tryRecoverCalldata(_hashTypedDataV4(structHash), signature);",
                "(uint8 v, bytes32 r, bytes32 s) ="
                " (uint8(signature[64]), bytes32(signature[0:32]), bytes32(signature[32:64]));"
                "signer = ecrecover(_hashTypedDataV4(structHash), v, r, s);",
            ),
        ),
        ("the high-s twin of a signature",),
        ("ConsentRegistry",),
    ),
]


REMOVALS += [
    Removal(
        "the version that a role change replaces",
        "PermitRegistry.sol",
        (
            (
                "if (c.replaces != held.version) revert RoleVersionStale(c.replaces, held.version);",
                "",
            ),
        ),
        ("a withheld role change that revives a dismissed analyst",),
    ),
    Removal(
        "the delay of a new worker",
        "PermitRegistry.sol",
        (("&& start < earliest) start = earliest;", "&& start < earliest) {}"),),
        ("a new worker that computes at once",),
    ),
    Removal(
        "a quorum without an end",
        "PermitRegistry.sol",
        (
            (
                "_countLive(_committee, block.timestamp + roleDelay, true) < quorum",
                "false",
            ),
        ),
        ("a committee whose last quorum has an end",),
    ),
    Removal(
        "a quorum without an end at the founding",
        "PermitRegistry.sol",
        (("if (!_founded) _requireLastingQuorum();", ""),),
        ("a ledger founded by a committee that ends",),
    ),
    Removal(
        "a term in the committee has begun",
        "PermitRegistry.sol",
        (
            ("&& m.start < m.end && m.start <= block.timestamp;", ";"),
            ("= m.end < block.timestamp ? m.end : uint40(block.timestamp);", "= m.end;"),
        ),
        ("a new worker stopped by a member to come",),
    ),
    Removal(
        "a quorum of no rejects",
        "PermitRegistry.sol",
        (
            (
                "if (_countLive(_votes[v.permit][v.yes], block.timestamp, false) >= quorum) {",
                "if (v.yes && _countLive(_votes[v.permit][v.yes], block.timestamp, false) >= quorum) {",
            ),
        ),
        ("a rejected permit voted through later",),
    ),
    Removal(
        "the analyst's role at the release",
        "AccessLedger.sol",
        (
            (
                "if (!_permits.isLive(run.analyst, Role.Analyst)) return (0, Reasons.ANALYST_ROLE);",
                "",
            ),
        ),
        ("a result released to an analyst who was dismissed",),
    ),
    Removal(
        "care is no research",
        "Masks.sol",
        (
            (
                "return purposesValid(need) && need & CARE == 0;",
                "return purposesValid(need);",
            ),
        ),
        ("research under consents to her own care",),
        ("PermitRegistry",),
    ),
    Removal(
        "no result of one person",
        "PermitRegistry.sol",
        (("&& r.outputClasses & INDIVIDUAL == 0", ""),),
        ("one person's result asked for as research",),
    ),
    Removal(
        "care is for clinicians",
        "PermitRegistry.sol",
        (("care ? Role.Clinician : Role.Analyst", "Role.Analyst"),),
        ("a care permit for an analyst",),
    ),
    Removal(
        "care brings results of one person alone",
        "PermitRegistry.sol",
        (("return r.outputClasses == INDIVIDUAL && r.minCohort <= 1;", "return true;"),),
        ("a care permit that brings tables of a group", "a care permit over several people"),
    ),
    Removal(
        "a care permit allows no research",
        "AccessLedger.sol",
        (("if (!Masks.needValid(p.purposeNeed)) revert NotForResearch(r.permit);", ""),),
        ("research under a care permit",),
    ),
    Removal(
        "a plan needs a care permit",
        "CareLedger.sol",
        (("p.purposeNeed != Masks.CARE ||", ""),),
        ("a plan under a permit for research",),
    ),
    Removal(
        "the appointed clinician asks",
        "CareLedger.sol",
        (
            (
                "if (appointed != _appointments[p.dataset][r.subject].clinician) "
                "revert NotAppointed(clinician);",
                "",
            ),
        ),
        ("another clinician's plan of her", "a plan of somebody who signed the first notice only"),
    ),
    Removal(
        "an appointment needs consent to care",
        "CareLedger.sol",
        (("if (a.untilDay >= _today()) {", "if (false) {"),),
        ("an appointment without consent to her own care",),
    ),
    Removal(
        "she signs the appointment",
        "CareLedger.sol",
        (
            (
                "if (_signerOf(structHash, signature) != address(bytes20(signer))) revert SignatureInvalid();",
                "",
            ),
        ),
        ("an appointment that she did not sign",),
    ),
    Removal(
        "the version that an appointment replaces",
        "CareLedger.sol",
        (
            (
                "if (a.replaces != old.version) "
                "revert IConsentRegistry.VersionStale(a.replaces, old.version);",
                "",
            ),
        ),
        ("an appointment replayed after she ended it",),
    ),
    Removal(
        "the epoch that an appointment is of",
        "CareLedger.sol",
        (
            (
                "if (a.epoch != slot.epochOf()) "
                "revert IConsentRegistry.EpochStale(a.epoch, slot.epochOf());",
                "",
            ),
        ),
        ("an appointment withheld until after she withdrew",),
    ),
    Removal(
        "the appointment at the access",
        "CareLedger.sol",
        (("return live ? 0 : Reasons.APPOINTMENT;", "return live ? 0 : 0;"),),
        ("a plan after she ended the appointment", "a plan after she narrowed her consent"),
    ),
    Removal(
        "her consent at the access",
        "CareLedger.sol",
        (
            ("if (reason != 0) return reason;", "if (slot.isLive() && reason != 0) return reason;"),
            ("a.epoch == slot.epochOf() &&", ""),
        ),
        ("a plan after she withdrew",),
    ),
    Removal(
        "the clinician's role",
        "CareLedger.sol",
        (
            (
                "if (!_permits.isLive(plan.clinician, Role.Clinician)) return Reasons.CLINICIAN_ROLE;",
                "",
            ),
        ),
        ("a plan drawn for a clinician who was dismissed",),
    ),
    Removal(
        "the code that draws a plan",
        "CareLedger.sol",
        (("else if (b.codeHash != p.codeHash) reason = Reasons.CODE;", ""),),
        ("a plan by a worker with other code",),
    ),
    Removal(
        "the role of who draws a plan",
        "CareLedger.sol",
        (
            (
                "_requireLive(worker, Role.Worker); Plan storage plan = _planInForce(b.run);",
                "Plan storage plan = _planInForce(b.run);",
            ),
        ),
        ("a plan by somebody who is no worker",),
    ),
    Removal(
        "the class of a plan",
        "CareLedger.sol",
        (
            (
                "if (s.outputClass != uint8(OutputClass.Individual)) "
                "revert IAccessLedger.OutputClassRefused(OutputClass(s.outputClass));",
                "",
            ),
        ),
        ("a plan sealed as an output of research",),
    ),
    Removal(
        "the worker who was authorised seals",
        "CareLedger.sol",
        (("if (worker != plan.worker) revert IAccessLedger.WorkerMismatch(worker);", ""),),
        ("a plan sealed by another worker",),
    ),
    Removal(
        "the plan is its clinician's",
        "CareLedger.sol",
        (
            (
                "if (clinician != plan.clinician) revert NotTheClinician(clinician); if (attempt == 0",
                "if (attempt == 0",
            ),
        ),
        ("a plan viewed by an analyst", "a countersignature by another clinician"),
    ),
    Removal(
        "consent and appointment at a look",
        "CareLedger.sol",
        (
            (
                "if (reason != 0) revert AppointmentInvalid(reason); bytes32 body = "
                "sha256(abi.encode(v.run",
                "bytes32 body = sha256(abi.encode(v.run",
            ),
        ),
        ("a plan viewed after she withdrew",),
    ),
    Removal(
        "a countersignature after a look",
        "CareLedger.sol",
        (("if (!plan.viewed) revert IAccessLedger.NotViewed(clinician);", ""),),
        ("a plan countersigned unseen",),
    ),
    Removal(
        "what is countersigned",
        "CareLedger.sol",
        (
            (
                "if (c.sealHash != plan.sealHash) "
                "revert IAccessLedger.SealMismatch(c.sealHash, plan.sealHash);",
                "",
            ),
        ),
        ("a countersignature moved to another plan",),
    ),
    Removal(
        "the consent of then at the countersignature",
        "CareLedger.sol",
        (("if (reason == 0 && slot.epochOf() != plan.epoch) return Reasons.CONSENT_CHANGED;", ""),),
        ("a countersignature after a withdrawal and a new consent",),
    ),
    Removal(
        "nothing before the countersignature",
        "CareLedger.sol",
        (("if (plan.ended != Ended.Countersigned) revert NotCountersigned(o.run);", ""),),
        ("a plan opened before the countersignature",),
    ),
    Removal(
        "her wish to see it",
        "CareLedger.sol",
        (
            (
                "if (!_appointments[p.dataset][plan.subject].resultToMe) revert NotHerPlan(o.run);",
                "",
            ),
        ),
        ("a plan opened that she did not ask for",),
    ),
    Removal(
        "her own key opens",
        "CareLedger.sol",
        (("if (keccak256(signer) != stored) revert IConsentRegistry.SignerMismatch();", ""),),
        ("a plan opened by another patient",),
    ),
    Removal(
        "her consent at the opening",
        "CareLedger.sol",
        (
            (
                "if (reason != 0) revert AppointmentInvalid(reason); address viewer",
                "address viewer",
            ),
        ),
        ("a plan opened after she withdrew",),
    ),
    Removal(
        "its clinician ends a plan",
        "CareLedger.sol",
        (
            (
                "if (clinician != plan.clinician) revert NotTheClinician(clinician); plan.ended",
                "plan.ended",
            ),
        ),
        ("a plan ended by another clinician",),
    ),
    Removal(
        "what changes nothing is recorded once",
        "Typed.sol",
        (("return _recorded[message];", "return false;"),),
        (
            "a refused consent sent again to make the trail grow",
            "a refused request, attempt or release sent again to make the trail grow",
            "an earlier look sent again, so that the key goes to its holder",
        ),
        ("ConsentRegistry", "AccessLedger"),
    ),
    Removal(
        "who takes a registration back",
        "AccessLedger.sol",
        (("else if (!_permits.isQuorum(signers)) {", "else if (signers.length == 0) {"),),
        ("another custodian's registration taken back",),
    ),
    Removal(
        "attempts are used up first",
        "AccessLedger.sol",
        (
            (
                "if (r.attempts != run.attempts || r.attempts != _mostAttempts(run)) {",
                "if (false) {",
            ),
        ),
        ("a run given more attempts while it has some left",),
    ),
]


# One row a rule of CareLedger that its attacks above leave unproved.
REMOVALS += [
    Removal(
        "the clinician's role at the request",
        "CareLedger.sol",
        (("_requireLive(clinician, Role.Clinician);", ""),),
        ("a plan asked for by a clinician who was dismissed",),
    ),
    Removal(
        "the permit is the clinician's own",
        "CareLedger.sol",
        (("if (p.applicant != clinician) revert IAccessLedger.NotTheApplicant(clinician);", ""),),
        ("a plan under another clinician's permit",),
    ),
    Removal(
        "the committee approved the care permit",
        "CareLedger.sol",
        (("p.status != PermitStatus.Approved ||", ""),),
        ("a plan before the committee's last vote",),
    ),
    Removal(
        "a plan's request under a permit that holds",
        "CareLedger.sol",
        (("|| block.timestamp >= p.expiry", ""),),
        ("a plan under a permit that ended",),
    ),
    Removal(
        "the clinician whom she appointed now",
        "CareLedger.sol",
        (("a.clinician == plan.appointed &&", ""),),
        (
            "a plan after she appointed another clinician",
            "a plan viewed after she appointed another clinician",
            "a countersignature after she appointed another clinician",
        ),
    ),
    Removal(
        "no look at an ended plan",
        "CareLedger.sol",
        (("if (plan.ended == Ended.Cancelled) revert IAccessLedger.RunEnded(v.run);", ""),),
        ("a plan viewed after it was ended",),
    ),
    Removal(
        "no countersignature of an ended plan",
        "CareLedger.sol",
        (("if (plan.ended != Ended.No) revert IAccessLedger.RunEnded(c.run);", ""),),
        ("a plan countersigned after it was ended",),
    ),
    Removal(
        "the newest attempt is opened",
        "CareLedger.sol",
        (
            (
                "if (o.attempt != plan.attempts) revert IAccessLedger.NotNewestAttempt(o.attempt);",
                "",
            ),
        ),
        ("a plan of an earlier attempt opened",),
    ),
    Removal(
        "the newest attempt is viewed and countersigned",
        "CareLedger.sol",
        (
            (
                "if (attempt == 0 || attempt != plan.attempts) revert "
                "IAccessLedger.NotNewestAttempt(attempt); if (plan.sealHash == 0)",
                "if (plan.sealHash == 0)",
            ),
        ),
        (
            "a plan of an earlier attempt viewed",
            "a plan of an earlier attempt countersigned",
        ),
    ),
    Removal(
        "a new attempt was not viewed yet",
        "CareLedger.sol",
        (
            (
                "(plan.attempts, plan.worker, plan.viewed) = (uint24(b.attempt), worker, false);",
                "(plan.attempts, plan.worker) = (uint24(b.attempt), worker);",
            ),
        ),
        ("a new attempt countersigned after a look at the one before",),
    ),
    Removal(
        "a plan is sealed within its lease",
        "CareLedger.sol",
        (
            (
                "if (block.timestamp > plan.leaseUntil) revert "
                "IAccessLedger.LeaseOver(plan.leaseUntil);",
                "",
            ),
        ),
        ("a plan sealed after its lease",),
    ),
    Removal(
        "the role of who seals a plan",
        "CareLedger.sol",
        (("_requireLive(worker, Role.Worker); if (block.timestamp", "if (block.timestamp"),),
        ("a plan sealed by a worker who was dismissed",),
    ),
    Removal(
        "an appointment's deadline",
        "CareLedger.sol",
        (("_notAfter(a.deadline);", ""),),
        ("an appointment after its deadline",),
    ),
    Removal(
        "a suspended permit draws no plan",
        "CareLedger.sol",
        (("if (p.status != PermitStatus.Approved) return Reasons.PERMIT_SUSPENDED;", ""),),
        (
            "a plan drawn under a suspended permit",
            "a plan countersigned under a suspended permit",
        ),
    ),
    Removal(
        "a plan's request has a deadline",
        "CareLedger.sol",
        (("_notAfter(r.deadline);", ""),),
        ("a plan's request after its deadline",),
    ),
    Removal(
        "a plan is drawn before its deadline",
        "CareLedger.sol",
        (
            (
                "if (block.timestamp > plan.deadline) reason = Reasons.DEADLINE; else if "
                "(b.codeHash",
                "if (b.codeHash",
            ),
        ),
        ("a plan drawn after its request's deadline",),
    ),
    Removal(
        "a plan is sealed once",
        "CareLedger.sol",
        (("if (plan.sealHash != 0) revert IAccessLedger.AlreadySealed(s.run);", ""),),
        ("a plan sealed a second time",),
    ),
    Removal(
        "a look acts once",
        "CareLedger.sol",
        (("_requireUnused(body); // an earlier look", "// an earlier look"),),
        ("an earlier look at a plan sent again",),
    ),
    Removal(
        "an opening acts once",
        "CareLedger.sol",
        (("_requireUnused(body); _use(body); emit PlanOpened", "_use(body); emit PlanOpened"),),
        ("an earlier opening of a plan sent again",),
    ),
    Removal(
        "a plan's id is used once",
        "CareLedger.sol",
        (("if (_plans[run].clinician != address(0)) revert IAccessLedger.RunExists(run);", ""),),
        ("a plan's request put in the place of an earlier one",),
    ),
    Removal(
        "the most attempts at a plan",
        "CareLedger.sol",
        (("|| b.attempt > MAX_ATTEMPTS", ""),),
        ("one attempt at a plan too many",),
    ),
    Removal(
        "a new attempt has no seal yet",
        "CareLedger.sol",
        (("(plan.epoch, plan.sealHash) = (slot.epochOf(), 0);", "plan.epoch = slot.epochOf();"),),
        ("a new attempt viewed under the seal of the one before",),
    ),
    Removal(
        "a refused attempt at a plan is used up",
        "CareLedger.sol",
        (("_use(message); emit IAccessLedger.RunRefused", "emit IAccessLedger.RunRefused"),),
        ("a refused attempt at a plan sent again later",),
    ),
    Removal(
        "the parameters of a plan",
        "CareLedger.sol",
        (("given != r.paramsHash ||", ""),),
        ("a plan by other parameters than were signed",),
    ),
    Removal(
        "the most parameters of a plan",
        "CareLedger.sol",
        (("|| params.length > MAX_PARAMS", ""),),
        ("a plan by parameters of more than two kilobytes",),
    ),
    Removal(
        "a permit that ended draws no plan",
        "CareLedger.sol",
        (("if (block.timestamp >= p.expiry) return Reasons.PERMIT_EXPIRED;", ""),),
        ("a plan drawn under a permit that ended",),
    ),
    Removal(
        "an appointment for registered data",
        "CareLedger.sol",
        (
            (
                "if (_permits.custodianOf(a.dataset) == address(0)) revert "
                "IPermitRegistry.DatasetUnknown(a.dataset);",
                "",
            ),
        ),
        ("an appointment for data that nobody registered",),
    ),
    Removal(
        "nothing follows a plan's end",
        "CareLedger.sol",
        (("if (plan.ended != Ended.No) revert IAccessLedger.RunEnded(run);", ""),),
        (
            "a plan drawn after it was ended",
            "a countersigned plan taken from her by its end",
        ),
    ),
    Removal(
        "the newest attempt is sealed",
        "CareLedger.sol",
        (
            (
                "plan = _planInForce(run); if (attempt == 0 || attempt != plan.attempts) revert "
                "IAccessLedger.NotNewestAttempt(attempt);",
                "plan = _planInForce(run);",
            ),
        ),
        ("a plan of an earlier attempt sealed",),
    ),
    Removal(
        "a refused countersignature is used up",
        "CareLedger.sol",
        (
            (
                "_use(message); emit IAccessLedger.ReleaseRefused",
                "emit IAccessLedger.ReleaseRefused",
            ),
        ),
        ("a refused countersignature sent again later",),
    ),
]


# Of the auditor's file; `attacks` are tampers of api.demo.tampers.
VERIFIER = [
    Removal(
        "events as the rules demand",
        "verify.py",
        (("                    actual == want,", "True,"),),
        ("an event edited",),
    ),
    Removal(
        "no event too many",
        "verify.py",
        (("need(len(self._logs) == len(required),", "need(True,"),),
        ("an event appended",),
    ),
    Removal(
        "each call at its contract",
        "verify.py",
        (("need(tx.to == address,", "need(True,"),),
        ("a call sent to another contract",),
    ),
    Removal(
        "the last step has the head",
        "verify.py",
        (('(number(part(end, "count")), raw(part(end, "head"), 32)) == last,', "True,"),),
        ("only the last head edited",),
    ),
    Removal(
        "a quorum of founders",
        "verify.py",
        (("len(signed.keys() & founders) >= self.replayed.identity.quorum,", "True,"),),
        ("the founders' signatures taken off",),
    ),
    Removal(
        "founders sign this identity",
        "verify.py",
        (('crypto and crypto.signer("Identity", {"id": self.id}, by) == who,', "True,"),),
        ("a founder exchanged for the operator",),
    ),
    Removal(
        "different members",
        "verify.py",
        (
            (
                'need(len(signers) >= quorum and ordered, "no quorum of different',
                'need(len(signers) >= quorum, "no quorum of different',
            ),
        ),
        ("one member's signature in two places",),
    ),
    Removal(
        "low s, by the verifier",
        "verify.py",
        (("or to_int(signature[32:64]) > HALF_ORDER", ""),),
        ("the high-s twin of a signature",),
    ),
    Removal(
        "the broker signs its word",
        "verify.py",
        (
            (
                'not self.crypto or self.crypto.signer("Witness", message, by) == who,',
                "True,",
            ),
        ),
        ("a broker's word forged",),
    ),
    Removal(
        "a consent is her own",
        "verify.py",
        (('or not self._own("Grant", g, item)', ""),),
        ("a consent widened, all heads recomputed", "two people's signatures exchanged"),
    ),
    Removal(
        "whoever signed is whoever is named",
        "verify.py",
        (
            (
                "who = self._signer(kind, message, signature, claimed)\n",
                "who = claimed[-20:] or self._signer(kind, message, signature, claimed)\n",
            ),
        ),
        (
            "a permit for fewer people, all heads recomputed",
            "a sealed output exchanged, all heads recomputed",
        ),
    ),
    Removal(
        "the head that is held",
        "verify.py",
        (("step.head == head,", "True,"),),
        ("two votes exchanged, all heads recomputed",),
    ),
    Removal(
        "as many steps as are held",
        "verify.py",
        (
            ("0 < count <= len(self.steps),", "True,"),
            ("step = self.steps[count - 1]", "step = self.steps[min(count, len(self.steps)) - 1]"),
            ("step.head == head,", "step.count < count or step.head == head,"),
            ("if upto and upto == count:", "if upto:"),
        ),
        ("the tail cut", "a step dropped, all heads recomputed"),
    ),
    Removal(
        "anchored means to the end",
        "verify.py",
        (("if upto and upto == count:", "if upto:"),),
        ("a withdrawal sent again, all heads recomputed",),
    ),
    Removal(
        "the floor is the founders'",
        "verify.py",
        (
            (
                "len(live) < least and Reason",
                "(len(live) < least or any(TOPICS['RunRefused'] in log.topics for log in self._logs)) and Reason",
            ),
        ),
        ("an access told as too few people",),
    ),
]


@dataclass(frozen=True)
class Gate:
    """A control of the endpoints: functions of `file` without it take the place of those named in
    `places`.
    """

    control: str
    file: str
    edits: tuple[tuple[str, str], ...]
    places: tuple[str, ...]  # module:function
    attacks: tuple[str, ...]


_SESSIONS = "governance/sessions.py"
# Of the web process; `attacks` are those of api.demo.attacks.ENDPOINT_ATTACKS.
GATE = [
    Gate(
        "a challenge is known and used once",
        _SESSIONS,
        (("    if count != 1:\n", "    if False:\n"),),
        ("governance.sessions:prove",),
        ("a challenge used twice", "a challenge that nobody gave"),
    ),
    Gate(
        "a challenge ends",
        _SESSIONS,
        (
            (
                "live = Challenge.nonce == nonce, Challenge.expires > now",
                "live = (Challenge.nonce == nonce,)",
            ),
        ),
        ("governance.sessions:prove",),
        ("an expired challenge",),
    ),
    Gate(
        "a sign-in is young",
        _SESSIONS,
        (('if abs(now - int(message["issuedAt"])) > CHALLENGE_SECONDS:', "if False:"),),
        ("governance.sessions:prove",),
        ("a sign-in that was signed long ago",),
    ),
    Gate(
        "whoever is named signed it",
        _SESSIONS,
        (('if signer != message["account"]:', "if False:"),),
        ("governance.sessions:prove",),
        ("a challenge that another address signed",),
    ),
    Gate(
        "somebody signs in",
        _SESSIONS,
        (("    _check_known(replayed, signer, subject, now)\n", ""),),
        ("governance.sessions:open_session",),
        ("a sign-in of a key without a role", "a patient's id with another person's key"),
    ),
    Gate(
        "only she herself",
        "api/http/auth.py",
        (("if caller.subject != subject and caller.role not in roles:", "if False:"),),
        ("api.http.routes.people:require_self",),
        (
            "another patient's accesses",
            "another patient's consents",
            "what another patient's withdrawals led to",
            "a patient's consents by an auditor",
        ),
    ),
    Gate(
        "the role that is held now",
        "api/http/auth.py",
        (("    if caller.role not in roles:", "    if False:"),),
        ("api.http.routes.trail:require_role",),
        (
            "everybody's refusals without an auditor's role",
            "a session of a role that was withdrawn",
        ),
    ),
    Gate(
        "no key twice",
        "governance/rules/encoding.py",
        (("need(len(dict(pairs)) == len(pairs),", "need(True,"),),
        ("api.http.strict_route:strict_json",),
        ("a key named twice in a signed message",),
    ),
]


def module_without(path: Path, edits: Sequence[tuple[str, str]]) -> ModuleType:
    """A module of ours as it is without a control; nothing else sees it."""
    source = path.read_text()
    for before, after in edits:
        assert source.count(before) == 1, "the control moved: mend this table"
        source = source.replace(before, after)
    module = ModuleType(f"{path.stem}_without")
    sys.modules[module.__name__] = module  # dataclasses look themselves up there
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def verifier_without(removal: Removal) -> ModuleType:
    """The auditor's file without one check."""
    return module_without(FOLDER.parent / "governance" / removal.file, removal.edits)


# For size, not for gas: with fewer steps of the optimizer the access ledger is larger than a contract
# may be.
QUICK: dict[str, Any] = {"optimizer": {"enabled": True, "runs": 1}}
# The older way of compiling takes a third of that, and cannot compile the access ledger, which has
# functions with too many variables for it.
QUICKER: dict[str, Any] = {"viaIR": False, "optimizer": {"enabled": True, "runs": 1}}


class Solc:
    """One compiler process for many requests; it starts with the first."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, request: Mapping[str, Any]) -> Any:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                tether([str(SOLC), "--each-line"]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def compile_without(removal: Removal, copy: Path, kept: Path, solc: Solc) -> dict[str, Artifact]:
    """The contracts as they are without the control.

    copy: an absent folder for the changed sources; kept: where compiled contracts stay for the next
    run of the tests. One process compiles at a time, so that two that want the same do not both do
    it.
    """
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("artifacts", "__pycache__"))
    source = (copy / removal.file).read_text()
    for before, after in removal.edits:
        # Whatever its white space: the formatter breaks lines by their length.
        control = r"\s*".join(map(re.escape, "".join(before.split())))
        source, count = re.subn(control, lambda _, after=after: after, source)  # type: ignore[misc]
        assert count == 1, "the control moved: mend this table"
    (copy / removal.file).write_text(source)
    # The other contracts stay as they are, unless the control stands in what several of them use.
    own = Path(removal.file).stem
    names = removal.contracts or ((own,) if own in CONTRACTS else CONTRACTS)
    path = kept / f"{_sources_hash(copy)}.json"
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if not path.exists():
                change = QUICK if "AccessLedger" in names else QUICKER
                compiled = compile_all(FOLDER.parent / "node_modules", copy, names, change, solc)
                unfinished = path.with_suffix(".part")
                unfinished.write_text(json.dumps(compiled))
                unfinished.replace(path)
        finally:
            # Not left to the closing: a process that a test forked meanwhile may hold the file too.
            fcntl.flock(lock, fcntl.LOCK_UN)
    changed = {
        name: Artifact(name, raw["abi"], bytes.fromhex(raw["bytecode"]), raw["sourceHash"])
        for name, raw in json.loads(path.read_text()).items()
    }
    return {name: load(name) for name in CONTRACTS} | changed


def _sources_hash(folder: Path) -> str:
    """Of everything that the compiled contracts depend on: their sources, the libraries and how
    they are compiled.
    """
    rest = [FOLDER.parent / "package-lock.json", FOLDER.parent / "chain" / "artifacts.py"]
    texts = [path.read_text() for path in [*sorted(folder.rglob("*.sol")), *rest]]
    return hashlib.sha256(json.dumps([texts, QUICK, QUICKER]).encode()).hexdigest()
