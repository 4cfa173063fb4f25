// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice The ordered record of what the registries did; encodings in docs/ledger.md.
interface ITrail {
    /// @notice The last log of every state-changing call.
    event Head(uint64 indexed count, bytes32 head, uint16 kind, bytes32 body);

    error NotARegistry(address caller);

    /// @notice Adds one step: head = sha256(head, caller, kind, block number, block time, call,
    /// body). Only the four registries may.
    /// @param call sha256 of the calldata, which holds what was signed and every signature.
    /// @param body sha256 of what the call did.
    function append(
        uint16 kind,
        bytes32 call,
        bytes32 body
    ) external returns (uint64 count, bytes32 head);

    /// @notice How many steps there are, and the value after the last; before the first, the
    /// origin.
    function head() external view returns (uint64 count, bytes32 value);
}
