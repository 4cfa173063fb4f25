"""Roles over time: what a change replaces, when a new worker begins, and who stops it; contracts
and replayed rules agree.
"""

from __future__ import annotations

import pytest
from narrated import bundle_of, replay

from api.demo.stage import World
from chain.devnode.process import DevChain
from chain.errors import Refused
from chain.events import RoleSet
from chain.wallets import Wallet
from governance.rules.state import Member
from governance.rules.vocabulary import WORKER

FOREVER = 2**40 - 1


@pytest.fixture
def world(devchain: DevChain) -> World:
    return World.create(devchain.url)


def member(world: World, account: str) -> Member:
    """The replayed role, which must equal the contract's."""
    role = replay(bundle_of(world), signed=True).replayed.members[bytes.fromhex(account[2:])]
    assert tuple(role) == tuple(world.ledger.read("PermitRegistry", "roleOf", account))
    return role


def test_a_new_worker_waits_and_any_member_stops_it(world: World) -> None:
    delay, account = world.ledger.identity["roleDelay"], Wallet.new().address
    given = world.set_role(account, "worker").one(RoleSet)
    begins = int(world.ledger.block(given.block)["timestamp"], 16) + delay
    assert given.start == begins == member(world, account).start
    assert not world.ledger.read("PermitRegistry", "isLive", account, WORKER)
    with pytest.raises(Refused, match="NotAMember"):
        world.cancel_role(account, by="sol")
    with pytest.raises(Refused, match="RoleVersionStale"):
        world.cancel_role(account, version=0)
    world.cancel_role(account, by="rui")
    stopped = member(world, account)
    assert stopped.end == stopped.start <= world.ledger.now()
    assert stopped.version == 2
    with pytest.raises(Refused, match="NotPending"):
        world.cancel_role(account)


@pytest.mark.parametrize("role", ["worker", "broker"])
def test_renewing_or_ending_a_live_role_has_no_delay(world: World, role: str) -> None:
    account = world.people["wanda" if role == "worker" else "bram"].address
    later = world.ledger.now() + 10**6
    world.set_role(account, role, end=later)
    assert member(world, account)[1:3] == (0, later)
    world.set_role(account, role, end=world.ledger.now())
    assert not world.ledger.read("PermitRegistry", "isLive", account, WORKER)
    world.set_role(account, role)  # it ended: now it is new
    assert member(world, account).start > world.ledger.now()


def test_other_roles_begin_at_once(world: World) -> None:
    account = Wallet.new().address
    world.set_role(account, "analyst")
    assert member(world, account).start == 0


def test_the_key_ceremony_has_no_delay(devchain: DevChain) -> None:
    """Until the first dataset there is nothing to read."""
    world = World.create(devchain.url, roles=False)
    first, second = Wallet.new().address, Wallet.new().address
    world.set_role(first, "worker")
    assert world.ledger.read("PermitRegistry", "isLive", first, WORKER)
    world.set_role(world.people["omar"].address, "custodian")
    world.register_dataset()
    world.set_role(second, "worker")
    assert not world.ledger.read("PermitRegistry", "isLive", second, WORKER)


def test_a_start_that_is_further_off_than_the_delay_is_kept(world: World) -> None:
    account, start = Wallet.new().address, world.ledger.now() + 10**7
    world.set_role(account, "worker", start=start)
    assert member(world, account).start == start


def test_a_role_that_would_end_before_it_begins_is_refused(world: World) -> None:
    with pytest.raises(Refused, match="RoleWindowInvalid"):
        world.set_role(Wallet.new().address, "worker", end=world.ledger.now() + 60)


def test_a_change_names_what_it_replaces(world: World) -> None:
    account = world.people["noor"].address
    with pytest.raises(Refused, match="RoleVersionStale"):
        world.set_role(account, "analyst", replaces=0)
    with pytest.raises(Refused, match="RoleVersionStale"):
        world.set_role(account, "analyst", replaces=2)
    world.set_role(account, "analyst", replaces=1)
    assert member(world, account).version == 2
