"""Limits as pure functions: how long a name must rest, and which addresses are one place, or one stranger."""

from __future__ import annotations

import pytest

from tokenkeep.domain.limits import FREE_FAILURES, LONGEST_DELAY, NEWCOMERS, address_block, delay_after, neighbourhood


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 0), (1, 0), (5, 0), (6, 1), (7, 2), (8, 4), (13, 128), (14, 256), (15, 300), (16, 300), (1_000_000, 300)],
)
def test_delay_doubles_up_to_five_minutes(failures: int, seconds: int):
    """Five failures cost nothing; each further one doubles the rest, which is never longer than five minutes."""
    assert delay_after(failures) == seconds * 1000


def test_newcomers_guess_no_more_than_the_delay_lets_in():
    """The attempts that are let in although a name must rest at most double what can be guessed in an hour."""
    assert NEWCOMERS.count / NEWCOMERS.window <= 1000 / LONGEST_DELAY
    assert delay_after(FREE_FAILURES) == 0


@pytest.mark.parametrize(
    ("address", "block", "wider"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.0/24"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("::1", "::/64", "::/48"),
        ("", "", ""),
        ("unix:", "unix:", "unix:"),
    ],
)
def test_addresses_of_one_holder_are_one_place(address: str, block: str, wider: str):
    """An IPv4 address or IPv6 /64 is one place, a /24 or /48 one stranger; what is no address stands for itself."""
    assert (address_block(address), neighbourhood(address)) == (block, wider)


def test_neighbours_are_told_apart_by_their_blocks():
    """Two hosts of one /64 are one place, two /64s are two."""
    assert address_block("2001:db8::1") == address_block("2001:db8::ffff:ffff:ffff:ffff")
    assert address_block("2001:db8::1") != address_block("2001:db8:0:1::1")
    assert address_block("192.0.2.1") != address_block("192.0.2.2")
