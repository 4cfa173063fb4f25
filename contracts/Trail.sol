// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ITrail} from "./interfaces/ITrail.sol";

/// @title The trail: one running hash over everything the four registries did
contract Trail is ITrail {
    address private immutable _permits;
    address private immutable _consents;
    address private immutable _accesses;
    address private immutable _care;

    uint64 private _count;
    bytes32 private _head;

    /// @param registries The permit, consent, access and care registries, known before they exist from
    /// the deployer's nonce.
    /// @param origin The value before the first step: a hash of what the founders agreed on
    /// (docs/ledger.md, Trail), so that a head that somebody holds is a head under these very
    /// rules.
    constructor(address[4] memory registries, bytes32 origin) {
        (_permits, _consents) = (registries[0], registries[1]);
        (_accesses, _care) = (registries[2], registries[3]);
        _head = origin;
    }

    /// @inheritdoc ITrail
    function append(
        uint16 kind,
        bytes32 call,
        bytes32 body
    ) external returns (uint64 count, bytes32 value) {
        if (
            msg.sender != _permits &&
            msg.sender != _consents &&
            msg.sender != _accesses &&
            msg.sender != _care
        ) revert NotARegistry(msg.sender);
        value = sha256(
            abi.encode(_head, msg.sender, kind, block.number, block.timestamp, call, body)
        );
        count = _count + 1;
        (_count, _head) = (count, value);
        emit Head(count, value, kind, body);
    }

    /// @inheritdoc ITrail
    function head() external view returns (uint64 count, bytes32 value) {
        return (_count, _head);
    }
}
