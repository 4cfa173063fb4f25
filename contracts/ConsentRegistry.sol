// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsentRegistry} from "./interfaces/IConsentRegistry.sol";
import {IPermitRegistry, Role} from "./interfaces/IPermitRegistry.sol";
import {ITrail} from "./interfaces/ITrail.sol";
import {Masks} from "./Masks.sol";
import {Typed} from "./Typed.sol";
import {Words} from "./Words.sol";

/// @title Enrolment and consent
contract ConsentRegistry is IConsentRegistry, Typed {
    using Masks for uint256;
    using Words for bytes32[];
    using Words for uint256[];

    bytes32 private constant ENROLMENT =
        keccak256("Enrolment(bytes32 subject,bytes signer,uint8 assurance,uint40 deadline)");
    bytes32 private constant GRANT = keccak256(
        "Grant(bytes32 subject,bytes32 dataset,uint32 epoch,uint24 replaces,uint24 fromDay,uint24 untilDay,uint32 purposes,uint32 categories,bytes32 termsCommitment,bytes32 noticeHash,uint40 deadline)"
    );
    bytes32 private constant REVOKE = keccak256("Revoke(bytes32 subject,bytes32 dataset,uint32 epoch)");

    uint256 private constant MAX_ITEMS = 256;
    uint16 private constant KIND_ENROL = 16;
    uint16 private constant KIND_GRANT = 17;
    uint16 private constant KIND_REVOKE = 18;

    IPermitRegistry private immutable _permits;
    ITrail private immutable _trail;

    mapping(bytes32 subject => bytes32 signerHash) public signerHashOf;
    /// @dev Dataset first: authorise reads many people of one dataset and pays the outer hash once.
    mapping(bytes32 dataset => mapping(bytes32 subject => uint256 slot)) private _slots;

    constructor(bytes32 salt, IPermitRegistry permits, ITrail trail) Typed(salt) {
        (_permits, _trail) = (permits, trail);
    }

    /// @inheritdoc IConsentRegistry
    function enrol(EnrolmentItem[] calldata items) external direct {
        _notTooMany(items.length);
        bytes32[] memory words = new bytes32[](2 * items.length);
        uint256 n;
        for (uint256 i; i < items.length; ++i) {
            Enrolment calldata e = items[i].enrolment;
            (bytes4 refusal, address registrar) = _checkEnrolment(items[i]);
            if (refusal != 0) {
                emit ItemRefused(i, refusal);
                continue;
            }
            signerHashOf[e.subject] = keccak256(e.signer);
            emit Enrolled(e.subject, e.signer, e.assurance, registrar);
            (words[n], words[n + 1]) = (e.subject, sha256(e.signer));
            n += 2;
        }
        _close(KIND_ENROL, words, n);
    }

    /// @inheritdoc IConsentRegistry
    function grant(GrantItem[] calldata items) external direct {
        _notTooMany(items.length);
        bytes32[] memory words = new bytes32[](3 * items.length);
        uint256 n;
        for (uint256 i; i < items.length; ++i) {
            Grant calldata g = items[i].grant;
            uint256 old = _slots[g.dataset][g.subject];
            bytes4 refusal = _checkGrant(items[i], old);
            if (refusal != 0) {
                emit ItemRefused(i, refusal);
                continue;
            }
            uint256 slot = _granted(g, old);
            _slots[g.dataset][g.subject] = slot;
            emit ConsentGranted(
                g.subject, g.dataset, slot.epochOf(), slot.versionOf(), slot, g.termsCommitment, g.noticeHash
            );
            (words[n], words[n + 1], words[n + 2]) = (g.subject, bytes32(slot), g.termsCommitment);
            n += 3;
        }
        _close(KIND_GRANT, words, n);
    }

    /// @inheritdoc IConsentRegistry
    function revoke(Revoke calldata r, bytes calldata signer, bytes calldata signature)
        external
        direct
        returns (bool acted, uint32 current)
    {
        bytes4 refusal = _signatureRefusal(r.subject, signer, keccak256(abi.encode(REVOKE, r)), signature);
        if (refusal == NotEnrolled.selector) revert NotEnrolled(r.subject);
        if (refusal == SignerMismatch.selector) revert SignerMismatch();
        if (refusal != 0) revert SignatureInvalid();
        uint256 slot = _slots[r.dataset][r.subject];
        current = slot.epochOf();
        if (r.epoch > current) revert EpochStale(r.epoch, current);
        if (r.epoch < current) {
            emit RevokeStale(r.subject, r.dataset, r.epoch, current);
            return (false, current);
        }
        _slots[r.dataset][r.subject] = slot.revoked();
        emit ConsentRevoked(r.subject, r.dataset, current);
        _trail.append(KIND_REVOKE, sha256(abi.encode(r.subject, r.dataset, current)));
        return (true, current + 1);
    }

    /// @inheritdoc IConsentRegistry
    function slotOf(bytes32 subject, bytes32 dataset) external view returns (uint256) {
        return _slots[dataset][subject];
    }

    /// @inheritdoc IConsentRegistry
    function slotsOf(bytes32 dataset, bytes32[] calldata subjects) external view returns (uint256[] memory slots) {
        mapping(bytes32 subject => uint256 slot) storage ofDataset = _slots[dataset];
        slots = new uint256[](subjects.length);
        for (uint256 i; i < subjects.length; ++i) slots.set(i, ofDataset[subjects.get(i)]);
        slots.answer();
    }

    function _checkEnrolment(EnrolmentItem calldata item) private view returns (bytes4, address registrar) {
        Enrolment calldata e = item.enrolment;
        if (block.timestamp > e.deadline) return (DeadlinePassed.selector, registrar);
        if (signerHashOf[e.subject] != 0) return (AlreadyEnrolled.selector, registrar);
        if (e.signer.length != 20 || e.subject == 0) return (SignerInvalid.selector, registrar);
        bytes32 structHash = keccak256(abi.encode(ENROLMENT, e.subject, keccak256(e.signer), e.assurance, e.deadline));
        registrar = _recover(structHash, item.registrarSignature);
        if (!_permits.isLive(registrar, Role.Registrar)) return (NotARegistrar.selector, registrar);
        address key = _recover(structHash, item.signerSignature);
        if (key == address(0) || key != address(bytes20(e.signer))) return (SignatureInvalid.selector, registrar);
        return (0, registrar);
    }

    function _checkGrant(GrantItem calldata item, uint256 old) private view returns (bytes4) {
        Grant calldata g = item.grant;
        if (block.timestamp > g.deadline) return DeadlinePassed.selector;
        bytes4 refusal = _signatureRefusal(g.subject, item.signer, keccak256(abi.encode(GRANT, g)), item.signature);
        if (refusal != 0) return refusal;
        if (g.epoch != old.epochOf()) return EpochStale.selector;
        if (g.replaces != old.versionOf()) return VersionStale.selector;
        if (g.fromDay > g.untilDay || g.untilDay < block.timestamp / 1 days) return WindowInvalid.selector;
        if (g.purposes == 0 || g.categories == 0) return NothingGranted.selector;
        if (!Masks.purposesValid(g.purposes) || !Masks.categoriesValid(g.categories)) return MaskUnknown.selector;
        return 0;
    }

    /// @dev The new slot; over a live one, losing anything raises the epoch as a revocation does.
    function _granted(Grant calldata g, uint256 old) private view returns (uint256) {
        uint32 epoch = old.epochOf();
        if (old.isLive()) {
            uint256 today = block.timestamp / 1 days;
            bool startsLater = _max(g.fromDay, today) > _max(old.fromDayOf(), today);
            if (
                startsLater || g.untilDay < old.untilDayOf() || old.purposesOf() & ~g.purposes != 0
                    || old.categoriesOf() & ~g.categories != 0
            ) ++epoch;
        }
        return Masks.pack(epoch, g.replaces + 1, g.fromDay, g.untilDay, g.purposes, g.categories);
    }

    /// @dev Zero when the enrolled key signed; otherwise the selector of what is wrong.
    function _signatureRefusal(bytes32 subject, bytes calldata signer, bytes32 structHash, bytes calldata signature)
        private
        view
        returns (bytes4)
    {
        bytes32 stored = signerHashOf[subject];
        if (stored == 0) return NotEnrolled.selector;
        if (keccak256(signer) != stored) return SignerMismatch.selector;
        address key = _recover(structHash, signature);
        return key != address(0) && key == address(bytes20(signer)) ? bytes4(0) : SignatureInvalid.selector;
    }

    /// @dev One step on the trail for the accepted items; none when every item was skipped.
    function _close(uint16 kind, bytes32[] memory words, uint256 n) private {
        if (n == 0) return;
        _trail.append(kind, words.hash(n));
    }

    /// @dev Refused items cost next to nothing here, but every reader has to look at each.
    function _notTooMany(uint256 count) private pure {
        if (count > MAX_ITEMS) revert TooManyItems(count);
    }

    function _max(uint256 a, uint256 b) private pure returns (uint256) {
        return a > b ? a : b;
    }
}
