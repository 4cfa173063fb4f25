// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Reasons} from "./Reasons.sol";

/// @title Which purpose and category bits exist, and the consent slot they stand in
/// @notice Layout in docs/ledger.md. Free functions of a library: the registries share one
/// reading of a slot.
library Masks {
    uint32 internal constant PURPOSES = 0xffff037f; // 0-6, 8, 9, 16-31
    uint32 internal constant CATEGORIES = 0x000f03ff; // 0-9, 16-19
    uint32 internal constant CARE = 1 << 6;
    uint256 private constant STATUS = uint256(0xff) << 248;
    uint256 private constant LIVE = uint256(1) << 248;
    uint256 private constant REVOKED = uint256(2) << 248;

    function purposesValid(uint32 purposes) internal pure returns (bool) {
        return purposes != 0 && purposes & ~PURPOSES == 0;
    }

    function categoriesValid(uint32 categories) internal pure returns (bool) {
        return categories != 0 && categories & ~CATEGORIES == 0;
    }

    /// @dev A permit is for research on a group: who allows her own care only has not allowed that.
    function needValid(uint32 need) internal pure returns (bool) {
        return purposesValid(need) && need & CARE == 0;
    }

    function pack(
        uint32 epoch,
        uint24 version,
        uint24 fromDay,
        uint24 untilDay,
        uint32 purposes,
        uint32 categories
    ) internal pure returns (uint256) {
        return
            LIVE |
            (uint256(epoch) << 216) |
            (uint256(version) << 192) |
            (uint256(fromDay) << 168) |
            (uint256(untilDay) << 144) |
            (uint256(purposes) << 112) |
            (uint256(categories) << 80);
    }

    function revoked(uint256 slot) internal pure returns (uint256) {
        uint256 kept = slot & ~(STATUS | (uint256(type(uint32).max) << 216));
        return REVOKED | (uint256(epochOf(slot) + 1) << 216) | kept;
    }

    function isLive(uint256 slot) internal pure returns (bool) {
        return slot & STATUS == LIVE;
    }

    function epochOf(uint256 slot) internal pure returns (uint32) {
        return uint32(slot >> 216);
    }

    function versionOf(uint256 slot) internal pure returns (uint24) {
        return uint24(slot >> 192);
    }

    function fromDayOf(uint256 slot) internal pure returns (uint24) {
        return uint24(slot >> 168);
    }

    function untilDayOf(uint256 slot) internal pure returns (uint24) {
        return uint24(slot >> 144);
    }

    function purposesOf(uint256 slot) internal pure returns (uint32) {
        return uint32(slot >> 112);
    }

    function categoriesOf(uint256 slot) internal pure returns (uint32) {
        return uint32(slot >> 80);
    }

    /// @dev What a slot must show under `mask(need, categories)` to be usable.
    function want(uint32 need, uint32 categories) internal pure returns (uint256) {
        return LIVE | (uint256(need) << 112) | (uint256(categories) << 80);
    }

    function mask(uint32 need, uint32 categories) internal pure returns (uint256) {
        return STATUS | (uint256(need) << 112) | (uint256(categories) << 80);
    }

    /// @dev The one predicate of `authorise` and `release`: a mask compare plus the window.
    function holds(
        uint256 slot,
        uint256 mask_,
        uint256 want_,
        uint256 today
    ) internal pure returns (bool) {
        return slot & mask_ == want_ && fromDayOf(slot) <= today && today <= untilDayOf(slot);
    }

    /// @dev Why the predicate fails, for a person who is enrolled (people reasons 2-7).
    function whyNot(uint256 slot, uint32 need, uint256 today) internal pure returns (uint8) {
        if (slot & STATUS == 0) return Reasons.ABSENT;
        if (!isLive(slot)) return Reasons.REVOKED;
        if (today < fromDayOf(slot)) return Reasons.NOT_YET;
        if (today > untilDayOf(slot)) return Reasons.EXPIRED;
        if (need & ~purposesOf(slot) != 0) return Reasons.PURPOSE;
        return Reasons.CATEGORY;
    }
}
