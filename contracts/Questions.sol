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

    mapping(bytes32 permit => uint256 count) internal _askedUnder;
    mapping(bytes32 dataset => uint256 count) internal _askedOf;
    /// @dev How often a dataset's records were registered, or a registration taken back.
    mapping(bytes32 dataset => uint256 count) private _changesOf;
    mapping(bytes32 permit => mapping(bytes32 question => bool asked)) private _asked;

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
        if (_asked[permit][question]) return 0;
        if (_askedUnder[permit] >= p.questions) return Reasons.PERMIT_QUESTIONS;
        return _askedOf[p.dataset] < DATASET_QUESTIONS ? 0 : Reasons.DATASET_QUESTIONS;
    }

    function _ask(bytes32 permit, bytes32 dataset, bytes32 question) internal {
        if (_asked[permit][question]) return;
        _asked[permit][question] = true;
        ++_askedUnder[permit];
        ++_askedOf[dataset];
    }
}
