// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessLedger, OutputClass} from "./interfaces/IAccessLedger.sol";
import {ICareLedger} from "./interfaces/ICareLedger.sol";
import {IConsentRegistry} from "./interfaces/IConsentRegistry.sol";
import {IPermitRegistry, PermitStatus, Role} from "./interfaces/IPermitRegistry.sol";
import {ITrail} from "./interfaces/ITrail.sol";
import {Masks} from "./Masks.sol";
import {Reasons} from "./Reasons.sol";
import {Typed} from "./Typed.sol";

/// @title Appointments of clinicians, and plans drawn from one patient's records
/// @notice Apart from AccessLedger: nothing that is asked here can be research, and nothing there
/// can be about one person.
contract CareLedger is ICareLedger, Typed {
    using Masks for uint256;

    bytes32 private constant APPOINT = keccak256(
        "Appoint(bytes32 subject,bytes32 dataset,bytes32 clinician,uint32 epoch,uint24 replaces,uint24 untilDay,bool resultToMe,bytes32 noticeHash,uint40 deadline)"
    );
    bytes32 private constant PLAN_REQUEST = keccak256(
        "PlanRequest(bytes32 permit,bytes32 subject,bytes32 salt,bytes32 paramsHash,uint256 nonce,uint40 deadline)"
    );
    bytes32 private constant PLAN_BINDING = keccak256(
        "PlanBinding(bytes32 run,uint32 attempt,bytes32 workerKey,bytes32 codeHash,uint32 leaseSeconds,uint8 relaxed,uint40 deadline)"
    );
    bytes32 private constant PLAN_SEAL = keccak256(
        "PlanSeal(bytes32 run,uint32 attempt,bytes32 outputCommitment,bytes32 ciphertextHash,bytes32 keyCommitment,bytes32 disclosureCommitment,uint8 outputClass,uint40 deadline)"
    );
    bytes32 private constant PLAN_VIEW = keccak256(
        "PlanView(bytes32 run,uint32 attempt,bytes32 viewerKey,uint40 deadline)"
    );
    bytes32 private constant COUNTERSIGN = keccak256(
        "Countersign(bytes32 run,uint32 attempt,bytes32 sealHash,bytes32 notesHash,uint40 deadline)"
    );
    bytes32 private constant PLAN_OPENING = keccak256(
        "PlanOpening(bytes32 run,uint32 attempt,bytes32 viewerKey,uint40 deadline)"
    );
    bytes32 private constant PLAN_END = keccak256("PlanEnd(bytes32 run,uint40 deadline)");

    uint16 private constant KIND_APPOINT = 48;
    uint16 private constant KIND_REQUEST = 49;
    uint16 private constant KIND_AUTHORISE = 50;
    uint16 private constant KIND_REFUSED = 51;
    uint16 private constant KIND_SEAL = 52;
    uint16 private constant KIND_VIEW = 53;
    uint16 private constant KIND_COUNTERSIGN = 54;
    uint16 private constant KIND_COUNTERSIGN_REFUSED = 55;
    uint16 private constant KIND_OPEN = 56;
    uint16 private constant KIND_END = 57;

    uint256 private constant MAX_PARAMS = 2048;
    uint32 private constant MAX_ATTEMPTS = 16;

    enum Ended {
        No,
        Cancelled,
        Countersigned
    }

    struct Appointment {
        bytes32 clinician;
        uint32 epoch;
        uint24 version;
        uint24 untilDay;
        bool resultToMe;
    }

    /// @dev `appointed`: whom the clinician showed that he is. From `worker` on, of the newest
    /// attempt; `epoch`: of her consent when it was authorised.
    struct Plan {
        address clinician;
        uint40 deadline;
        uint24 attempts;
        Ended ended;
        bytes32 permit;
        bytes32 subject;
        bytes32 appointed;
        address worker;
        uint40 leaseUntil;
        uint32 epoch;
        bool viewed;
        bytes32 sealHash;
    }

    IPermitRegistry private immutable _permits;
    IConsentRegistry private immutable _consents;
    uint32 private immutable _maxLease;

    mapping(bytes32 dataset => mapping(bytes32 subject => Appointment stored))
        private _appointments;
    mapping(bytes32 run => Plan stored) private _plans;

    constructor(
        bytes32 salt,
        IPermitRegistry permits,
        IConsentRegistry consents,
        ITrail trail,
        uint32 maxLease_
    ) Typed(salt, trail) {
        (_permits, _consents, _maxLease) = (permits, consents, maxLease_);
    }

    /// @inheritdoc ICareLedger
    function appoint(
        Appoint calldata a,
        bytes calldata signer,
        bytes calldata signature
    ) external direct {
        _notAfter(a.deadline);
        _ownSigner(a.subject, signer, keccak256(abi.encode(APPOINT, a)), signature);
        if (_permits.custodianOf(a.dataset) == address(0))
            revert IPermitRegistry.DatasetUnknown(a.dataset);
        Appointment storage old = _appointments[a.dataset][a.subject];
        if (a.replaces != old.version)
            revert IConsentRegistry.VersionStale(a.replaces, old.version);
        uint256 slot = _consents.slotOf(a.subject, a.dataset);
        if (a.epoch != slot.epochOf()) revert IConsentRegistry.EpochStale(a.epoch, slot.epochOf());
        // An appointment that only ends one needs no consent.
        if (a.untilDay >= _today()) {
            uint8 reason = _consentReason(a.subject, slot, type(uint32).max);
            if (reason != 0) revert AppointmentInvalid(reason);
        }
        _appointments[a.dataset][a.subject] = Appointment(
            a.clinician,
            a.epoch,
            a.replaces + 1,
            a.untilDay,
            a.resultToMe
        );
        emit Appointed(
            a.subject,
            a.dataset,
            a.clinician,
            a.epoch,
            a.replaces + 1,
            a.untilDay,
            a.resultToMe,
            a.noticeHash
        );
        _append(KIND_APPOINT, sha256(abi.encode(a)));
    }

    /// @inheritdoc ICareLedger
    function requestPlan(
        PlanRequest calldata r,
        bytes calldata params,
        bytes calldata clinicianSignature
    ) external direct {
        _notAfter(r.deadline);
        address clinician = _signerOf(keccak256(abi.encode(PLAN_REQUEST, r)), clinicianSignature);
        bytes32 given = sha256(params);
        if (given != r.paramsHash || params.length > MAX_PARAMS)
            revert IAccessLedger.ParamsMismatch(given, r.paramsHash);
        _requireLive(clinician, Role.Clinician);
        bytes32 run = sha256(abi.encode(r.permit, clinician, r.nonce));
        if (_plans[run].clinician != address(0)) revert IAccessLedger.RunExists(run);
        _begin(run, r, clinician);
    }

    /// @inheritdoc ICareLedger
    function authorisePlan(
        PlanBinding calldata b,
        bytes calldata workerSignature
    ) external direct returns (bool effective) {
        _notAfter(b.deadline);
        address worker = _signerOf(keccak256(abi.encode(PLAN_BINDING, b)), workerSignature);
        _requireLive(worker, Role.Worker);
        Plan storage plan = _planInForce(b.run);
        if (b.attempt != plan.attempts + 1 || b.attempt > MAX_ATTEMPTS)
            revert IAccessLedger.AttemptOutOfOrder(b.attempt, plan.attempts + 1);
        bytes32 message = sha256(abi.encode(worker, b)); // of this worker: nobody else uses it up
        _requireUnused(message);
        IPermitRegistry.Permit memory p = _permits.permitOf(plan.permit);
        uint256 slot = _consents.slotOf(plan.subject, p.dataset);
        uint8 reason;
        if (block.timestamp > plan.deadline) reason = Reasons.DEADLINE;
        else if (b.codeHash != p.codeHash) reason = Reasons.CODE;
        else reason = _reason(plan, p, slot);
        if (reason != 0) {
            _use(message);
            emit IAccessLedger.RunRefused(b.run, b.attempt, reason);
            _append(KIND_REFUSED, sha256(abi.encode(b.run, b.attempt, reason)));
            return false;
        }
        _grant(b, plan, worker, p, slot);
        return true;
    }

    /// @inheritdoc ICareLedger
    function sealPlan(PlanSeal calldata s, bytes calldata workerSignature) external direct {
        _notAfter(s.deadline);
        address worker = _signerOf(keccak256(abi.encode(PLAN_SEAL, s)), workerSignature);
        Plan storage plan = _newest(s.run, s.attempt);
        if (worker != plan.worker) revert IAccessLedger.WorkerMismatch(worker);
        _requireLive(worker, Role.Worker);
        if (block.timestamp > plan.leaseUntil) revert IAccessLedger.LeaseOver(plan.leaseUntil);
        if (plan.sealHash != 0) revert IAccessLedger.AlreadySealed(s.run);
        if (s.outputClass != uint8(OutputClass.Individual))
            revert IAccessLedger.OutputClassRefused(OutputClass(s.outputClass));
        plan.sealHash = sha256(abi.encode(s));
        emit IAccessLedger.Sealed(
            s.run,
            s.attempt,
            plan.sealHash,
            IAccessLedger.Seal(
                s.run,
                s.attempt,
                s.outputCommitment,
                s.ciphertextHash,
                s.keyCommitment,
                s.disclosureCommitment,
                OutputClass.Individual,
                0,
                s.deadline
            )
        );
        _append(KIND_SEAL, sha256(abi.encode(s.run, s.attempt, plan.sealHash)));
    }

    /// @inheritdoc ICareLedger
    function viewPlan(PlanView calldata v, bytes calldata clinicianSignature) external direct {
        _notAfter(v.deadline);
        address clinician = _signerOf(keccak256(abi.encode(PLAN_VIEW, v)), clinicianSignature);
        Plan storage plan = _sealed(v.run, v.attempt, clinician);
        if (plan.ended == Ended.Cancelled) revert IAccessLedger.RunEnded(v.run);
        uint8 reason = _reasonNow(plan);
        if (reason != 0) revert AppointmentInvalid(reason);
        bytes32 body = sha256(abi.encode(v.run, v.attempt, clinician, v.viewerKey));
        _requireUnused(body); // an earlier look, sent again, would put the earlier key back
        _use(body);
        plan.viewed = true;
        emit IAccessLedger.OutputViewed(v.run, v.attempt, clinician, v.viewerKey);
        _append(KIND_VIEW, body);
    }

    /// @inheritdoc ICareLedger
    function countersign(
        Countersign calldata c,
        bytes calldata clinicianSignature
    ) external direct returns (bool done) {
        _notAfter(c.deadline);
        address clinician = _signerOf(keccak256(abi.encode(COUNTERSIGN, c)), clinicianSignature);
        Plan storage plan = _sealed(c.run, c.attempt, clinician);
        if (plan.ended != Ended.No) revert IAccessLedger.RunEnded(c.run);
        if (c.sealHash != plan.sealHash)
            revert IAccessLedger.SealMismatch(c.sealHash, plan.sealHash);
        if (!plan.viewed) revert IAccessLedger.NotViewed(clinician);
        bytes32 message = sha256(abi.encode(c));
        _requireUnused(message);
        uint8 reason = _reasonNow(plan);
        if (reason != 0) {
            _use(message);
            emit IAccessLedger.ReleaseRefused(c.run, c.attempt, plan.subject, reason);
            _append(
                KIND_COUNTERSIGN_REFUSED,
                sha256(abi.encode(c.run, c.attempt, plan.subject, reason))
            );
            return false;
        }
        plan.ended = Ended.Countersigned;
        emit Countersigned(c.run, c.attempt, c.sealHash, clinician, c.notesHash);
        _append(
            KIND_COUNTERSIGN,
            sha256(abi.encode(c.run, c.attempt, c.sealHash, clinician, c.notesHash))
        );
        return true;
    }

    /// @inheritdoc ICareLedger
    function openPlan(
        PlanOpening calldata o,
        bytes calldata signer,
        bytes calldata signature
    ) external direct {
        _notAfter(o.deadline);
        Plan storage plan = _plans[o.run];
        if (plan.clinician == address(0)) revert IAccessLedger.RunUnknown(o.run);
        _ownSigner(plan.subject, signer, keccak256(abi.encode(PLAN_OPENING, o)), signature);
        if (plan.ended != Ended.Countersigned) revert NotCountersigned(o.run);
        if (o.attempt != plan.attempts) revert IAccessLedger.NotNewestAttempt(o.attempt);
        IPermitRegistry.Permit memory p = _permits.permitOf(plan.permit);
        if (!_appointments[p.dataset][plan.subject].resultToMe) revert NotHerPlan(o.run);
        uint8 reason = _consentReason(
            plan.subject,
            _consents.slotOf(plan.subject, p.dataset),
            p.categories
        );
        if (reason != 0) revert AppointmentInvalid(reason);
        address viewer = address(bytes20(signer));
        bytes32 body = sha256(abi.encode(o.run, o.attempt, viewer, o.viewerKey));
        _requireUnused(body);
        _use(body);
        emit PlanOpened(o.run, o.attempt, viewer, o.viewerKey);
        _append(KIND_OPEN, body);
    }

    /// @inheritdoc ICareLedger
    function endPlan(PlanEnd calldata e, bytes calldata clinicianSignature) external direct {
        _notAfter(e.deadline);
        address clinician = _signerOf(keccak256(abi.encode(PLAN_END, e)), clinicianSignature);
        Plan storage plan = _planInForce(e.run);
        if (clinician != plan.clinician) revert NotTheClinician(clinician);
        plan.ended = Ended.Cancelled;
        emit IAccessLedger.RunCancelled(e.run);
        _append(KIND_END, sha256(abi.encode(e.run)));
    }

    /// @inheritdoc ICareLedger
    function appointmentOf(
        bytes32 subject,
        bytes32 dataset
    ) external view returns (bytes32, uint32, uint24, uint24, bool) {
        Appointment storage a = _appointments[dataset][subject];
        return (a.clinician, a.epoch, a.version, a.untilDay, a.resultToMe);
    }

    /// @inheritdoc ICareLedger
    function planOf(bytes32 run) external view returns (address, bytes32, bytes32, uint32, uint8) {
        Plan storage plan = _plans[run];
        return (plan.clinician, plan.permit, plan.subject, plan.attempts, uint8(plan.ended));
    }

    /// @dev The record of the access: her epoch and version go into it as they are read.
    function _grant(
        PlanBinding calldata b,
        Plan storage plan,
        address worker,
        IPermitRegistry.Permit memory p,
        uint256 slot
    ) private {
        (plan.attempts, plan.worker, plan.viewed) = (uint24(b.attempt), worker, false);
        (plan.epoch, plan.sealHash) = (slot.epochOf(), 0);
        plan.leaseUntil = _leaseEnd(
            b.leaseSeconds,
            p.expiry,
            slot.untilDayOf(),
            _appointments[p.dataset][plan.subject].untilDay
        );
        uint256 packed = (uint256(b.attempt) << 56) | ((slot >> 192) & type(uint56).max);
        emit IAccessLedger.AccessGranted(b.run, plan.subject, packed);
        emit IAccessLedger.RunAuthorised(
            b.run,
            b.attempt,
            1,
            0,
            plan.leaseUntil,
            b.workerKey,
            sha256(abi.encode(plan.subject, plan.epoch)),
            b.relaxed
        );
        _append(
            KIND_AUTHORISE,
            sha256(abi.encode(b.run, (uint256(b.relaxed) << 32) | b.attempt, plan.subject, packed))
        );
    }

    function _begin(bytes32 run, PlanRequest calldata r, address clinician) private {
        bytes32 appointed = _appointed(r, clinician);
        Plan storage plan = _plans[run];
        (plan.clinician, plan.deadline, plan.permit) = (clinician, r.deadline, r.permit);
        (plan.subject, plan.appointed) = (r.subject, appointed);
        emit PlanRequested(run, r.permit, clinician, r.subject, r.paramsHash, r.deadline);
        _append(
            KIND_REQUEST,
            sha256(abi.encode(run, r.permit, clinician, r.subject, r.paramsHash, r.deadline))
        );
    }

    /// @dev Whom she appointed, and he showed that he is; he asks under a care permit of his own.
    function _appointed(
        PlanRequest calldata r,
        address clinician
    ) private view returns (bytes32 appointed) {
        IPermitRegistry.Permit memory p = _permits.permitOf(r.permit);
        if (p.applicant != clinician) revert IAccessLedger.NotTheApplicant(clinician);
        if (
            p.purposeNeed != Masks.CARE ||
            p.status != PermitStatus.Approved ||
            block.timestamp >= p.expiry
        ) revert NotForCare(r.permit);
        appointed = sha256(abi.encode(clinician, r.salt));
        if (appointed != _appointments[p.dataset][r.subject].clinician)
            revert NotAppointed(clinician);
    }

    /// @dev Why the plan must not be drawn, viewed or countersigned now: the clinician's role, the
    /// permit, her consent, and the appointment, which her consent's epoch binds.
    function _reason(
        Plan storage plan,
        IPermitRegistry.Permit memory p,
        uint256 slot
    ) private view returns (uint8) {
        if (!_permits.isLive(plan.clinician, Role.Clinician)) return Reasons.CLINICIAN_ROLE;
        if (p.status != PermitStatus.Approved) return Reasons.PERMIT_SUSPENDED;
        if (block.timestamp >= p.expiry) return Reasons.PERMIT_EXPIRED;
        uint8 reason = _consentReason(plan.subject, slot, p.categories);
        if (reason != 0) return reason;
        Appointment storage a = _appointments[p.dataset][plan.subject];
        bool live =
            a.clinician == plan.appointed && a.epoch == slot.epochOf() && _today() <= a.untilDay;
        return live ? 0 : Reasons.APPOINTMENT;
    }

    /// @dev As `_reason`, after an attempt was authorised: also whether her consent is still the one
    /// of then.
    function _reasonNow(Plan storage plan) private view returns (uint8 reason) {
        IPermitRegistry.Permit memory p = _permits.permitOf(plan.permit);
        uint256 slot = _consents.slotOf(plan.subject, p.dataset);
        reason = _reason(plan, p, slot);
        if (reason == 0 && slot.epochOf() != plan.epoch) return Reasons.CONSENT_CHANGED;
    }

    /// @dev Whether she allows her own care now, with at least one of these categories: what she
    /// leaves out is not opened, and the plan says so.
    function _consentReason(
        bytes32 subject,
        uint256 slot,
        uint32 categories
    ) private view returns (uint8) {
        if (slot == 0 && _consents.signerHashOf(subject) == 0) return Reasons.NOT_ENROLLED;
        uint256 today = _today();
        if (!slot.holds(Masks.mask(Masks.CARE, 0), Masks.want(Masks.CARE, 0), today))
            return slot.whyNot(Masks.CARE, today);
        return slot.categoriesOf() & categories == 0 ? Reasons.CATEGORY : 0;
    }

    /// @dev Her enrolled key signed.
    function _ownSigner(
        bytes32 subject,
        bytes calldata signer,
        bytes32 structHash,
        bytes calldata signature
    ) private view {
        bytes32 stored = _consents.signerHashOf(subject);
        if (stored == 0) revert IConsentRegistry.NotEnrolled(subject);
        if (keccak256(signer) != stored) revert IConsentRegistry.SignerMismatch();
        if (_signerOf(structHash, signature) != address(bytes20(signer))) revert SignatureInvalid();
    }

    function _leaseEnd(
        uint32 leaseSeconds,
        uint40 expiry,
        uint256 consentDay,
        uint256 appointmentDay
    ) private view returns (uint40) {
        uint256 end = block.timestamp + (leaseSeconds < _maxLease ? leaseSeconds : _maxLease);
        if (end > expiry) end = expiry;
        uint256 day = consentDay < appointmentDay ? consentDay : appointmentDay;
        uint256 lastSecond = (day + 1) * 1 days;
        return uint40(end > lastSecond ? lastSecond : end);
    }

    function _today() private view returns (uint256) {
        return block.timestamp / 1 days;
    }

    function _planInForce(bytes32 run) private view returns (Plan storage plan) {
        plan = _plans[run];
        if (plan.clinician == address(0)) revert IAccessLedger.RunUnknown(run);
        if (plan.ended != Ended.No) revert IAccessLedger.RunEnded(run);
    }

    function _newest(bytes32 run, uint32 attempt) private view returns (Plan storage plan) {
        plan = _planInForce(run);
        if (attempt == 0 || attempt != plan.attempts)
            revert IAccessLedger.NotNewestAttempt(attempt);
    }

    /// @dev The newest attempt's sealed plan, for the clinician who asked for it.
    function _sealed(
        bytes32 run,
        uint32 attempt,
        address clinician
    ) private view returns (Plan storage plan) {
        plan = _plans[run];
        if (plan.clinician == address(0)) revert IAccessLedger.RunUnknown(run);
        if (clinician != plan.clinician) revert NotTheClinician(clinician);
        if (attempt == 0 || attempt != plan.attempts)
            revert IAccessLedger.NotNewestAttempt(attempt);
        if (plan.sealHash == 0) revert IAccessLedger.NotSealed(run);
    }

    function _requireLive(address account, Role role) private view {
        if (!_permits.isLive(account, role)) revert IPermitRegistry.NotLive(account, role);
    }
}
