// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsentRegistry} from "./interfaces/IConsentRegistry.sol";
import {IPermitRegistry} from "./interfaces/IPermitRegistry.sol";
import {Masks} from "./Masks.sol";
import {Words} from "./Words.sol";

/// @title One permit's predicate over many people
library Cohort {
    using Masks for uint256;
    using Words for uint256[];
    using Words for bytes32[];
    using Words for uint256;

    error SlotsUnavailable();

    /// @dev The predicate of one permit on one day (Masks.holds).
    struct Test {
        uint256 mask;
        uint256 want;
        uint256 today;
    }

    /// @dev Who holds a predicate: how many, the earliest last day among them, and sha256 over
    /// subject and epoch of each.
    struct Tally {
        uint256 granted;
        uint256 lastDay;
        bytes32 listHash;
    }

    function test(IPermitRegistry.Permit memory p) internal view returns (Test memory) {
        return
            Test(
                Masks.mask(p.purposeNeed, p.categories),
                Masks.want(p.purposeNeed, p.categories),
                block.timestamp / 1 days
            );
    }

    /// @dev `slotsOf` without the compiler's word-by-word decoding: the registry is ours and set at
    /// deployment.
    function slots(
        IConsentRegistry consents,
        bytes32 dataset,
        bytes32[] calldata subjects
    ) internal view returns (uint256[] memory) {
        (bool ok, bytes memory answer) = address(consents).staticcall(
            abi.encodeCall(IConsentRegistry.slotsOf, (dataset, subjects))
        );
        if (!ok || answer.length != 64 + 32 * subjects.length) revert SlotsUnavailable();
        return Words.list(answer);
    }

    /// @param all The slots of `subjects`, in their order.
    function count(
        uint256[] memory all,
        Test memory t,
        bytes32[] calldata subjects
    ) internal view returns (Tally memory tally) {
        uint256 granted;
        uint256 lastDay = type(uint24).max;
        bytes32[] memory list = new bytes32[](2 * all.length);
        uint256 next = list.at(0);
        for (uint256 i; i < all.length; ++i) {
            uint256 slot = all.get(i);
            if (!slot.holds(t.mask, t.want, t.today)) continue;
            unchecked {
                ++granted; // at most the list's length
            }
            if (slot.untilDayOf() < lastDay) lastDay = slot.untilDayOf();
            next = next.put(subjects.get(i), slot.epochOf());
        }
        (tally.granted, tally.lastDay) = (granted, lastDay);
        tally.listHash = list.hash(2 * granted);
    }
}
