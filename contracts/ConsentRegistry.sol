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

    bytes32 private constant ENROLMENT = keccak256(
        "Enrolment(bytes32 subject,bytes signer,uint8 assurance,uint40 deadline)"
    );
    bytes32 private constant GRANT = keccak256(
        "Grant(bytes32 subject,bytes32 dataset,uint32 epoch,uint24 replaces,uint24 fromDay,uint24 untilDay,uint32 purposes,uint32 categories,bytes32 termsCommitment,bytes32 noticeHash,uint40 deadline)"
    );
    bytes32 private constant REVOKE = keccak256(
        "Revoke(bytes32 subject,bytes32 dataset,uint32 epoch)"
    );

    uint256 private constant MAX_ITEMS = 256;
    uint16 private constant KIND_ENROL = 16;
    uint16 private constant KIND_GRANT = 17;
    uint16 private constant KIND_REVOKE = 18;
    uint16 private constant KIND_REVOKE_STALE = 19;

    /// @dev What one batch leaves on the trail: `words` is the number of words of accepted items,
    /// then those words.
    /// @param accepted Words in use, the first one included.
    /// @param refused Item hash and reason of each refused item that is recorded, `pairs` words in
    /// use.
    /// @param last Why the last item was not taken, for a call that leaves nothing.
    struct Step {
        bytes32[] words;
        bytes32[] refused;
        uint256 accepted;
        uint256 pairs;
        bytes4 last;
    }

    IPermitRegistry private immutable _permits;

    mapping(bytes32 subject => bytes32 signerHash) public signerHashOf;
    /// @dev Dataset first: authorise reads many people of one dataset and pays the outer hash once.
    mapping(bytes32 dataset => mapping(bytes32 subject => uint256 slot)) private _slots;

    constructor(bytes32 salt, IPermitRegistry permits, ITrail trail) Typed(salt, trail) {
        _permits = permits;
    }

    /// @inheritdoc IConsentRegistry
    function enrol(EnrolmentItem[] calldata items) external direct {
        Step memory step = _begin(items.length);
        for (uint256 i; i < items.length; ++i) {
            Enrolment calldata e = items[i].enrolment;
            (bytes4 refusal, address registrar) = _checkEnrolment(items[i]);
            bytes32 item = _hashOf(e);
            bool used = _isUsed(item);
            if (used && refusal == 0) refusal = AlreadyRecorded.selector;
            if (refusal != 0) {
                step.last = refusal;
                // Without a trace: what no registrar signed, what was accepted before, what was
                // refused before, and what lacks her signature: whoever sees it on its way must not
                // use up what she signed.
                bool accepted = signerHashOf[e.subject] == keccak256(e.signer);
                bool unsigned = refusal == SignatureInvalid.selector;
                if (registrar != address(0) && !accepted && !used && !unsigned)
                    _refuse(step, i, item, refusal);
                continue;
            }
            signerHashOf[e.subject] = keccak256(e.signer);
            emit Enrolled(e.subject, e.signer, e.assurance, registrar);
            _accept(step, e.subject, sha256(e.signer), bytes32(uint256(uint160(registrar))));
        }
        _close(KIND_ENROL, step);
    }

    /// @inheritdoc IConsentRegistry
    function grant(GrantItem[] calldata items) external direct {
        Step memory step = _begin(items.length);
        for (uint256 i; i < items.length; ++i) {
            Grant calldata g = items[i].grant;
            uint256 old = _slots[g.dataset][g.subject];
            bytes32 structHash = keccak256(abi.encode(GRANT, g));
            bytes4 refusal = _signatureRefusal(
                g.subject,
                items[i].signer,
                structHash,
                items[i].signature
            );
            if (refusal != 0) {
                step.last = refusal;
                continue;
            }
            refusal = _checkGrant(g, old);
            bytes32 item = sha256(abi.encode(g));
            bool known = _permits.custodianOf(g.dataset) != address(0);
            bool used = _isUsed(item);
            if (!known) refusal = IPermitRegistry.DatasetUnknown.selector;
            else if (used && refusal == 0) refusal = AlreadyRecorded.selector;
            if (refusal != 0) {
                step.last = refusal;
                // Without a trace: what is about no dataset, what a later consent has replaced,
                // what was refused before, and what follows a message that is not here yet: whoever
                // sends it first must not use it up.
                bool present = g.replaces == old.versionOf() && g.epoch <= old.epochOf();
                if (known && !used && present) _refuse(step, i, item, refusal);
                continue;
            }
            uint256 slot = _granted(g, old);
            _slots[g.dataset][g.subject] = slot;
            emit ConsentGranted(
                g.subject,
                g.dataset,
                slot.epochOf(),
                slot.versionOf(),
                slot,
                g.termsCommitment,
                g.noticeHash
            );
            _accept(step, g.subject, bytes32(slot), g.termsCommitment);
        }
        _close(KIND_GRANT, step);
    }

    /// @inheritdoc IConsentRegistry
    function revoke(
        Revoke calldata r,
        bytes calldata signer,
        bytes calldata signature
    ) external direct returns (bool acted, uint32 current) {
        bytes4 refusal = _signatureRefusal(
            r.subject,
            signer,
            keccak256(abi.encode(REVOKE, r)),
            signature
        );
        if (refusal == NotEnrolled.selector) revert NotEnrolled(r.subject);
        if (refusal == SignerMismatch.selector) revert SignerMismatch();
        if (refusal != 0) revert SignatureInvalid();
        if (_permits.custodianOf(r.dataset) == address(0))
            revert IPermitRegistry.DatasetUnknown(r.dataset);
        uint256 slot = _slots[r.dataset][r.subject];
        current = slot.epochOf();
        if (r.epoch > current) revert EpochStale(r.epoch, current);
        if (r.epoch < current) {
            bytes32 message = sha256(abi.encode(r));
            _requireUnused(message);
            _use(message);
            emit RevokeStale(r.subject, r.dataset, r.epoch, current);
            _append(KIND_REVOKE_STALE, sha256(abi.encode(r.subject, r.dataset, r.epoch, current)));
            return (false, current);
        }
        _slots[r.dataset][r.subject] = slot.revoked();
        emit ConsentRevoked(r.subject, r.dataset, current);
        _append(KIND_REVOKE, sha256(abi.encode(r.subject, r.dataset, current)));
        return (true, current + 1);
    }

    /// @inheritdoc IConsentRegistry
    function slotOf(bytes32 subject, bytes32 dataset) external view returns (uint256) {
        return _slots[dataset][subject];
    }

    /// @inheritdoc IConsentRegistry
    function slotsOf(
        bytes32 dataset,
        bytes32[] calldata subjects
    ) external view returns (uint256[] memory slots) {
        mapping(bytes32 subject => uint256 slot) storage ofDataset = _slots[dataset];
        slots = new uint256[](subjects.length);
        for (uint256 i; i < subjects.length; ++i) slots.set(i, ofDataset[subjects.get(i)]);
        slots.answer();
    }

    /// @dev What is wrong, or zero; the registrar is zero where no live one signed, and then
    /// nothing is recorded.
    function _checkEnrolment(
        EnrolmentItem calldata item
    ) private view returns (bytes4, address registrar) {
        Enrolment calldata e = item.enrolment;
        bytes calldata own = item.signerSignature; // read first: an item that cannot be read reverts the whole call
        bytes32 structHash = keccak256(
            abi.encode(ENROLMENT, e.subject, keccak256(e.signer), e.assurance, e.deadline)
        );
        registrar = _recover(structHash, item.registrarSignature);
        if (!_permits.isLive(registrar, Role.Registrar))
            return (NotARegistrar.selector, address(0));
        if (block.timestamp > e.deadline) return (DeadlinePassed.selector, registrar);
        if (signerHashOf[e.subject] != 0) return (AlreadyEnrolled.selector, registrar);
        if (e.signer.length != 20 || e.subject == 0) return (SignerInvalid.selector, registrar);
        address key = _recover(structHash, own);
        if (key == address(0) || key != address(bytes20(e.signer)))
            return (SignatureInvalid.selector, registrar);
        return (0, registrar);
    }

    /// @dev What is wrong with a grant that her own key signed, or zero.
    function _checkGrant(Grant calldata g, uint256 old) private view returns (bytes4) {
        if (block.timestamp > g.deadline) return DeadlinePassed.selector;
        if (g.epoch != old.epochOf()) return EpochStale.selector;
        if (g.replaces != old.versionOf()) return VersionStale.selector;
        if (g.fromDay > g.untilDay || g.untilDay < block.timestamp / 1 days)
            return WindowInvalid.selector;
        if (g.purposes == 0 || g.categories == 0) return NothingGranted.selector;
        if (!Masks.purposesValid(g.purposes) || !Masks.categoriesValid(g.categories))
            return MaskUnknown.selector;
        return 0;
    }

    /// @dev The new slot; over a live one, losing anything raises the epoch as a revocation does.
    function _granted(Grant calldata g, uint256 old) private view returns (uint256) {
        uint32 epoch = old.epochOf();
        if (old.isLive()) {
            uint256 today = block.timestamp / 1 days;
            bool startsLater = _max(g.fromDay, today) > _max(old.fromDayOf(), today);
            if (
                startsLater ||
                g.untilDay < old.untilDayOf() ||
                old.purposesOf() & ~g.purposes != 0 ||
                old.categoriesOf() & ~g.categories != 0
            ) ++epoch;
        }
        return Masks.pack(epoch, g.replaces + 1, g.fromDay, g.untilDay, g.purposes, g.categories);
    }

    /// @dev Zero when the enrolled key signed; otherwise the selector of what is wrong.
    function _signatureRefusal(
        bytes32 subject,
        bytes calldata signer,
        bytes32 structHash,
        bytes calldata signature
    ) private view returns (bytes4) {
        bytes32 stored = signerHashOf[subject];
        if (stored == 0) return NotEnrolled.selector;
        if (keccak256(signer) != stored) return SignerMismatch.selector;
        address key = _recover(structHash, signature);
        return
            key != address(0) && key == address(bytes20(signer))
                ? bytes4(0)
                : SignatureInvalid.selector;
    }

    /// @dev Refused items cost next to nothing here, but every reader has to look at each.
    function _begin(uint256 items) private pure returns (Step memory step) {
        if (items > MAX_ITEMS) revert TooManyItems(items);
        (step.words, step.refused) = (new bytes32[](1 + 3 * items), new bytes32[](2 * items));
        step.accepted = 1;
    }

    function _accept(Step memory step, bytes32 first, bytes32 second, bytes32 third) private pure {
        (step.words[step.accepted], step.words[step.accepted + 1]) = (first, second);
        step.words[step.accepted + 2] = third;
        step.accepted += 3;
    }

    function _refuse(Step memory step, uint256 index, bytes32 item, bytes4 reason) private {
        _use(item);
        emit ItemRefused(index, reason);
        (step.refused[step.pairs], step.refused[step.pairs + 1]) = (item, reason);
        step.pairs += 2;
    }

    /// @dev One step on the trail: how many words the accepted items have, those words, then the
    /// refused items.
    function _close(uint16 kind, Step memory step) private {
        if (step.accepted == 1 && step.pairs == 0) revert NothingRecorded(step.last);
        step.words[0] = bytes32(step.accepted - 1);
        for (uint256 i; i < step.pairs; ++i) step.words[step.accepted + i] = step.refused[i];
        _append(kind, step.words.hash(step.accepted + step.pairs));
    }

    /// @dev Names an enrolment for readers that have no keccak256.
    function _hashOf(Enrolment calldata e) private pure returns (bytes32) {
        return sha256(abi.encode(e.subject, sha256(e.signer), e.assurance, e.deadline));
    }

    function _max(uint256 a, uint256 b) private pure returns (uint256) {
        return a > b ? a : b;
    }
}
