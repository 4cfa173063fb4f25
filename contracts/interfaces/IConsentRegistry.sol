// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Who is enrolled with which key, and what she allows. Only her own signature changes it.
interface IConsentRegistry {
    struct Enrolment {
        bytes32 subject;
        bytes signer;
        uint8 assurance;
        uint40 deadline;
    }
    struct Grant {
        bytes32 subject;
        bytes32 dataset;
        uint32 epoch;
        uint24 replaces;
        uint24 fromDay;
        uint24 untilDay;
        uint32 purposes;
        uint32 categories;
        bytes32 termsCommitment;
        bytes32 noticeHash;
        uint40 deadline;
    }
    struct Revoke {
        bytes32 subject;
        bytes32 dataset;
        uint32 epoch;
    }
    struct EnrolmentItem {
        Enrolment enrolment;
        bytes registrarSignature;
        bytes signerSignature;
    }
    struct GrantItem {
        Grant grant;
        bytes signer;
        bytes signature;
    }

    event Enrolled(
        bytes32 indexed subject,
        bytes signer,
        uint8 assurance,
        address indexed registrar
    );
    event ConsentGranted(
        bytes32 indexed subject,
        bytes32 indexed dataset,
        uint32 epoch,
        uint24 version,
        uint256 slot,
        bytes32 termsCommitment,
        bytes32 noticeHash
    );
    event ConsentRevoked(bytes32 indexed subject, bytes32 indexed dataset, uint32 endedEpoch);
    /// @notice The revocation named an epoch that is already over: nothing changed, and here is the
    /// present one. Recorded once for each epoch.
    event RevokeStale(
        bytes32 indexed subject,
        bytes32 indexed dataset,
        uint32 named,
        uint32 current
    );
    /// @notice Item `index` of the batch was skipped; `reason` is the selector of the error it
    /// would have met alone. Recorded once for each message, and only where an enrolled key or a
    /// live registrar signed it and it can never be accepted any more.
    event ItemRefused(uint256 indexed index, bytes4 reason);

    error AlreadyEnrolled(bytes32 subject);
    error NotEnrolled(bytes32 subject);
    error EpochStale(uint32 named, uint32 current);
    error VersionStale(uint24 named, uint24 current);
    error WindowInvalid(uint24 fromDay, uint24 untilDay);
    error NothingGranted();
    error MaskUnknown(uint32 purposes, uint32 categories);
    error SignerInvalid();
    error SignerMismatch();
    error NotARegistrar();
    error TooManyItems(uint256 count);
    /// @param reason Why the last item of the batch was not taken.
    error NothingRecorded(bytes4 reason);

    /// @notice Enrols people: a live registrar vouches, the key itself agrees. A bad item is
    /// skipped, never the batch. An item that nobody of ours signed leaves no trace; a batch that
    /// would leave none at all reverts.
    function enrol(EnrolmentItem[] calldata items) external;

    /// @notice Records consents. Each names the epoch and the version it replaces; a bad item is
    /// skipped. One that comes before what it follows leaves no trace, and is good when that has
    /// come.
    function grant(GrantItem[] calldata items) external;

    /// @notice Ends the consent at once. `acted` is false when an older epoch was named (nothing
    /// changed); the same one a second time reverts.
    function revoke(
        Revoke calldata r,
        bytes calldata signer,
        bytes calldata signature
    ) external returns (bool acted, uint32 current);

    function signerHashOf(bytes32 subject) external view returns (bytes32);
    function slotOf(bytes32 subject, bytes32 dataset) external view returns (uint256);

    /// @notice The one read of `authorise` and `release`: slots in the order asked.
    function slotsOf(
        bytes32 dataset,
        bytes32[] calldata subjects
    ) external view returns (uint256[] memory slots);
}
