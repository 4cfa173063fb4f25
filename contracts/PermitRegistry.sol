// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPermitRegistry, PermitStatus, Role} from "./interfaces/IPermitRegistry.sol";
import {ITrail} from "./interfaces/ITrail.sol";
import {Masks} from "./Masks.sol";
import {Typed} from "./Typed.sol";

/// @title Roles, datasets and permits, all by signature
contract PermitRegistry is IPermitRegistry, Typed {
    bytes32 private constant ROLE_CHANGE = keccak256(
        "RoleChange(address account,uint8 role,uint40 start,uint40 end,uint256 nonce,uint40 deadline)"
    );
    bytes32 private constant REGISTER_DATASET =
        keccak256("RegisterDataset(bytes32 dataset,bytes32 documentHash,uint40 deadline)");
    bytes32 private constant PERMIT_REQUEST = keccak256(
        "PermitRequest(bytes32 permit,bytes32 dataset,uint32 purposeNeed,uint32 categories,bytes32 codeHash,bytes32 paramsSchemaHash,uint32 minCohort,uint16 outputClasses,uint40 expiry,bytes32 documentHash,uint40 deadline)"
    );
    bytes32 private constant VOTE = keccak256("Vote(bytes32 permit,bytes32 requestHash,bool yes,uint40 deadline)");
    bytes32 private constant SUSPEND = keccak256("Suspend(bytes32 permit,uint40 deadline)");

    uint16 private constant KIND_ROLE = 1;
    uint16 private constant KIND_DATASET = 2;
    uint16 private constant KIND_PERMIT = 3;
    uint16 private constant KIND_VOTE = 4;
    uint16 private constant KIND_SUSPEND = 5;

    ITrail private immutable _trail;
    uint8 public immutable quorum;

    mapping(address account => Member member) private _members;
    address[] private _committee; // everybody who was ever a member of it
    mapping(uint256 nonce => bool used) private _nonces;
    mapping(bytes32 dataset => address custodian) public custodianOf;
    mapping(bytes32 permit => Permit stored) private _permits;
    mapping(bytes32 permit => address[] members) private _yes;
    mapping(bytes32 permit => mapping(address member => bool voted)) private _voted;

    /// @param founders At least three distinct committee keys. They are in the ledger identity, not on the trail.
    constructor(address[] memory founders, uint8 quorum_, bytes32 salt, ITrail trail) Typed(salt) {
        if (founders.length < 3 || quorum_ < 2 || quorum_ > founders.length) revert QuorumMissing(founders.length, quorum_);
        for (uint256 i; i < founders.length; ++i) {
            address founder = founders[i];
            if (_members[founder].role != Role.None) revert RoleTaken(founder, Role.Committee);
            _members[founder] = Member(Role.Committee, 0, type(uint40).max);
            _committee.push(founder);
        }
        quorum = quorum_;
        _trail = trail;
    }

    /// @inheritdoc IPermitRegistry
    function setRole(RoleChange calldata c, bytes[] calldata signatures) external direct {
        _notAfter(c.deadline);
        if (_nonces[c.nonce]) revert NonceUsed(c.nonce);
        _nonces[c.nonce] = true;
        _requireQuorum(
            keccak256(abi.encode(ROLE_CHANGE, c.account, c.role, c.start, c.end, c.nonce, c.deadline)), signatures
        );
        if (c.account == address(0) || c.role == Role.None || c.start > c.end) revert RoleWindowInvalid(c.start, c.end);
        Member memory held = _members[c.account];
        if (held.role != Role.None && held.role != c.role && block.timestamp < held.end) revert RoleTaken(c.account, held.role);
        if (c.role == Role.Committee && held.role != Role.Committee) _committee.push(c.account);
        _members[c.account] = Member(c.role, c.start, c.end);
        if (_liveCommittee() < quorum) revert LastQuorum();
        emit RoleSet(c.account, c.role, c.start, c.end);
        _trail.append(KIND_ROLE, sha256(abi.encode(c.account, c.role, c.start, c.end)));
    }

    /// @inheritdoc IPermitRegistry
    function registerDataset(RegisterDataset calldata r, bytes calldata custodianSignature) external direct {
        _notAfter(r.deadline);
        address custodian =
            _signerOf(keccak256(abi.encode(REGISTER_DATASET, r.dataset, r.documentHash, r.deadline)), custodianSignature);
        _requireLive(custodian, Role.Custodian);
        if (custodianOf[r.dataset] != address(0)) revert DatasetExists(r.dataset);
        custodianOf[r.dataset] = custodian;
        emit DatasetRegistered(r.dataset, custodian, r.documentHash);
        _trail.append(KIND_DATASET, sha256(abi.encode(r.dataset, custodian, r.documentHash)));
    }

    /// @inheritdoc IPermitRegistry
    function requestPermit(PermitRequest calldata r, bytes calldata signature) external direct {
        _notAfter(r.deadline);
        address applicant = _signerOf(keccak256(abi.encode(PERMIT_REQUEST, r)), signature);
        _requireLive(applicant, Role.Analyst);
        if (_permits[r.permit].status != PermitStatus.None) revert PermitExists(r.permit);
        if (custodianOf[r.dataset] == address(0)) revert DatasetUnknown(r.dataset);
        if (
            !Masks.needValid(r.purposeNeed) || !Masks.categoriesValid(r.categories) || r.outputClasses == 0
                || r.expiry <= block.timestamp
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
            outputClasses: r.outputClasses
        });
        emit PermitRequested(r.permit, r.dataset, applicant, r);
        _trail.append(KIND_PERMIT, sha256(abi.encode(applicant, r)));
    }

    /// @inheritdoc IPermitRegistry
    function vote(Vote calldata v, bytes calldata signature) external direct {
        _notAfter(v.deadline);
        address member =
            _signerOf(keccak256(abi.encode(VOTE, v.permit, v.requestHash, v.yes, v.deadline)), signature);
        Permit storage stored = _permits[v.permit];
        if (stored.status == PermitStatus.None) revert PermitUnknown(v.permit);
        if (member == stored.applicant) revert ApplicantVoted(member);
        _requireLive(member, Role.Committee);
        if (stored.status != PermitStatus.Requested) revert PermitNotOpen(v.permit, stored.status);
        if (v.requestHash != stored.requestHash) revert RequestMismatch(v.requestHash, stored.requestHash);
        if (_voted[v.permit][member]) revert AlreadyVoted(member);
        _voted[v.permit][member] = true;
        emit Voted(v.permit, member, v.yes);
        if (v.yes) {
            _yes[v.permit].push(member);
            if (_liveYes(v.permit) >= quorum) {
                stored.status = PermitStatus.Approved;
                emit PermitApproved(v.permit, stored.expiry);
            }
        }
        _trail.append(KIND_VOTE, sha256(abi.encode(v.permit, member, v.yes)));
    }

    /// @inheritdoc IPermitRegistry
    function suspend(Suspend calldata order, bytes calldata signature) external direct {
        _notAfter(order.deadline);
        address by = _signerOf(keccak256(abi.encode(SUSPEND, order.permit, order.deadline)), signature);
        if (!isLive(by, Role.DataProtection)) _requireLive(by, Role.Committee);
        Permit storage stored = _permits[order.permit];
        if (stored.status != PermitStatus.Approved) revert PermitNotOpen(order.permit, stored.status);
        stored.status = PermitStatus.Suspended;
        emit PermitSuspended(order.permit, by);
        _trail.append(KIND_SUSPEND, sha256(abi.encode(order.permit, by)));
    }

    /// @inheritdoc IPermitRegistry
    function roleOf(address account) external view returns (Member memory) {
        return _members[account];
    }

    /// @inheritdoc IPermitRegistry
    function isLive(address account, Role role) public view returns (bool) {
        Member storage m = _members[account];
        return m.role == role && m.start <= block.timestamp && block.timestamp < m.end;
    }

    /// @inheritdoc IPermitRegistry
    function permitOf(bytes32 permit) external view returns (Permit memory) {
        return _permits[permit];
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

    function _liveCommittee() private view returns (uint256 live) {
        return _countLive(_committee);
    }

    function _liveYes(bytes32 permit) private view returns (uint256 live) {
        return _countLive(_yes[permit]);
    }

    /// @dev A person is listed once more each time she rejoins the committee, so repeats are skipped.
    function _countLive(address[] storage accounts) private view returns (uint256 live) {
        for (uint256 i; i < accounts.length; ++i) {
            bool repeated;
            for (uint256 j; j < i; ++j) if (accounts[j] == accounts[i]) repeated = true;
            if (!repeated && isLive(accounts[i], Role.Committee)) ++live;
        }
    }
}
