// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Lists of words in memory without copies or repeated bounds checks
/// @notice All assembly of the project stands here. Each function says what its caller MUST have
/// checked.
library Words {
    /// @dev sha256 over the first `n` words of a list (FIPS 180-4, precompile 2); the caller MUST
    /// have n <= length.
    function hash(bytes32[] memory list, uint256 n) internal view returns (bytes32 value) {
        assembly ("memory-safe") {
            if iszero(staticcall(gas(), 2, add(list, 32), mul(n, 32), 0, 32)) {
                revert(0, 0)
            }
            value := mload(0)
        }
    }

    /// @dev Where the word at `index` of a list lies; the caller MUST stay within the list.
    function at(bytes32[] memory list, uint256 index) internal pure returns (uint256 place) {
        assembly ("memory-safe") {
            place := add(add(list, 32), mul(index, 32))
        }
    }

    /// @dev Writes two words and returns the place behind them.
    function put(
        uint256 place,
        bytes32 first,
        uint256 second
    ) internal pure returns (uint256 next) {
        assembly ("memory-safe") {
            mstore(place, first)
            mstore(add(place, 32), second)
            next := add(place, 64)
        }
    }

    /// @dev A list's element without the bounds check; the caller MUST have index < length.
    function get(uint256[] memory list, uint256 index) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := mload(add(add(list, 32), mul(index, 32)))
        }
    }

    /// @dev As `get`, of calldata.
    function get(bytes32[] calldata list, uint256 index) internal pure returns (bytes32 value) {
        assembly ("memory-safe") {
            value := calldataload(add(list.offset, mul(index, 32)))
        }
    }

    /// @dev As `get`, writing.
    function set(uint256[] memory list, uint256 index, uint256 value) internal pure {
        assembly ("memory-safe") {
            mstore(add(add(list, 32), mul(index, 32)), value)
        }
    }

    /// @dev ABI-encoded `(uint256[])` seen as the list inside it; the caller MUST trust whoever
    /// encoded it.
    function list(bytes memory encoded) internal pure returns (uint256[] memory inside) {
        assembly ("memory-safe") {
            inside := add(encoded, 64)
        }
    }

    /// @dev Ends the call, answering with `list` as `(uint256[])` without encoding it word by word.
    function answer(uint256[] memory all) internal pure {
        assembly {
            mstore(sub(all, 32), 32) // the offset; what stood there is not read again
            return(sub(all, 32), add(64, mul(mload(all), 32)))
        }
    }
}
