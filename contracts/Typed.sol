// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {ITrail} from "./interfaces/ITrail.sol";

/// @title Typed data of one deployment
/// @notice EIP-712 with a random salt for each deployment: on a dev chain that is created anew,
/// chain id and addresses repeat, and yesterday's signatures would be valid today without it.
/// OpenZeppelin's EIP712 has no salt, so its two virtual functions are overridden. The separator is
/// built at each call: a fork changes the chain id.
abstract contract Typed is EIP712 {
    bytes32 private immutable _salt;
    ITrail private immutable _trail;
    /// @dev Messages that changed nothing and have their step: sent again, they neither make the
    /// trail grow nor act.
    mapping(bytes32 message => bool recorded) private _recorded;

    error SignatureInvalid();
    error NotDirect(address caller);
    error DeadlinePassed(uint40 deadline);
    error AlreadyRecorded(bytes32 message);

    constructor(bytes32 salt, ITrail trail) EIP712("volens", "1") {
        (_salt, _trail) = (salt, trail);
    }

    /// @dev The evidence of every step is its transaction's own calldata, and a transaction makes
    /// one step: so no contract stands in between, nor code delegated to the sender's account
    /// (EIP-7702).
    modifier direct() {
        if (msg.sender != tx.origin || msg.sender.code.length != 0) revert NotDirect(msg.sender);
        _;
    }

    /// @inheritdoc EIP712
    function eip712Domain()
        public
        view
        override
        returns (bytes1, string memory, string memory, uint256, address, bytes32, uint256[] memory)
    {
        return (0x1f, "volens", "1", block.chainid, address(this), _salt, new uint256[](0));
    }

    function _separator() internal view returns (bytes32) {
        return
            MessageHashUtils.toDomainSeparator(
                0x1f,
                keccak256("volens"),
                keccak256("1"),
                block.chainid,
                address(this),
                _salt
            );
    }

    function _hashTypedDataV4(bytes32 structHash) internal view override returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(_separator(), structHash);
    }

    /// @dev The wallet that signed, or zero: 65 bytes, low s, v 27 or 28 (ECDSA refuses the rest).
    function _recover(
        bytes32 structHash,
        bytes calldata signature
    ) internal view returns (address signer) {
        (signer, , ) = ECDSA.tryRecoverCalldata(_hashTypedDataV4(structHash), signature);
    }

    /// @dev As `_recover`, but a signature by nobody reverts.
    function _signerOf(
        bytes32 structHash,
        bytes calldata signature
    ) internal view returns (address signer) {
        signer = _recover(structHash, signature);
        if (signer == address(0)) revert SignatureInvalid();
    }

    /// @dev One step of the trail: the whole call with its signatures, and what it did.
    function _append(uint16 kind, bytes32 body) internal {
        _trail.append(kind, sha256(msg.data), body);
    }

    function _isUsed(bytes32 message) internal view returns (bool) {
        return _recorded[message];
    }

    /// @dev A refused message is used up: it must not act later, when nobody means it any more.
    function _requireUnused(bytes32 message) internal view {
        if (_isUsed(message)) revert AlreadyRecorded(message);
    }

    function _use(bytes32 message) internal {
        _recorded[message] = true;
    }

    function _notAfter(uint40 deadline) internal view {
        if (block.timestamp > deadline) revert DeadlinePassed(deadline);
    }
}
