// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPermitRegistry} from "./interfaces/IPermitRegistry.sol";
import {Reasons} from "./Reasons.sol";

/// @title How many different questions a permit and a dataset bear
/// @dev A question is the hash of a run's parameters, asked about some people and their records.
/// Each has its own view of the people and its own noise, so the mean of many answers tells what
/// one does not. Asked again about the same it is free.
abstract contract Questions {
    uint256 private constant DATASET_QUESTIONS = 1000;
    bytes32 private constant SHARED = bytes32(uint256(1));

    mapping(bytes32 permit => uint256 count) internal _askedUnder;
    mapping(bytes32 dataset => uint256 count) internal _askedOf;
    /// @dev How often a dataset's records were registered, or a registration taken back.
    mapping(bytes32 dataset => uint256 count) private _changesOf;
    /// @dev For which run a question was counted; SHARED once another run has asked it as well.
    mapping(bytes32 permit => mapping(bytes32 question => bytes32 run)) private _askedBy;

    function _noteChange(bytes32 dataset) internal {
        ++_changesOf[dataset];
    }

    /// @dev Which records there are: 65,536 changes later the number comes again.
    function _recordsOf(bytes32 dataset) internal view returns (uint16) {
        return uint16(_changesOf[dataset]);
    }

    /// @param listHash About whom: the granted people and their epochs.
    function _question(
        bytes32 paramsHash,
        uint16 records,
        bytes32 listHash
    ) internal pure returns (bytes32) {
        return sha256(abi.encode(paramsHash, records, listHash));
    }

    /// @dev Why this question cannot be asked, 0 if it can.
    function _questionReason(
        bytes32 permit,
        IPermitRegistry.Permit memory p,
        bytes32 question
    ) internal view returns (uint8) {
        if (_askedBy[permit][question] != 0) return 0;
        if (_askedUnder[permit] >= p.questions) return Reasons.PERMIT_QUESTIONS;
        return _askedOf[p.dataset] < DATASET_QUESTIONS ? 0 : Reasons.DATASET_QUESTIONS;
    }

    function _ask(bytes32 permit, bytes32 dataset, bytes32 question, bytes32 run) internal {
        bytes32 by = _askedBy[permit][question];
        if (by == 0) {
            _askedBy[permit][question] = run;
            ++_askedUnder[permit];
            ++_askedOf[dataset];
        } else if (by != run && by != SHARED) {
            _askedBy[permit][question] = SHARED;
        }
    }

    /// @dev What was counted for a run counts for another question instead, and no longer for the
    /// first: one answer leaves a run. Not if another run asked the first for nothing, since both
    /// would be answered then.
    function _move(
        bytes32 permit,
        bytes32 from,
        bytes32 to,
        bytes32 run
    ) internal returns (bool moved) {
        moved = _askedBy[permit][from] == run && _askedBy[permit][to] == 0;
        if (moved) (_askedBy[permit][from], _askedBy[permit][to]) = (0, run);
    }
}
