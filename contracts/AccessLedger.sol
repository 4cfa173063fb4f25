// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessLedger, OutputClass} from "./interfaces/IAccessLedger.sol";
import {IConsentRegistry} from "./interfaces/IConsentRegistry.sol";
import {IPermitRegistry, PermitStatus, Role} from "./interfaces/IPermitRegistry.sol";
import {ITrail} from "./interfaces/ITrail.sol";
import {Budget} from "./Budget.sol";
import {Cohort} from "./Cohort.sol";
import {Masks} from "./Masks.sol";
import {Questions} from "./Questions.sol";
import {Reasons} from "./Reasons.sol";
import {Typed} from "./Typed.sol";
import {Words} from "./Words.sol";

/// @title Records, runs, accesses and releases
contract AccessLedger is IAccessLedger, Typed, Budget, Questions {
    using Masks for uint256;
    using Words for uint256[];
    using Words for bytes32[];
    using Words for uint256;

    bytes32 private constant RECORDS_REGISTERED = keccak256(
        "RecordsRegistered(bytes32 ingest,bytes32 dataset,bytes32 leavesRoot,uint32 count,uint8 relaxed,uint40 deadline)"
    );
    bytes32 private constant RUN_REQUEST = keccak256(
        "RunRequest(bytes32 permit,bytes32 paramsHash,bytes32 resultKey,uint256 nonce,uint40 deadline)"
    );
    bytes32 private constant WORKER_BINDING = keccak256(
        "WorkerBinding(bytes32 run,uint32 attempt,bytes32 subjectsHash,bytes32 workerKey,bytes32 codeHash,uint32 leaseSeconds,uint8 relaxed,uint40 deadline)"
    );
    bytes32 private constant SEAL = keccak256(
        "Seal(bytes32 run,uint32 attempt,bytes32 outputCommitment,bytes32 ciphertextHash,bytes32 keyCommitment,bytes32 disclosureCommitment,uint8 outputClass,uint32 statistics,uint40 deadline)"
    );
    bytes32 private constant REVIEW = keccak256(
        "Review(bytes32 run,uint32 attempt,bytes32 viewerKey,uint40 deadline)"
    );
    bytes32 private constant DECISION = keccak256(
        "Decision(bytes32 run,uint32 attempt,bytes32 sealHash,uint8 reason,uint40 deadline)"
    );
    bytes32 private constant CANCEL = keccak256("Cancel(bytes32 run,uint40 deadline)");
    bytes32 private constant VOID_RECORDS = keccak256(
        "VoidRecords(bytes32 ingest,uint40 deadline)"
    );
    bytes32 private constant RESUME = keccak256(
        "Resume(bytes32 run,uint32 attempts,uint40 deadline)"
    );

    uint16 private constant KIND_RECORDS = 32;
    uint16 private constant KIND_REQUEST = 33;
    uint16 private constant KIND_AUTHORISE = 34;
    uint16 private constant KIND_REFUSED = 35;
    uint16 private constant KIND_SEAL = 36;
    uint16 private constant KIND_VIEW = 37;
    uint16 private constant KIND_RELEASE = 38;
    uint16 private constant KIND_RELEASE_REFUSED = 39;
    uint16 private constant KIND_REJECT = 40;
    uint16 private constant KIND_CANCEL = 41;
    uint16 private constant KIND_VOID = 42;
    uint16 private constant KIND_RESUME = 43;

    uint256 private constant MAX_SUBJECTS = 1000;
    uint256 private constant MAX_PARAMS = 2048;
    uint32 private constant MAX_ATTEMPTS = 16; // until the analyst says that it shall go on
    uint8 private constant MAX_MOVES = 8; // to other people or records, for what a run paid

    enum Ended {
        No,
        Cancelled,
        Rejected,
        Released
    }

    /// @dev `moves`: how often an attempt was about other people or records than the one before it.
    struct Run {
        address analyst;
        uint40 deadline;
        uint24 attempts;
        Ended ended;
        uint16 resumed;
        uint8 moves;
        bytes32 permit;
        bytes32 paramsHash;
    }

    /// @dev `spends`: what its release takes of the dataset's budget, in millionths; `records`: the
    /// dataset's state that it reads (Questions).
    struct Attempt {
        address worker;
        uint40 leaseUntil;
        uint16 granted;
        uint24 spends;
        uint16 records;
        bytes32 listHash;
        bytes32 sealHash;
    }

    IPermitRegistry private immutable _permits;
    IConsentRegistry private immutable _consents;
    uint32 public immutable cohortFloor;
    uint32 public immutable maxLease;

    mapping(bytes32 ingest => bytes32 dataset) private _ingests;
    mapping(bytes32 ingest => bool voided) private _voided;
    mapping(bytes32 run => Run stored) private _runs;
    mapping(bytes32 run => mapping(uint32 attempt => Attempt stored)) private _attempts;
    mapping(bytes32 run => mapping(uint32 attempt => mapping(address viewer => bool looked)))
        private _looks;

    constructor(
        bytes32 salt,
        IPermitRegistry permits,
        IConsentRegistry consents,
        ITrail trail,
        uint32 cohortFloor_,
        uint32 maxLease_
    ) Typed(salt, trail) {
        (_permits, _consents) = (permits, consents);
        (cohortFloor, maxLease) = (cohortFloor_, maxLease_);
    }

    /// @inheritdoc IAccessLedger
    function registerRecords(
        RecordsRegistered calldata r,
        bytes calldata custodianSignature
    ) external direct {
        _notAfter(r.deadline);
        address custodian = _signerOf(
            keccak256(abi.encode(RECORDS_REGISTERED, r)),
            custodianSignature
        );
        if (custodian != _permits.custodianOf(r.dataset)) revert NotTheCustodian(custodian);
        _requireLive(custodian, Role.Custodian);
        if (_ingests[r.ingest] != 0) revert IngestExists(r.ingest);
        if (r.count == 0) revert NothingRegistered();
        _ingests[r.ingest] = r.dataset;
        _noteChange(r.dataset);
        emit RecordsSealed(r.ingest, r.dataset, r.leavesRoot, r.count, r.relaxed);
        _append(
            KIND_RECORDS,
            sha256(abi.encode(r.ingest, r.dataset, r.leavesRoot, r.count, r.relaxed))
        );
    }

    /// @inheritdoc IAccessLedger
    function voidRecords(VoidRecords calldata v, bytes[] calldata signatures) external direct {
        _notAfter(v.deadline);
        bytes32 dataset = _ingests[v.ingest];
        if (dataset == 0 || _voided[v.ingest]) revert IngestUnknown(v.ingest);
        address[] memory signers = new address[](signatures.length);
        bytes32 structHash = keccak256(abi.encode(VOID_RECORDS, v));
        for (uint256 i; i < signatures.length; ++i)
            signers[i] = _signerOf(structHash, signatures[i]);
        bool own = signers.length == 1 && signers[0] == _permits.custodianOf(dataset);
        if (own) _requireLive(signers[0], Role.Custodian);
        else if (!_permits.isQuorum(signers)) {
            revert IPermitRegistry.QuorumMissing(signers.length, _permits.quorum());
        }
        _voided[v.ingest] = true;
        _noteChange(dataset);
        emit RecordsVoided(v.ingest, dataset);
        _append(KIND_VOID, sha256(abi.encode(v.ingest, dataset)));
    }

    /// @inheritdoc IAccessLedger
    function requestRun(
        RunRequest calldata r,
        bytes calldata params,
        bytes calldata analystSignature
    ) external direct {
        _notAfter(r.deadline);
        address analyst = _signerOf(keccak256(abi.encode(RUN_REQUEST, r)), analystSignature);
        bytes32 given = sha256(params);
        if (given != r.paramsHash || params.length > MAX_PARAMS)
            revert ParamsMismatch(given, r.paramsHash);
        _requireLive(analyst, Role.Analyst);
        bytes32 run = sha256(abi.encode(analyst, r.nonce));
        if (_runs[run].analyst != address(0)) revert RunExists(run);
        bytes32 message = sha256(abi.encode(run, r)); // of this analyst: nobody else uses it up
        _requireUnused(message);
        IPermitRegistry.Permit memory p = _permits.permitOf(r.permit);
        // Not yet decided: a refusal would use the request up, and whoever sees it could send it
        // before the last vote.
        if (p.status == PermitStatus.None) revert IPermitRegistry.PermitUnknown(r.permit);
        if (p.status == PermitStatus.Requested) revert PermitUndecided(r.permit);
        if (p.applicant != analyst) revert NotTheApplicant(analyst);
        if (!Masks.needValid(p.purposeNeed)) revert NotForResearch(r.permit);
        uint8 reason = _permitReason(p);
        if (reason != 0) {
            _refuse(run, 0, reason, message);
            return;
        }
        _runs[run] = Run(analyst, r.deadline, 0, Ended.No, 0, 0, r.permit, r.paramsHash);
        emit RunRequested(run, r.permit, analyst, r.paramsHash, r.resultKey, r.deadline);
        _append(
            KIND_REQUEST,
            sha256(abi.encode(run, r.permit, analyst, r.paramsHash, r.resultKey, r.deadline))
        );
    }

    /// @inheritdoc IAccessLedger
    function authorise(
        WorkerBinding calldata b,
        bytes calldata workerSignature,
        bytes32[] calldata subjects
    ) external direct returns (bool effective) {
        address worker = _checkBinding(b, workerSignature, subjects);
        bytes32 message = sha256(abi.encode(worker, b)); // of this worker: nobody else uses it up
        _requireUnused(message);
        Run storage run = _runs[b.run];
        IPermitRegistry.Permit memory p = _permits.permitOf(run.permit);
        uint8 reason = _authoriseReason(b, run, p);
        if (reason != 0) return _refuse(b.run, b.attempt, reason, message);
        uint256[] memory slots = Cohort.slots(_consents, p.dataset, subjects);
        Cohort.Tally memory tally = Cohort.count(slots, Cohort.test(p), subjects);
        if (tally.granted == 0 || tally.granted < p.minCohort || tally.granted < cohortFloor) {
            return _refuse(b.run, b.attempt, Reasons.COHORT, message);
        }
        Attempt storage attempt = _attempts[b.run][b.attempt];
        (attempt.records, attempt.listHash) = (_recordsOf(p.dataset), tally.listHash);
        reason = _askFor(b, run, p, attempt);
        if (reason != 0) return _refuse(b.run, b.attempt, reason, message);
        run.attempts = uint24(b.attempt);
        (attempt.worker, attempt.leaseUntil, attempt.granted) = (
            worker,
            _leaseEnd(b.leaseSeconds, p.expiry, tally.lastDay),
            uint16(tally.granted)
        );
        bytes32 body = _record(b, p, subjects, slots, tally.granted);
        emit RunAuthorised(
            b.run,
            b.attempt,
            uint32(tally.granted),
            uint32(subjects.length - tally.granted),
            attempt.leaseUntil,
            b.workerKey,
            attempt.listHash,
            b.relaxed
        );
        _append(KIND_AUTHORISE, body);
        return true;
    }

    /// @inheritdoc IAccessLedger
    function seal(Seal calldata s, bytes calldata workerSignature) external direct {
        _notAfter(s.deadline);
        address worker = _signerOf(keccak256(abi.encode(SEAL, s)), workerSignature);
        Run storage run = _openRun(s.run, s.attempt);
        Attempt storage attempt = _attempts[s.run][s.attempt];
        if (worker != attempt.worker) revert WorkerMismatch(worker);
        _requireLive(worker, Role.Worker);
        if (block.timestamp > attempt.leaseUntil) revert LeaseOver(attempt.leaseUntil);
        if (attempt.sealHash != 0) revert AlreadySealed(s.run);
        IPermitRegistry.Permit memory p = _permits.permitOf(run.permit);
        if (
            s.outputClass == OutputClass.None ||
            s.outputClass == OutputClass.Model ||
            p.outputClasses & (uint16(1) << uint16(s.outputClass)) == 0 ||
            (s.outputClass == OutputClass.Genomic && s.statistics == 0)
        ) revert OutputClassRefused(s.outputClass);
        attempt.spends = _cost(p.dataset, s.statistics, attempt.granted);
        attempt.sealHash = sha256(abi.encode(s));
        emit Sealed(s.run, s.attempt, attempt.sealHash, s);
        _append(KIND_SEAL, sha256(abi.encode(s.run, s.attempt, attempt.sealHash)));
    }

    /// @inheritdoc IAccessLedger
    function viewOutput(Review calldata v, bytes calldata viewerSignature) external direct {
        _notAfter(v.deadline);
        address viewer = _signerOf(keccak256(abi.encode(REVIEW, v)), viewerSignature);
        Run storage run = _openRun(v.run, v.attempt);
        if (viewer == run.analyst) revert CheckerConflict(viewer);
        _requireLive(viewer, Role.Checker);
        if (_attempts[v.run][v.attempt].sealHash == 0) revert NotSealed(v.run);
        bytes32 body = sha256(abi.encode(v.run, v.attempt, viewer, v.viewerKey));
        _requireUnused(body); // an earlier look, sent again, would put the earlier key back
        _use(body);
        _looks[v.run][v.attempt][viewer] = true;
        emit OutputViewed(v.run, v.attempt, viewer, v.viewerKey);
        _append(KIND_VIEW, body);
    }

    /// @inheritdoc IAccessLedger
    function release(
        Decision calldata d,
        bytes32[] calldata subjects,
        uint32[] calldata epochs,
        bytes[2] calldata checkerSignatures
    ) external direct returns (bool done) {
        if (d.reason != 0) revert ReasonInvalid(d.reason);
        bytes32 structHash = _decisionHash(d);
        Run storage run = _openRun(d.run, d.attempt);
        address a = _checker(d, run, structHash, checkerSignatures[0]);
        address b = _checker(d, run, structHash, checkerSignatures[1]);
        if (b <= a) revert IPermitRegistry.SignersNotAscending();
        _requireList(_attempts[d.run][d.attempt].listHash, subjects, epochs);
        IPermitRegistry.Permit memory p = _permits.permitOf(run.permit);
        (bytes32 subject, uint8 reason) = _releaseReason(run, p, subjects, epochs);
        bytes32 message = sha256(abi.encode(d));
        _requireUnused(message);
        if (reason != 0) {
            _use(message);
            emit ReleaseRefused(d.run, d.attempt, subject, reason);
            _append(KIND_RELEASE_REFUSED, sha256(abi.encode(d.run, d.attempt, subject, reason)));
            return false;
        }
        uint256 spends = _attempts[d.run][d.attempt].spends;
        if (spends != 0) _spend(p.dataset, spends);
        run.ended = Ended.Released;
        emit Released(d.run, d.attempt, d.sealHash, a, b);
        _append(KIND_RELEASE, sha256(abi.encode(d.run, d.attempt, d.sealHash, a, b)));
        return true;
    }

    /// @inheritdoc IAccessLedger
    function reject(Decision calldata d, bytes calldata checkerSignature) external direct {
        if (d.reason == 0) revert ReasonInvalid(d.reason);
        Run storage run = _openRun(d.run, d.attempt);
        address checker = _checker(d, run, _decisionHash(d), checkerSignature);
        run.ended = Ended.Rejected;
        emit Rejected(d.run, d.attempt, d.sealHash, checker, d.reason);
        _append(KIND_REJECT, sha256(abi.encode(d.run, d.attempt, d.sealHash, checker, d.reason)));
    }

    /// @inheritdoc IAccessLedger
    function cancel(Cancel calldata c, bytes calldata analystSignature) external direct {
        _notAfter(c.deadline);
        address analyst = _signerOf(
            keccak256(abi.encode(CANCEL, c.run, c.deadline)),
            analystSignature
        );
        Run storage run = _knownRun(c.run);
        if (run.ended != Ended.No) revert RunEnded(c.run);
        if (analyst != run.analyst) revert NotTheAnalyst(analyst);
        run.ended = Ended.Cancelled;
        emit RunCancelled(c.run);
        _append(KIND_CANCEL, sha256(abi.encode(c.run)));
    }

    /// @inheritdoc IAccessLedger
    function resume(Resume calldata r, bytes calldata analystSignature) external direct {
        _notAfter(r.deadline);
        address analyst = _signerOf(keccak256(abi.encode(RESUME, r)), analystSignature);
        Run storage run = _knownRun(r.run);
        if (run.ended != Ended.No) revert RunEnded(r.run);
        if (analyst != run.analyst) revert NotTheAnalyst(analyst);
        _requireLive(analyst, Role.Analyst);
        if (r.attempts != run.attempts || r.attempts != _mostAttempts(run)) {
            revert AttemptOutOfOrder(r.attempts, run.attempts);
        }
        ++run.resumed;
        emit RunResumed(r.run, r.attempts);
        _append(KIND_RESUME, sha256(abi.encode(r.run, r.attempts)));
    }

    /// @inheritdoc IAccessLedger
    function runOf(
        bytes32 run
    ) external view returns (address analyst, bytes32 permit, uint32 attempts, bool ended) {
        Run storage stored = _runs[run];
        return (stored.analyst, stored.permit, stored.attempts, stored.ended != Ended.No);
    }

    /// @inheritdoc IAccessLedger
    function spentOf(bytes32 dataset) external view returns (uint256 millionths) {
        return _spent[dataset];
    }

    /// @inheritdoc IAccessLedger
    function questionsOf(
        bytes32 permit,
        bytes32 dataset
    ) external view returns (uint256 under, uint256 about) {
        return (_askedUnder[permit], _askedOf[dataset]);
    }

    /// @dev Everything about a binding that is malformed, a stranger's or a repetition: these
    /// revert.
    function _checkBinding(
        WorkerBinding calldata b,
        bytes calldata signature,
        bytes32[] calldata subjects
    ) private view returns (address worker) {
        _notAfter(b.deadline);
        worker = _signerOf(keccak256(abi.encode(WORKER_BINDING, b)), signature);
        _requireLive(worker, Role.Worker);
        Run storage run = _knownRun(b.run);
        if (run.ended == Ended.Rejected || run.ended == Ended.Released) revert RunEnded(b.run);
        if (b.attempt != run.attempts + 1 || b.attempt > _mostAttempts(run)) {
            revert AttemptOutOfOrder(b.attempt, run.attempts + 1);
        }
        if (subjects.length > MAX_SUBJECTS) revert TooManySubjects(subjects.length);
        bytes32 given = sha256(abi.encodePacked(subjects));
        if (given != b.subjectsHash) revert ListMismatch(given, b.subjectsHash);
        bytes32 previous;
        for (uint256 i; i < subjects.length; ++i) {
            bytes32 subject = subjects.get(i);
            if (subject <= previous) revert NotAscending(i);
            previous = subject;
        }
    }

    function _authoriseReason(
        WorkerBinding calldata b,
        Run storage run,
        IPermitRegistry.Permit memory p
    ) private view returns (uint8) {
        if (run.ended == Ended.Cancelled) return Reasons.CANCELLED;
        if (block.timestamp > run.deadline) return Reasons.DEADLINE;
        if (b.codeHash != p.codeHash) return Reasons.CODE;
        if (!_permits.isLive(run.analyst, Role.Analyst)) return Reasons.ANALYST_ROLE;
        return _permitReason(p);
    }

    /// @dev Counts the question of an attempt. What a run paid goes on to its later attempts about
    /// others: who withdraws while it waits costs its analyst nothing. But not for ever, since each
    /// attempt shows for nothing how the run goes about these people.
    function _askFor(
        WorkerBinding calldata b,
        Run storage run,
        IPermitRegistry.Permit memory p,
        Attempt storage attempt
    ) private returns (uint8 reason) {
        Attempt storage earlier = _attempts[b.run][b.attempt - 1];
        if (earlier.listHash == attempt.listHash && earlier.records == attempt.records) return 0;
        bytes32 question = _questionOf(run, attempt);
        if (b.attempt > 1) {
            if (run.moves == MAX_MOVES) return Reasons.RUN_MOVED;
            if (_move(run.permit, _questionOf(run, earlier), question, b.run)) {
                ++run.moves;
                return 0;
            }
        }
        reason = _questionReason(run.permit, p, question);
        if (reason != 0) return reason;
        if (b.attempt > 1) ++run.moves;
        _ask(run.permit, p.dataset, question, b.run);
    }

    function _questionOf(Run storage run, Attempt storage attempt) private view returns (bytes32) {
        return _question(run.paramsHash, attempt.records, attempt.listHash);
    }

    /// @dev Of a permit that was decided on; before that there is no run.
    function _permitReason(IPermitRegistry.Permit memory p) private view returns (uint8) {
        if (p.status == PermitStatus.Suspended) return Reasons.PERMIT_SUSPENDED;
        if (p.status == PermitStatus.Rejected) return Reasons.PERMIT_REJECTED;
        return block.timestamp < p.expiry ? 0 : Reasons.PERMIT_EXPIRED;
    }

    function _mostAttempts(Run storage run) private view returns (uint32) {
        return MAX_ATTEMPTS * (uint32(run.resumed) + 1);
    }

    function _leaseEnd(
        uint32 leaseSeconds,
        uint40 expiry,
        uint256 lastDay
    ) private view returns (uint40) {
        uint256 end = block.timestamp + (leaseSeconds < maxLease ? leaseSeconds : maxLease);
        if (end > expiry) end = expiry;
        uint256 consentEnd = (lastDay + 1) * 1 days;
        return uint40(end > consentEnd ? consentEnd : end);
    }

    /// @dev Emits one event a person; granted words grow from the front, denied ones stand behind
    /// them.
    function _record(
        WorkerBinding calldata b,
        IPermitRegistry.Permit memory p,
        bytes32[] calldata subjects,
        uint256[] memory slots,
        uint256 granted
    ) private returns (bytes32 body) {
        Cohort.Test memory test = Cohort.test(p);
        bytes32[] memory words = new bytes32[](2 + 2 * subjects.length);
        (words[0], words[1]) = (b.run, bytes32((uint256(b.relaxed) << 32) | b.attempt));
        (uint256 inGranted, uint256 inDenied) = (words.at(2), words.at(2 + 2 * granted));
        bytes32 run = b.run;
        uint256 attempt = uint256(b.attempt) << 56;
        for (uint256 i; i < slots.length; ++i) {
            (bytes32 subject, uint256 slot) = (subjects.get(i), slots.get(i));
            if (slot.holds(test.mask, test.want, test.today)) {
                uint256 packed = attempt | ((slot >> 192) & type(uint56).max);
                emit AccessGranted(run, subject, packed);
                inGranted = inGranted.put(subject, packed);
            } else {
                uint8 reason = _denialReason(subject, slot, p.purposeNeed, test.today);
                emit AccessDenied(run, subject, b.attempt, reason);
                inDenied = inDenied.put(subject, reason);
            }
        }
        return words.hash(words.length);
    }

    function _denialReason(
        bytes32 subject,
        uint256 slot,
        uint32 need,
        uint256 today
    ) private view returns (uint8) {
        // Only the enrolled have ever written to a slot, so a second storage read is for empty
        // ones.
        if (slot == 0 && _consents.signerHashOf(subject) == 0) return Reasons.NOT_ENROLLED;
        return slot.whyNot(need, today);
    }

    /// @dev The analyst's role, the permit, and the predicate again with the epoch that the receipt
    /// named: one unwilling person stops the release.
    function _releaseReason(
        Run storage run,
        IPermitRegistry.Permit memory p,
        bytes32[] calldata subjects,
        uint32[] calldata epochs
    ) private view returns (bytes32, uint8) {
        if (!_permits.isLive(run.analyst, Role.Analyst)) return (0, Reasons.ANALYST_ROLE);
        uint8 reason = _permitReason(p);
        if (reason != 0) return (0, reason);
        uint256[] memory slots = Cohort.slots(_consents, p.dataset, subjects);
        Cohort.Test memory test = Cohort.test(p);
        for (uint256 i; i < subjects.length; ++i) {
            if (!slots[i].holds(test.mask, test.want, test.today)) {
                return (
                    subjects[i],
                    _denialReason(subjects[i], slots[i], p.purposeNeed, test.today)
                );
            }
            if (slots[i].epochOf() != epochs[i]) return (subjects[i], Reasons.CONSENT_CHANGED);
        }
        return (0, 0);
    }

    function _requireList(
        bytes32 stored,
        bytes32[] calldata subjects,
        uint32[] calldata epochs
    ) private view {
        bytes32[] memory list = new bytes32[](2 * subjects.length);
        for (uint256 i; i < subjects.length && i < epochs.length; ++i) {
            (list[2 * i], list[2 * i + 1]) = (subjects[i], bytes32(uint256(epochs[i])));
        }
        bytes32 given = list.hash(list.length);
        if (given != stored || subjects.length != epochs.length) revert ListMismatch(given, stored);
    }

    /// @dev A live checker who looked at this very seal and did not ask for it.
    function _checker(
        Decision calldata d,
        Run storage run,
        bytes32 structHash,
        bytes calldata signature
    ) private view returns (address checker) {
        checker = _signerOf(structHash, signature);
        if (checker == run.analyst) revert CheckerConflict(checker);
        _requireLive(checker, Role.Checker);
        bytes32 stored = _attempts[d.run][d.attempt].sealHash;
        if (stored == 0) revert NotSealed(d.run);
        if (d.sealHash != stored) revert SealMismatch(d.sealHash, stored);
        if (!_looks[d.run][d.attempt][checker]) revert NotViewed(checker);
    }

    function _decisionHash(Decision calldata d) private view returns (bytes32) {
        _notAfter(d.deadline);
        return keccak256(abi.encode(DECISION, d));
    }

    function _knownRun(bytes32 run) private view returns (Run storage stored) {
        stored = _runs[run];
        if (stored.analyst == address(0)) revert RunUnknown(run);
    }

    function _openRun(bytes32 run, uint32 attempt) private view returns (Run storage stored) {
        stored = _knownRun(run);
        if (stored.ended != Ended.No) revert RunEnded(run);
        if (attempt == 0 || attempt != stored.attempts) revert NotNewestAttempt(attempt);
    }

    function _requireLive(address account, Role role) private view {
        if (!_permits.isLive(account, role)) revert IPermitRegistry.NotLive(account, role);
    }

    /// @param message The refused one, which anybody may send again.
    function _refuse(
        bytes32 run,
        uint32 attempt,
        uint8 reason,
        bytes32 message
    ) private returns (bool) {
        _use(message);
        emit RunRefused(run, attempt, reason);
        _append(KIND_REFUSED, sha256(abi.encode(run, attempt, reason)));
        return false;
    }
}
