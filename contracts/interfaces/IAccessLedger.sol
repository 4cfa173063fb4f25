// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

enum OutputClass {
    None,
    Metrics,
    Table,
    Genomic,
    Model,
    Individual
}

/// @notice Records, runs, accesses and releases. The consent check and the access record are one
/// transaction. A refusal with a business reason is an event, never a revert; reason codes in
/// docs/reasons.md.
interface IAccessLedger {
    struct RecordsRegistered {
        bytes32 ingest;
        bytes32 dataset;
        bytes32 leavesRoot;
        uint32 count;
        uint8 relaxed;
        uint40 deadline;
    }
    struct VoidRecords {
        bytes32 ingest;
        uint40 deadline;
    }
    struct RunRequest {
        bytes32 permit;
        bytes32 paramsHash;
        bytes32 resultKey;
        uint256 nonce;
        uint40 deadline;
    }
    struct WorkerBinding {
        bytes32 run;
        uint32 attempt;
        bytes32 subjectsHash;
        bytes32 workerKey;
        bytes32 codeHash;
        uint32 leaseSeconds;
        uint8 relaxed;
        uint40 deadline;
    }
    struct Seal {
        bytes32 run;
        uint32 attempt;
        bytes32 outputCommitment;
        bytes32 ciphertextHash;
        bytes32 keyCommitment;
        bytes32 disclosureCommitment;
        OutputClass outputClass;
        uint32 statistics;
        uint40 deadline;
    }
    struct Review {
        bytes32 run;
        uint32 attempt;
        bytes32 viewerKey;
        uint40 deadline;
    }
    struct Decision {
        bytes32 run;
        uint32 attempt;
        bytes32 sealHash;
        uint8 reason;
        uint40 deadline;
    }
    struct Cancel {
        bytes32 run;
        uint40 deadline;
    }
    struct Resume {
        bytes32 run;
        uint32 attempts;
        uint40 deadline;
    }

    /// @param relaxed Protections that the custodian's machine did not have, as bits
    /// (docs/ledger.md); 0: none is missing.
    event RecordsSealed(
        bytes32 indexed ingest,
        bytes32 indexed dataset,
        bytes32 leavesRoot,
        uint32 count,
        uint8 relaxed
    );
    event RecordsVoided(bytes32 indexed ingest, bytes32 indexed dataset);
    event RunRequested(
        bytes32 indexed run,
        bytes32 indexed permit,
        address indexed analyst,
        bytes32 paramsHash,
        bytes32 resultKey,
        uint40 deadline
    );
    /// @param attemptEpochVersion attempt << 56 | epoch << 24 | version
    event AccessGranted(bytes32 indexed run, bytes32 indexed subject, uint256 attemptEpochVersion);
    event AccessDenied(bytes32 indexed run, bytes32 indexed subject, uint32 attempt, uint8 reason);
    event RunRefused(bytes32 indexed run, uint32 attempt, uint8 reason);
    event RunAuthorised(
        bytes32 indexed run,
        uint32 attempt,
        uint32 granted,
        uint32 denied,
        uint40 leaseUntil,
        bytes32 workerKey,
        bytes32 listHash,
        uint8 relaxed
    );
    event Sealed(bytes32 indexed run, uint32 attempt, bytes32 sealHash, Seal sealedOutput);
    event OutputViewed(
        bytes32 indexed run,
        uint32 attempt,
        address indexed viewer,
        bytes32 viewerKey
    );
    event Released(
        bytes32 indexed run,
        uint32 attempt,
        bytes32 sealHash,
        address checkerA,
        address checkerB
    );
    event ReleaseRefused(bytes32 indexed run, uint32 attempt, bytes32 subject, uint8 reason);
    event Rejected(
        bytes32 indexed run,
        uint32 attempt,
        bytes32 sealHash,
        address checker,
        uint8 reason
    );
    event RunCancelled(bytes32 indexed run);
    event RunResumed(bytes32 indexed run, uint32 attempts);

