// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

enum Role {
    None,
    Committee,
    Custodian,
    Registrar,
    Analyst,
    Checker,
    Clinician,
    DataProtection,
    Auditor,
    Broker,
    Worker
}

enum PermitStatus {
    None,
    Requested,
    Approved,
    Suspended,
    Rejected
}

/// @notice Who holds which role, which datasets exist, and what the committee allowed.
/// Nobody administers it: every role is set by a quorum of live committee signatures.
interface IPermitRegistry {
    /// @dev `version` counts the changes of this account's role; the next change names it.
    struct Member {
        Role role;
        uint40 start;
        uint40 end;
        uint32 version;
    }
    struct RoleChange {
        address account;
        Role role;
        uint40 start;
        uint40 end;
        uint32 replaces;
        uint40 deadline;
    }
    struct CancelRole {
        address account;
        uint32 version;
        uint40 deadline;
    }
    struct RegisterDataset {
        bytes32 dataset;
        bytes32 documentHash;
        uint40 deadline;
    }
    struct PermitRequest {
        bytes32 permit;
        bytes32 dataset;
        uint32 purposeNeed;
        uint32 categories;
        bytes32 codeHash;
        bytes32 paramsSchemaHash;
        uint32 minCohort;
        uint16 outputClasses;
        uint16 questions;
        uint40 expiry;
        bytes32 documentHash;
        uint40 deadline;
    }
    struct Vote {
        bytes32 permit;
        bytes32 requestHash;
        bool yes;
        uint40 deadline;
    }
    struct Suspend {
        bytes32 permit;
        uint40 deadline;
    }
    struct Permit {
        address applicant;
        PermitStatus status;
        uint40 expiry;
        bytes32 dataset;
        bytes32 requestHash;
        bytes32 codeHash;
        bytes32 paramsSchemaHash;
        uint32 minCohort;
        uint32 purposeNeed;
        uint32 categories;
        uint16 outputClasses;
        uint16 questions;
    }

    /// @param start When it begins to act: not before the delay is over, for a new worker or
    /// broker.
    event RoleSet(
        address indexed account,
        Role indexed role,
        uint40 start,
        uint40 end,
        uint32 version
    );
    event RoleCancelled(address indexed account, address indexed by, uint32 version);
    event DatasetRegistered(
        bytes32 indexed dataset,
        address indexed custodian,
        bytes32 documentHash
    );
    event PermitRequested(
        bytes32 indexed permit,
        bytes32 indexed dataset,
        address indexed applicant,
        PermitRequest request
    );
    event Voted(bytes32 indexed permit, address indexed member, bool yes);
    event PermitApproved(bytes32 indexed permit, uint40 expiry);
    event PermitRejected(bytes32 indexed permit);
    event PermitSuspended(bytes32 indexed permit, address by);

    error QuorumMissing(uint256 have, uint256 need);
    error RoleTaken(address account, Role held);
    error RoleWindowInvalid(uint40 start, uint40 end);
    error LastQuorum();
    error NotLive(address account, Role role);
    error ApplicantVoted(address account);
    error AlreadyVoted(address member);
    error RequestMismatch(bytes32 given, bytes32 stored);
    error RoleVersionStale(uint32 named, uint32 current);
    error NotPending(address account);
    error NotAMember(address account);
    error SignersNotAscending();
    error DatasetExists(bytes32 dataset);
    error DatasetUnknown(bytes32 dataset);
    error PermitExists(bytes32 permit);
    error PermitUnknown(bytes32 permit);
    error PermitNotOpen(bytes32 permit, PermitStatus status);
    error PermitInvalid();

    /// @notice Gives, moves or ends a role; `signatures` are a quorum of live committee members, by
    /// ascending signer. A role is ended by setting its end to now or earlier. One address holds
    /// one role at a time. A change names the version that it replaces, so one that was held back
    /// can never undo a later one. Once a dataset exists, a new worker or broker acts only after
    /// `roleDelay` seconds, a live committee member stays one for as long, and a quorum of members
    /// has no end at all.
    function setRole(RoleChange calldata change, bytes[] calldata signatures) external;

    /// @notice One committee member stops a new worker or broker before it acts: a live one, or one
    /// who still was after the role was given. Whose term has not begun is none.
    function cancelRole(CancelRole calldata order, bytes calldata signature) external;

    /// @notice A live custodian registers a dataset; it never changes hands. The first one ends the
    /// founding ceremony, and needs a quorum of members without an end.
    function registerDataset(
        RegisterDataset calldata r,
        bytes calldata custodianSignature
    ) external;

    /// @notice A live analyst asks for a permit; the signer is the applicant. `questions`, 1 to 100:
    /// how many different questions her runs may ask. For the care of single patients (purpose care
    /// alone, outputs of class Individual alone) a live clinician asks.
    function requestPermit(PermitRequest calldata request, bytes calldata signature) external;

    /// @notice A live committee member votes once; the applicant never; a quorum of live yes
    /// votes approves, a quorum of live no votes rejects.
    function vote(Vote calldata ballot, bytes calldata signature) external;

    /// @notice One live committee member or data-protection officer suspends an approved permit at
    /// once.
    function suspend(Suspend calldata order, bytes calldata signature) external;

    function roleOf(address account) external view returns (Member memory);
    function isLive(address account, Role role) external view returns (bool);
    function permitOf(bytes32 permit) external view returns (Permit memory);
    function custodianOf(bytes32 dataset) external view returns (address);
    function quorum() external view returns (uint8);
    function roleDelay() external view returns (uint32);
    /// @notice Whether these accounts, ascending, are a quorum of live committee members.
    function isQuorum(address[] calldata accounts) external view returns (bool);
}
