// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPermitRegistry} from "./interfaces/IPermitRegistry.sol";
import {Reasons} from "./Reasons.sol";

/// @title How many different questions a permit and a dataset bear
/// @dev A question is the hash of a run's parameters. Each has its own view of the people and its
/// own noise, so the mean of many answers tells what one does not. Asked again under its permit it
/// is free. A later answer about other people has new noise: it is another question.
abstract contract Questions {
    uint256 private constant DATASET_QUESTIONS = 1000;
    bytes32 private constant UNANSWERED = bytes32(uint256(1)); // asked, and nothing released

    mapping(bytes32 permit => uint256 count) internal _askedUnder;
    mapping(bytes32 dataset => uint256 count) internal _askedOf;
    /// @dev 0: not asked; UNANSWERED; or about whom the first released answer is.
    mapping(bytes32 permit => mapping(bytes32 question => bytes32 listHash)) private _answers;

    /// @dev Why this question cannot be asked, 0 if it can.
    function _questionReason(
        bytes32 permit,
        IPermitRegistry.Permit memory p,
        bytes32 question
    ) internal view returns (uint8) {
        if (_answers[permit][question] != 0) return 0;
        if (_askedUnder[permit] >= p.questions) return Reasons.PERMIT_QUESTIONS;
        return _askedOf[p.dataset] < DATASET_QUESTIONS ? 0 : Reasons.DATASET_QUESTIONS;
    }

    function _ask(bytes32 permit, bytes32 dataset, bytes32 question) internal {
        if (_answers[permit][question] != 0) return;
        _answers[permit][question] = UNANSWERED;
        ++_askedUnder[permit];
        ++_askedOf[dataset];
    }

    /// @dev Which question an answer about these people is to.
    function _answered(
        bytes32 permit,
        bytes32 question,
        bytes32 listHash
    ) internal view returns (bytes32) {
        bytes32 first = _answers[permit][question];
        if (first == UNANSWERED || first == listHash) return question;
        return sha256(abi.encode(question, listHash));
    }

    function _answer(bytes32 permit, bytes32 dataset, bytes32 question, bytes32 listHash) internal {
        bytes32 answered = _answered(permit, question, listHash);
        if (answered == question) _answers[permit][question] = listHash;
        else _ask(permit, dataset, answered);
    }
}