    error NotAscending(uint256 index);
    error TooManySubjects(uint256 count);
    error AttemptOutOfOrder(uint32 named, uint32 next);
    error ListMismatch(bytes32 given, bytes32 stored);
    error NotNewestAttempt(uint32 attempt);
    error CheckerConflict(address checker);
    error RunExists(bytes32 run);
    error RunUnknown(bytes32 run);
    error RunEnded(bytes32 run);
    error WorkerMismatch(address worker);
    error LeaseOver(uint40 leaseUntil);
    error NotViewed(address checker);
    error NotSealed(bytes32 run);
    error AlreadySealed(bytes32 run);
    error SealMismatch(bytes32 given, bytes32 stored);
    error OutputClassRefused(OutputClass outputClass);
    error ParamsMismatch(bytes32 given, bytes32 named);
    error NotTheApplicant(address signer);
    error PermitUndecided(bytes32 permit);
    error NotForResearch(bytes32 permit);
    error NotTheAnalyst(address signer);
    error NotTheCustodian(address signer);
    error IngestExists(bytes32 ingest);
    error IngestUnknown(bytes32 ingest);
    error NothingRegistered();
    error ReasonInvalid(uint8 reason);
    error BudgetSpent(uint256 spent, uint256 asked);

    /// @notice Makes encrypted objects exist: a dataset's custodian signs the root over their
    /// leaves.
    function registerRecords(
        RecordsRegistered calldata r,
        bytes calldata custodianSignature
    ) external;

    /// @notice Takes a registration back, for good: its objects exist no more. By the dataset's
    /// custodian alone, or by a quorum of the committee where he registered a list that he does not
    /// hand over and so blocks the dataset.
    function voidRecords(VoidRecords calldata v, bytes[] calldata signatures) external;

    /// @notice The applicant of a permit asks for a run; run = sha256(analyst, nonce), so nobody
    /// else can occupy it.
    /// @param params Canonical JSON of at most 2 KiB, without personal data.
    function requestRun(
        RunRequest calldata r,
        bytes calldata params,
        bytes calldata analystSignature
    ) external;

    /// @notice Checks every subject and records every access and denial, in this one call.
    /// @param subjects Strictly ascending, at most 1,000, exactly the list the worker signed.
    /// @return effective False when the run was refused (`RunRefused`) and nothing was granted.
    function authorise(
        WorkerBinding calldata b,
        bytes calldata workerSignature,
        bytes32[] calldata subjects
    ) external returns (bool effective);

    /// @notice The worker of the newest attempt commits to its output, within the lease, once.
    function seal(Seal calldata s, bytes calldata workerSignature) external;

    /// @notice A live checker, not the analyst, asks to look at the sealed output.
    function viewOutput(Review calldata v, bytes calldata viewerSignature) external;

    /// @notice Two checkers who looked release it, if everybody in it is still willing at the same
    /// epoch.
    /// @param subjects The granted of this attempt, with their epochs (checked against the stored
    /// hash).
    /// @param checkerSignatures By ascending signer.
    function release(
        Decision calldata d,
        bytes32[] calldata subjects,
        uint32[] calldata epochs,
        bytes[2] calldata checkerSignatures
    ) external returns (bool done);

    /// @notice One checker who looked says no; the run ends.
    function reject(Decision calldata d, bytes calldata checkerSignature) external;

    /// @notice The analyst ends her run.
    function cancel(Cancel calldata c, bytes calldata analystSignature) external;

    /// @notice A run whose sixteen attempts are used up may have sixteen more, if the analyst signs
    /// that it shall.
    function resume(Resume calldata r, bytes calldata analystSignature) external;

    /// @notice What released per-variant statistics have taken of a dataset's budget of 128,000:
    /// the sum of m / N in millionths. A seal or release that would go beyond it reverts with
    /// `BudgetSpent`.
    function spentOf(bytes32 dataset) external view returns (uint256 millionths);

    /// @notice How many different questions runs have asked under a permit, which says how many it
    /// allows, and about a dataset under all its permits (1,000 at most). Parameters about other
    /// people, or after a dataset's records have changed, are another question. It is counted when a
    /// run is first authorised, and when a later attempt of it is released about others; beyond
    /// either bound both are refused.
    function questionsOf(
        bytes32 permit,
        bytes32 dataset
    ) external view returns (uint256 under, uint256 about);

    /// @notice What the ledger holds of a run: newest attempt, and whether it ended.
    function runOf(
        bytes32 run
    ) external view returns (address analyst, bytes32 permit, uint32 attempts, bool ended);
}
