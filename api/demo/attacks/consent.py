"""Attacks on enrolment and consent."""

from __future__ import annotations

from dataclasses import replace

from api.demo.attacks.frame import attack, willing
from api.demo.forgeries import high_s
from api.demo.stage import World, random32
from api.operate.bootstrap import FOREVER
from chain.events import Receipt
from chain.vocabulary import Category
from chain.wallets import Wallet


@attack("enrolment without the registrar", "operator", "NotARegistrar")
def no_registrar(world: World, forged: bool) -> Receipt:
    world.people["relay"] = world.relayer
    item = world.enrolment(random32(), Wallet.new(), registrar="relay" if forged else "rita")
    return world.ledger.relay("ConsentRegistry", "enrol", [item])


@attack("enrolment of a key that did not sign", "registrar", "SignatureInvalid")
def no_key(world: World, forged: bool) -> Receipt:
    her_wallet, other_wallet = Wallet.new(), Wallet.new()
    message, registrar, signature = world.enrolment(random32(), her_wallet)
    if forged:
        fields = {
            "subject": message[0],
            "signer": her_wallet.signer,
            "assurance": 1,
            "deadline": FOREVER,
        }
        signature = other_wallet.sign(world.ledger.domain, "Enrolment", fields)
    return world.ledger.relay("ConsentRegistry", "enrol", [(message, registrar, signature)])


@attack("a grant by a third party", "operator", "SignerMismatch")
def third_party_grant(world: World, forged: bool) -> Receipt:
    (subject,) = world.enrol()
    mallory = Wallet.new()
    message, signer, signature = world.grant_item(
        world.grant_message(subject), mallory if forged else None
    )
    return world.ledger.relay(
        "ConsentRegistry", "grant", [(message, mallory.signer if forged else signer, signature)]
    )


@attack("a revocation by a third party", "operator", "SignatureInvalid")
def third_party_revoke(world: World, forged: bool) -> Receipt:
    (subject,) = willing(world, 1)
    return world.revoke(subject, wallet=Wallet.new() if forged else None)


@attack("the high-s twin of a signature", "operator", "SignatureInvalid")
def high_s_twin(world: World, forged: bool) -> Receipt:
    (subject,) = world.enrol()
    message, signer, signature = world.grant_item(world.grant_message(subject))
    return world.ledger.relay(
        "ConsentRegistry", "grant", [(message, signer, high_s(signature) if forged else signature)]
    )


@attack("a grant after its deadline", "operator", "DeadlinePassed")
def late_grant(world: World, forged: bool) -> Receipt:
    return world.grant(world.enrol(), deadline=world.ledger.now() - 60 if forged else FOREVER)


@attack("a grant for a future epoch", "operator", "EpochStale")
def future_epoch(world: World, forged: bool) -> Receipt:
    return world.grant(world.enrol(), epoch=1 if forged else 0)


@attack("a grant that replaces a version there never was", "operator", "VersionStale")
def wrong_version(world: World, forged: bool) -> Receipt:
    return world.grant(world.enrol(), replaces=1 if forged else 0)


@attack("a narrower grant used up before the wider one is sent", "stranger", "VersionStale")
def early_narrow(world: World, forged: bool) -> Receipt:
    """She signs wide, then narrow: if the narrow one were refused and recorded first, it would be
    lost.
    """
    (subject,) = world.enrol()
    wide = world.grant_item(world.grant_message(subject))
    narrow = world.grant_item(
        world.grant_message(subject, replaces=1, categories=1 << Category.OBSERVATIONS)
    )
    if not forged:
        world.ledger.relay("ConsentRegistry", "grant", [wide])
    receipt = world.ledger.relay("ConsentRegistry", "grant", [narrow])
    return replace(receipt, events=()) if forged else receipt  # recorded, which the attack wants


@attack("a new grant used up before her withdrawal is sent", "stranger", "EpochStale")
def early_return(world: World, forged: bool) -> Receipt:
    (subject,) = willing(world, 1)
    anew = world.grant_item(world.grant_message(subject, epoch=1))
    if not forged:
        world.revoke(subject)
    receipt = world.ledger.relay("ConsentRegistry", "grant", [anew])
    return replace(receipt, events=()) if forged else receipt  # as above


@attack("a withheld wide grant after a narrow one", "operator", "VersionStale")
def withheld_wide(world: World, forged: bool) -> Receipt:
    """She signs wide, then narrow before the wide one is sent: only one of them can ever count."""
    (subject,) = world.enrol()
    wide = world.grant_item(world.grant_message(subject))
    narrow = world.grant_item(world.grant_message(subject, categories=1 << Category.OBSERVATIONS))
    if forged:
        world.ledger.relay("ConsentRegistry", "grant", [narrow])
        return world.ledger.relay("ConsentRegistry", "grant", [wide])
    return world.ledger.relay("ConsentRegistry", "grant", [narrow])


@attack("an old revocation after a new grant", "operator", "RevokeStale")
def old_revocation(world: World, forged: bool) -> Receipt:
    (subject,) = willing(world, 1)
    world.revoke(subject)
    world.grant([subject])
    before = world.slot(subject)
    receipt = world.revoke(subject, epoch=0 if forged else 1)
    if forged and world.slot(subject) != before:
        raise AssertionError("a stale revocation changed the consent")
    return receipt


@attack("a grant of an epoch that was revoked", "operator", "EpochStale")
def revived_grant(world: World, forged: bool) -> Receipt:
    (subject,) = willing(world, 1)
    grant_item = world.grant_item(
        world.grant_message(subject, untilDay=world.ledger.now() // 86_400 + 900)
    )
    if forged:
        world.revoke(subject)
    return world.ledger.relay("ConsentRegistry", "grant", [grant_item])
