// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice A patient's own care: she appoints a clinician, he asks for a plan that is drawn from her
/// records alone, countersigns it, and then she may open it. As in research, the consent check and
/// the access record are one transaction, and a refusal with a business reason is an event.
interface ICareLedger {
    struct Appoint {
        bytes32 subject;
        bytes32 dataset;
        bytes32 clinician;
        uint32 epoch;
        uint24 replaces;
        uint24 untilDay;
        bool resultToMe;
        bytes32 noticeHash;
        uint40 deadline;
    }
    struct PlanRequest {
        bytes32 permit;
        bytes32 subject;
        bytes32 salt;
        bytes32 paramsHash;
        uint256 nonce;
        uint40 deadline;
    }
    struct PlanBinding {
        bytes32 run;
        uint32 attempt;
        bytes32 workerKey;
        bytes32 codeHash;
        uint32 leaseSeconds;
        uint8 relaxed;
        uint40 deadline;
    }
    struct PlanSeal {
        bytes32 run;
        uint32 attempt;
        bytes32 outputCommitment;
        bytes32 ciphertextHash;
        bytes32 keyCommitment;
        bytes32 disclosureCommitment;
        uint8 outputClass;
        uint40 deadline;
    }
    struct PlanView {
        bytes32 run;
        uint32 attempt;
        bytes32 viewerKey;
        uint40 deadline;
    }
    struct Countersign {
        bytes32 run;
        uint32 attempt;
        bytes32 sealHash;
        bytes32 notesHash;
        uint40 deadline;
    }
    struct PlanOpening {
        bytes32 run;
        uint32 attempt;
        bytes32 viewerKey;
        uint40 deadline;
    }
    struct PlanEnd {
        bytes32 run;
        uint40 deadline;
    }

    /// @param clinician sha256(abi.encode(address, salt)): the appointment alone names nobody.
    event Appointed(
        bytes32 indexed subject,
        bytes32 indexed dataset,
        bytes32 clinician,
        uint32 epoch,
        uint24 version,
        uint24 untilDay,
        bool resultToMe,
        bytes32 noticeHash
    );
    event PlanRequested(
        bytes32 indexed run,
        bytes32 indexed permit,
        address indexed clinician,
        bytes32 subject,
        bytes32 paramsHash,
        uint40 deadline
    );
    event PlanOpened(
        bytes32 indexed run,
        uint32 attempt,
        address indexed viewer,
        bytes32 viewerKey
    );
    event Countersigned(
        bytes32 indexed run,
        uint32 attempt,
        bytes32 sealHash,
        address clinician,
        bytes32 notesHash
    );

    error AppointmentInvalid(uint8 reason);
    error NotAppointed(address clinician);
    error NotForCare(bytes32 permit);
    error NotHerPlan(bytes32 run);
    error NotTheClinician(address signer);
    error NotCountersigned(bytes32 run);

    /// @notice She appoints a clinician, replaces him, or ends the appointment (an until-day before
    /// today). It is bound to the epoch of her consent: whatever ends or narrows that ends it too.
    /// @param signer Her key, as enrolled.
    function appoint(Appoint calldata a, bytes calldata signer, bytes calldata signature) external;

    /// @notice The appointed clinician, applicant of a care permit, asks for a plan; run =
    /// sha256(permit, clinician, nonce). `salt` shows that he is whom she appointed.
    /// @param params Canonical JSON of at most 2 KiB, without personal data.
    function requestPlan(
        PlanRequest calldata r,
        bytes calldata params,
        bytes calldata clinicianSignature
    ) external;

    /// @notice Checks her consent and the appointment and records the access, in this one call.
    /// @return effective False when it was refused (`RunRefused`) and nothing was granted.
    function authorisePlan(
        PlanBinding calldata b,
        bytes calldata workerSignature
    ) external returns (bool effective);

    /// @notice The worker of the newest attempt commits to the plan: of class Individual, always.
    function sealPlan(PlanSeal calldata s, bytes calldata workerSignature) external;

    /// @notice The clinician asks to look at the plan, before he countersigns or later.
    function viewPlan(PlanView calldata v, bytes calldata clinicianSignature) external;

    /// @notice The clinician, who looked, countersigns with what he decided on each item. Her
    /// consent and the appointment are read again.
    function countersign(
        Countersign calldata c,
        bytes calldata clinicianSignature
    ) external returns (bool done);

    /// @notice She opens a countersigned plan with a key of her own, if she asked for results.
    function openPlan(
        PlanOpening calldata o,
        bytes calldata signer,
        bytes calldata signature
    ) external;

    /// @notice The clinician ends a request that he has not countersigned.
    function endPlan(PlanEnd calldata e, bytes calldata clinicianSignature) external;

    /// @notice Her newest appointment in a dataset.
    function appointmentOf(
        bytes32 subject,
        bytes32 dataset
    )
        external
        view
        returns (bytes32 clinician, uint32 epoch, uint24 version, uint24 untilDay, bool resultToMe);

    /// @notice What the ledger holds of a requested plan.
    function planOf(
        bytes32 run
    )
        external
        view
        returns (address clinician, bytes32 permit, bytes32 subject, uint32 attempts, uint8 ended);
}
