// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPermitRegistry, PermitStatus, Role} from "./interfaces/IPermitRegistry.sol";
import {ITrail} from "./interfaces/ITrail.sol";
import {Masks} from "./Masks.sol";
import {Typed} from "./Typed.sol";

/// @title Roles, datasets and permits, all by signature
contract PermitRegistry is IPermitRegistry, Typed {
    bytes32 private constant ROLE_CHANGE = keccak256(
        "RoleChange(address account,uint8 role,uint40 start,uint40 end,uint32 replaces,uint40 deadline)"
    );
    bytes32 private constant CANCEL_ROLE = keccak256(
        "CancelRole(address account,uint32 version,uint40 deadline)"
    );
    bytes32 private constant REGISTER_DATASET = keccak256(
        "RegisterDataset(bytes32 dataset,bytes32 documentHash,uint40 deadline)"
    );
    bytes32 private constant PERMIT_REQUEST = keccak256(
        "PermitRequest(bytes32 permit,bytes32 dataset,uint32 purposeNeed,uint32 categories,bytes32 codeHash,bytes32 paramsSchemaHash,uint32 minCohort,uint16 outputClasses,uint16 questions,uint40 expiry,bytes32 documentHash,uint40 deadline)"
    );
    bytes32 private constant VOTE = keccak256(
        "Vote(bytes32 permit,bytes32 requestHash,bool yes,uint40 deadline)"
    );
    bytes32 private constant SUSPEND = keccak256("Suspend(bytes32 permit,uint40 deadline)");

    uint16 private constant KIND_ROLE = 1;
    uint16 private constant KIND_DATASET = 2;
    uint16 private constant KIND_PERMIT = 3;
    uint16 private constant KIND_VOTE = 4;
    uint16 private constant KIND_SUSPEND = 5;
    uint16 private constant KIND_CANCEL_ROLE = 6;
    uint16 private constant MOST_QUESTIONS = 100;
    uint16 private constant INDIVIDUAL = 1 << 5; // OutputClass.Individual
    uint40 private constant FOREVER = type(uint40).max; // an end that is none

    uint8 public immutable quorum;
    uint32 public immutable roleDelay;
    bool private _founded; // the first dataset ends the founding ceremony: until then there is nothing to read

    mapping(address account => Member member) private _members;
    address[] private _committee; // everybody who was ever a member of it
    mapping(address account => uint40 time) private _committeeUntil; // how far terms went that a change has replaced
    mapping(address account => uint40 time) private _setAt; // when the newest role was given
    mapping(bytes32 dataset => address custodian) public custodianOf;
    mapping(bytes32 permit => Permit stored) private _permits;
    mapping(bytes32 permit => mapping(bool yes => address[] members)) private _votes;
    mapping(bytes32 permit => mapping(address member => bool voted)) private _voted;

    /// @param founders At least three distinct committee keys. They are in the ledger identity, not
    /// on the trail.
    /// @param roleDelay_ Seconds before a new worker or broker acts, within which any member can
    /// cancel it.
    constructor(
        address[] memory founders,
        uint8 quorum_,
        uint32 roleDelay_,
        bytes32 salt,
        ITrail trail
    ) Typed(salt, trail) {
        if (founders.length < 3 || quorum_ < 2 || quorum_ > founders.length)
            revert QuorumMissing(founders.length, quorum_);
        for (uint256 i; i < founders.length; ++i) {
            address founder = founders[i];
            if (_members[founder].role != Role.None) revert RoleTaken(founder, Role.Committee);
            _members[founder] = Member(Role.Committee, 0, FOREVER, 0);
            _committee.push(founder);
        }
        (quorum, roleDelay) = (quorum_, roleDelay_);
    }

    /// @inheritdoc IPermitRegistry
    function setRole(RoleChange calldata c, bytes[] calldata signatures) external direct {
        _notAfter(c.deadline);
        _requireQuorum(keccak256(abi.encode(ROLE_CHANGE, c)), signatures);
        Member memory held = _members[c.account];
        if (c.replaces != held.version) revert RoleVersionStale(c.replaces, held.version);
        (uint40 start, uint40 end) = _window(c, held);
        if (c.account == address(0) || c.role == Role.None || start > end)
            revert RoleWindowInvalid(start, end);
        if (held.role != Role.None && held.role != c.role && block.timestamp < held.end)
            revert RoleTaken(c.account, held.role);
        if (c.role == Role.Committee && held.role != Role.Committee) _committee.push(c.account);
        _committeeUntil[c.account] = _memberUntil(c.account);
        _members[c.account] = Member(c.role, start, end, held.version + 1);
        _setAt[c.account] = uint40(block.timestamp);
        if (_countLive(_committee, block.timestamp, false) < quorum) revert LastQuorum();
        if (_founded && (held.role == Role.Committee || c.role == Role.Committee))
            _requireLastingQuorum();
        emit RoleSet(c.account, c.role, start, end, held.version + 1);
        _append(KIND_ROLE, sha256(abi.encode(c.account, c.role, start, end, held.version + 1)));
    }

    /// @inheritdoc IPermitRegistry
    function cancelRole(CancelRole calldata order, bytes calldata signature) external direct {
        _notAfter(order.deadline);
        address by = _signerOf(keccak256(abi.encode(CANCEL_ROLE, order)), signature);
        // A member whose end came meanwhile as well: else a stolen quorum would only have to wait
        // for it.
        if (!isLive(by, Role.Committee) && _memberUntil(by) <= _setAt[order.account])
            revert NotAMember(by);
        Member storage m = _members[order.account];
        if (order.version != m.version) revert RoleVersionStale(order.version, m.version);
        if (!_acts(m.role) || m.start <= block.timestamp) revert NotPending(order.account);
        uint40 ended = uint40(block.timestamp);
        (m.start, m.end, m.version) = (ended, ended, order.version + 1);
        emit RoleCancelled(order.account, by, order.version + 1);
        _append(KIND_CANCEL_ROLE, sha256(abi.encode(order.account, by, order.version + 1)));
    }

    /// @inheritdoc IPermitRegistry
    function registerDataset(
        RegisterDataset calldata r,
        bytes calldata custodianSignature
    ) external direct {
        _notAfter(r.deadline);
        address custodian = _signerOf(
            keccak256(abi.encode(REGISTER_DATASET, r.dataset, r.documentHash, r.deadline)),
            custodianSignature
        );
        _requireLive(custodian, Role.Custodian);
        if (r.dataset == 0) revert DatasetUnknown(r.dataset); // elsewhere 0 stands for none
        if (custodianOf[r.dataset] != address(0)) revert DatasetExists(r.dataset);
        if (!_founded) _requireLastingQuorum(); // in the ceremony a member's end may come at once
        (custodianOf[r.dataset], _founded) = (custodian, true);
        emit DatasetRegistered(r.dataset, custodian, r.documentHash);
        _append(KIND_DATASET, sha256(abi.encode(r.dataset, custodian, r.documentHash)));
    }

    /// @inheritdoc IPermitRegistry
    function requestPermit(PermitRequest calldata r, bytes calldata signature) external direct {
        _notAfter(r.deadline);
        address applicant = _signerOf(keccak256(abi.encode(PERMIT_REQUEST, r)), signature);
        bool care = r.purposeNeed == Masks.CARE;
        _requireLive(applicant, care ? Role.Clinician : Role.Analyst);
        if (_permits[r.permit].status != PermitStatus.None) revert PermitExists(r.permit);
        if (custodianOf[r.dataset] == address(0)) revert DatasetUnknown(r.dataset);
        if (
            !(care ? _careValid(r) : _researchValid(r)) ||
            !Masks.categoriesValid(r.categories) ||
            r.questions == 0 ||
            r.questions > MOST_QUESTIONS ||
            r.expiry <= block.timestamp
        ) revert PermitInvalid();
        _permits[r.permit] = Permit({
            applicant: applicant,
            status: PermitStatus.Requested,
            expiry: r.expiry,
            dataset: r.dataset,
            requestHash: sha256(abi.encode(r)),
            codeHash: r.codeHash,
            paramsSchemaHash: r.paramsSchemaHash,
            minCohort: r.minCohort,
            purposeNeed: r.purposeNeed,
            categories: r.categories,
            outputClasses: r.outputClasses,
            questions: r.questions
        });
        emit PermitRequested(r.permit, r.dataset, applicant, r);
        _append(KIND_PERMIT, sha256(abi.encode(applicant, r)));
    }

    /// @inheritdoc IPermitRegistry
    function vote(Vote calldata v, bytes calldata signature) external direct {
        _notAfter(v.deadline);
        address member = _signerOf(
            keccak256(abi.encode(VOTE, v.permit, v.requestHash, v.yes, v.deadline)),
            signature
        );
        Permit storage stored = _permits[v.permit];
        if (stored.status == PermitStatus.None) revert PermitUnknown(v.permit);
        if (member == stored.applicant) revert ApplicantVoted(member);
        _requireLive(member, Role.Committee);
        if (stored.status != PermitStatus.Requested) revert PermitNotOpen(v.permit, stored.status);
        if (v.requestHash != stored.requestHash)
            revert RequestMismatch(v.requestHash, stored.requestHash);
        if (_voted[v.permit][member]) revert AlreadyVoted(member);
        _voted[v.permit][member] = true;
        emit Voted(v.permit, member, v.yes);
        _votes[v.permit][v.yes].push(member);
        if (_countLive(_votes[v.permit][v.yes], block.timestamp, false) >= quorum) {
            stored.status = v.yes ? PermitStatus.Approved : PermitStatus.Rejected;
            if (v.yes) emit PermitApproved(v.permit, stored.expiry);
            else emit PermitRejected(v.permit);
        }
        _append(KIND_VOTE, sha256(abi.encode(v.permit, member, v.yes)));
    }

    /// @inheritdoc IPermitRegistry
    function suspend(Suspend calldata order, bytes calldata signature) external direct {
        _notAfter(order.deadline);
        address by = _signerOf(
            keccak256(abi.encode(SUSPEND, order.permit, order.deadline)),
            signature
        );
        if (!isLive(by, Role.DataProtection)) _requireLive(by, Role.Committee);
        Permit storage stored = _permits[order.permit];
        if (stored.status != PermitStatus.Approved)
            revert PermitNotOpen(order.permit, stored.status);
        stored.status = PermitStatus.Suspended;
        emit PermitSuspended(order.permit, by);
        _append(KIND_SUSPEND, sha256(abi.encode(order.permit, by)));
    }

    /// @inheritdoc IPermitRegistry
    function roleOf(address account) external view returns (Member memory) {
        return _members[account];
    }

    /// @inheritdoc IPermitRegistry
    function isLive(address account, Role role) public view returns (bool) {
        return _isLiveAt(account, role, block.timestamp);
    }

    /// @inheritdoc IPermitRegistry
    function isQuorum(address[] calldata accounts) external view returns (bool) {
        address previous;
        for (uint256 i; i < accounts.length; ++i) {
            if (accounts[i] <= previous || !isLive(accounts[i], Role.Committee)) return false;
            previous = accounts[i];
        }
        return accounts.length >= quorum;
    }

    /// @inheritdoc IPermitRegistry
    function permitOf(bytes32 permit) external view returns (Permit memory) {
        return _permits[permit];
    }

    /// @dev For the care of one person at a time, and for nothing else.
    function _careValid(PermitRequest calldata r) private pure returns (bool) {
        return r.outputClasses == INDIVIDUAL && r.minCohort <= 1;
    }

    /// @dev For research on a group, of which no result about one person comes.
    function _researchValid(PermitRequest calldata r) private pure returns (bool) {
        return
            Masks.needValid(r.purposeNeed) &&
            r.outputClasses != 0 &&
            r.outputClasses & INDIVIDUAL == 0;
    }

    /// @dev Those that handle keys and plaintext.
    function _acts(Role role) private pure returns (bool) {
        return role == Role.Worker || role == Role.Broker;
    }

    /// @dev From when and until when the change holds. A new worker or broker begins after the
    /// delay; what ends such a role, or renews one that is live, waits for nothing. A live member
    /// of the committee stays one until the delay is over: a quorum that was stolen cannot first
    /// end who could cancel what it does next.
    function _window(
        RoleChange calldata c,
        Member memory held
    ) private view returns (uint40 start, uint40 end) {
        (start, end) = (c.start, c.end);
        if (!_founded) return (start, end);
        uint40 earliest = uint40(block.timestamp) + roleDelay;
        if (isLive(c.account, Role.Committee)) {
            uint40 least = earliest < held.end ? earliest : held.end;
            return (held.start, end > least ? end : least);
        }
        if (
            _acts(c.role) && end > block.timestamp && !isLive(c.account, c.role) && start < earliest
        ) start = earliest;
    }

    /// @dev Until when the account was in the committee, now at the latest; 0 if never. A term that
    /// has not begun adds nothing, and a later one takes nothing away.
    function _memberUntil(address account) private view returns (uint40 until) {
        Member storage m = _members[account];
        until = _committeeUntil[account];
        bool begun = m.role == Role.Committee && m.start < m.end && m.start <= block.timestamp;
        uint40 end = m.end < block.timestamp ? m.end : uint40(block.timestamp);
        if (begun && end > until) until = end;
    }

    function _isLiveAt(address account, Role role, uint256 time) private view returns (bool) {
        Member storage m = _members[account];
        return m.role == role && m.start <= time && time < m.end;
    }

    function _requireLive(address account, Role role) private view {
        if (!isLive(account, role)) revert NotLive(account, role);
    }

    /// @dev Ascending signers make a repeated signature visible without a set.
    function _requireQuorum(bytes32 structHash, bytes[] calldata signatures) private view {
        address previous;
        for (uint256 i; i < signatures.length; ++i) {
            address signer = _signerOf(structHash, signatures[i]);
            if (signer <= previous) revert SignersNotAscending();
            _requireLive(signer, Role.Committee);
            previous = signer;
        }
        if (signatures.length < quorum) revert QuorumMissing(signatures.length, quorum);
    }

    /// @dev A quorum must last: those whose end is set are none some day, and then nobody could
    /// give a role any more.
    function _requireLastingQuorum() private view {
        if (_countLive(_committee, block.timestamp + roleDelay, true) < quorum) revert LastQuorum();
    }

    /// @dev `lasting`: only those without an end. A person is listed once more each time she
    /// rejoins the committee, so repeats are skipped.
    function _countLive(
        address[] storage accounts,
        uint256 time,
        bool lasting
    ) private view returns (uint256 live) {
        for (uint256 i; i < accounts.length; ++i) {
            bool repeated;
            for (uint256 j; j < i; ++j) if (accounts[j] == accounts[i]) repeated = true;
            if (repeated || (lasting && _members[accounts[i]].end != FOREVER)) continue;
            if (_isLiveAt(accounts[i], Role.Committee, time)) ++live;
        }
    }
}
