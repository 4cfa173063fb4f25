// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

enum Role { None, Committee, Custodian, Registrar, Analyst, Checker, Clinician, DataProtection, Auditor, Broker, Worker }

enum PermitStatus { None, Requested, Approved, Suspended }

/// @notice Who holds which role, which datasets exist, and what the committee allowed.
/// Nobody administers it: every role is set by a quorum of live committee signatures.
interface IPermitRegistry {
    struct Member { Role role; uint40 start; uint40 end; }
    struct RoleChange { address account; Role role; uint40 start; uint40 end; uint256 nonce; uint40 deadline; }
    struct RegisterDataset { bytes32 dataset; bytes32 documentHash; uint40 deadline; }
    struct PermitRequest {
        bytes32 permit; bytes32 dataset; uint32 purposeNeed; uint32 categories;
        bytes32 codeHash; bytes32 paramsSchemaHash; uint32 minCohort; uint16 outputClasses;
        uint40 expiry; bytes32 documentHash; uint40 deadline;
    }
    struct Vote { bytes32 permit; bytes32 requestHash; bool yes; uint40 deadline; }
    struct Suspend { bytes32 permit; uint40 deadline; }
    struct Permit {
        address applicant; PermitStatus status; uint40 expiry; bytes32 dataset; bytes32 requestHash; bytes32 codeHash;
        bytes32 paramsSchemaHash; uint32 minCohort; uint32 purposeNeed; uint32 categories; uint16 outputClasses;
    }

    event RoleSet(address indexed account, Role indexed role, uint40 start, uint40 end);
    event DatasetRegistered(bytes32 indexed dataset, address indexed custodian, bytes32 documentHash);
    event PermitRequested(bytes32 indexed permit, bytes32 indexed dataset, address indexed applicant, PermitRequest request);
    event Voted(bytes32 indexed permit, address indexed member, bool yes);
    event PermitApproved(bytes32 indexed permit, uint40 expiry);
    event PermitSuspended(bytes32 indexed permit, address by);

    error QuorumMissing(uint256 have, uint256 need);
    error RoleTaken(address account, Role held);
    error RoleWindowInvalid(uint40 start, uint40 end);
    error LastQuorum();
    error NotLive(address account, Role role);
    error ApplicantVoted(address account);
    error AlreadyVoted(address member);
    error RequestMismatch(bytes32 given, bytes32 stored);
    error NonceUsed(uint256 nonce);
    error SignersNotAscending();
    error DatasetExists(bytes32 dataset);
    error DatasetUnknown(bytes32 dataset);
    error PermitExists(bytes32 permit);
    error PermitUnknown(bytes32 permit);
    error PermitNotOpen(bytes32 permit, PermitStatus status);
    error PermitInvalid();

    /// @notice Gives, moves or ends a role; `signatures` are a quorum of live committee members, by ascending signer.
    /// A role is ended by setting its end to now or earlier. One address holds one role at a time.
    function setRole(RoleChange calldata change, bytes[] calldata signatures) external;

    /// @notice A live custodian registers a dataset; it never changes hands.
    function registerDataset(RegisterDataset calldata r, bytes calldata custodianSignature) external;

    /// @notice A live analyst asks for a permit; the signer is the applicant.
    function requestPermit(PermitRequest calldata request, bytes calldata signature) external;

    /// @notice A live committee member votes once; the applicant never; a quorum of live yes votes approves.
    function vote(Vote calldata ballot, bytes calldata signature) external;

    /// @notice One live committee member or data-protection officer suspends an approved permit at once.
    function suspend(Suspend calldata order, bytes calldata signature) external;

    function roleOf(address account) external view returns (Member memory);
    function isLive(address account, Role role) external view returns (bool);
    function permitOf(bytes32 permit) external view returns (Permit memory);
    function custodianOf(bytes32 dataset) external view returns (address);
    function quorum() external view returns (uint8);
}
