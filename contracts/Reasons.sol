// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Why a contract refused: the codes it can emit, out of contracts/reasons.json
library Reasons {
    uint8 internal constant NOT_ENROLLED = 1;
    uint8 internal constant ABSENT = 2;
    uint8 internal constant REVOKED = 3;
    uint8 internal constant NOT_YET = 4;
    uint8 internal constant EXPIRED = 5;
    uint8 internal constant PURPOSE = 6;
    uint8 internal constant CATEGORY = 7;
    uint8 internal constant PERMIT_SUSPENDED = 34;
    uint8 internal constant PERMIT_EXPIRED = 35;
    uint8 internal constant ANALYST_ROLE = 36;
    uint8 internal constant CODE = 38;
    uint8 internal constant PERMIT_REJECTED = 39;
    uint8 internal constant COHORT = 40;
    uint8 internal constant DEADLINE = 41;
    uint8 internal constant CANCELLED = 43;
    uint8 internal constant PERMIT_QUESTIONS = 44;
    uint8 internal constant DATASET_QUESTIONS = 45;
    uint8 internal constant RUN_MOVED = 46;
    uint8 internal constant APPOINTMENT = 47;
    uint8 internal constant CLINICIAN_ROLE = 48;
    uint8 internal constant CONSENT_CHANGED = 75;
}
