// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessLedger} from "./interfaces/IAccessLedger.sol";

/// @title What released per-variant statistics may tell of a dataset's people, in all
/// @dev Membership inference from m statistics of N people has AUC = Phi(sqrt(m / 2N)): at most
/// 0.60 while m <= 0.128 N. So the sum of m / N over everything released is kept, in millionths.
abstract contract Budget {
    uint256 private constant BUDGET = 128_000;

    mapping(bytes32 dataset => uint256 millionths) internal _spent;

    /// @dev What m statistics of `people` cost, rounded up; reverts unless the dataset can still
    /// bear them.
    function _cost(
        bytes32 dataset,
        uint256 statistics,
        uint256 people
    ) internal view returns (uint24) {
        uint256 asked = (statistics * 1e6 + people - 1) / people;
        _afford(dataset, asked);
        return uint24(asked);
    }

    function _spend(bytes32 dataset, uint256 asked) internal {
        _spent[dataset] = _afford(dataset, asked);
    }

    function _afford(bytes32 dataset, uint256 asked) private view returns (uint256 total) {
        total = _spent[dataset] + asked;
        if (total > BUDGET) revert IAccessLedger.BudgetSpent(_spent[dataset], asked);
    }
}
