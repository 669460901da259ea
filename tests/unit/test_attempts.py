"""How often somebody may try to log in or to register."""

import pytest

from app.attempts import Allowance, Attempts
from app.errors import TooManyAttempts
from app.settings import get_settings
from tests.fixtures import Clock, Configure


@pytest.fixture
def clock() -> Clock:
    """A clock."""
    return Clock()


def test_so_many_at_once_and_then_one_after_the_other(clock: Clock) -> None:
    """What is beyond the limit is told how long to wait, and then is let through: one, and no more."""
    allowance = Allowance(3, 60, clock=clock)

    assert [allowance.take("ada") for _ in range(5)] == [0, 0, 0, 20, 20]
    clock.now += 19
    assert allowance.take("ada") == pytest.approx(1)
    clock.now += 1
    assert [allowance.take("ada") for _ in range(2)] == [0, pytest.approx(20)]


def test_all_come_back_within_the_period(clock: Clock) -> None:
    """After a whole period a key is as one that was never seen, and not better."""
    allowance = Allowance(3, 60, clock=clock)
    assert [allowance.take("ada") for _ in range(4)] == [0, 0, 0, 20]

    clock.now += 600

    assert [allowance.take("ada") for _ in range(4)] == [0, 0, 0, 20]


def test_keys_are_counted_apart(clock: Clock) -> None:
    """What one has spent is no other's, and can be given back."""
    allowance = Allowance(1, 60, clock=clock)
    assert [allowance.take("ada"), allowance.take("grace")] == [0, 0]
    assert [allowance.take("ada"), allowance.take("grace")] == [60, 60]

    allowance.give_back("ada")

    assert [allowance.take("ada"), allowance.take("grace")] == [0, 60]
    allowance.give_back("nobody")


def test_memory_is_bounded(clock: Clock) -> None:
    """Beyond the capacity the key is forgotten that was not seen for the longest time."""
    allowance = Allowance(2, 60, clock=clock, capacity=2)
    for key in ("ada", "grace", "ada", "edsger"):
        assert allowance.take(key) == 0

    assert len(allowance) == 2
    assert allowance.take("ada") > 0
    assert [allowance.take("grace") for _ in range(2)] == [0, 0]

    for number in range(1000):
        allowance.take(str(number))
    assert len(allowance) == 2
    allowance.forget()
    assert len(allowance) == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),  # a subscriber has a whole network of such addresses
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("testclient", "testclient", True),
        ("", "192.0.2.1", False),
    ],
)
def test_addresses(configure: Configure, clock: Clock, one: str, other: str, same: bool) -> None:
    """Attempts are counted by what one subscriber has: an IPv4 address, an IPv6 network."""
    configure(ATTEMPTS_PER_ADDRESS="1")
    attempts = Attempts(get_settings(), clock)
    attempts.count_address(one)

    if same:
        with pytest.raises(TooManyAttempts, match="from this address: try again in 60 seconds"):
            attempts.count_address(other)
    else:
        attempts.count_address(other)


def test_accounts(configure: Configure, clock: Clock) -> None:
    """Attempts at an account add up until one succeeds; the settings say how many, and for how long."""
    configure(ATTEMPTS_PER_ACCOUNT="2", ATTEMPTS_PERIOD="5")
    attempts = Attempts(get_settings(), clock)
    for _ in range(3):
        attempts.count_account("ada@example.org")
        attempts.succeeded("ada@example.org")
    for _ in range(2):
        attempts.count_account("ada@example.org")

    with pytest.raises(TooManyAttempts, match="with this e-mail address") as caught:
        attempts.count_account("ada@example.org")

    assert caught.value.retry_after == 3  # 2.5, in whole seconds
    attempts.count_account("grace@example.org")
