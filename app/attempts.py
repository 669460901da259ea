"""How often somebody may try to log in or to register: counted by the address that they come from, and by the account.

Each process counts for itself, in its memory. That is enough against one who guesses passwords or fills the table of
users; where several processes serve one site, it is that many times the limit, and a proxy in front of them counts better.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from app.errors import TooManyAttempts
from app.settings import Settings

REMEMBERED = 10_000
"""Addresses, and accounts, that are counted at the same time: some megabytes."""

Clock = Callable[[], float]


class Allowance:
    """So many attempts for each key, of which one comes back every `period / limit` seconds.

    Whoever is refused loses nothing by it. A key that is not seen for a period is as one that was never seen; when there
    are more than `capacity`, the one that was not seen for the longest time is forgotten.

    Args:
        limit: Attempts that a key may make at once.
        period: Seconds until all of them have come back.
        clock: What tells the time, in seconds.
        capacity: Keys that are remembered.
    """

    def __init__(
        self, limit: int, period: float, *, clock: Clock = time.monotonic, capacity: int = REMEMBERED
    ) -> None:
        self._limit = limit
        self._interval = period / limit
        self._clock = clock
        self._capacity = capacity
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()  # attempts, as of when

    def take(self, key: str) -> float:
        """Make an attempt. Returns 0.0 where it is allowed, else the seconds until one is."""
        now = self._clock()
        spent, then = self._spent.get(key, (0.0, now))
        spent = max(0.0, spent - (now - then) / self._interval)
        if spent > self._limit - 1:
            return (spent - (self._limit - 1)) * self._interval
        self._spent[key] = spent + 1, now
        self._spent.move_to_end(key)
        if len(self._spent) > self._capacity:
            self._spent.popitem(last=False)
        return 0.0

    def give_back(self, key: str) -> None:
        """Forget the attempts of a key."""
        self._spent.pop(key, None)

    def forget(self) -> None:
        """Forget the attempts of all keys."""
        self._spent.clear()

    def __len__(self) -> int:
        return len(self._spent)


class Attempts:
    """The attempts to log in and to register at one application. Only its event loop's thread may count.

    An account whose owner logs in has all its attempts again: only those in vain add up. A stranger who keeps guessing can
    make the owner wait as well; that is the price of a limit that many addresses together do not get around.

    Args:
        settings: The limits.
        clock: What tells the time, in seconds.
    """

    def __init__(self, settings: Settings, clock: Clock = time.monotonic) -> None:
        period = settings.attempts_period
        self._by_address = Allowance(settings.attempts_per_address, period, clock=clock)
        self._by_account = Allowance(settings.attempts_per_account, period, clock=clock)

    def count_address(self, host: str) -> None:
        """Count an attempt from a client's address. Raises TooManyAttempts."""
        _check(self._by_address.take(_network(host)), "from this address")

    def count_account(self, email: str) -> None:
        """Count an attempt at an account, which is there or not. Raises TooManyAttempts."""
        _check(self._by_account.take(email), "with this e-mail address")

    def succeeded(self, email: str) -> None:
        """Take it that the owner of the account has come: the attempts at it count no longer."""
        self._by_account.give_back(email)

    def forget(self) -> None:
        """Begin from nothing."""
        self._by_address.forget()
        self._by_account.forget()


def _check(wait: float, whose: str) -> None:
    if wait > 0:
        seconds = math.ceil(wait)
        raise TooManyAttempts(
            f"Too many attempts {whose}: try again in {seconds} seconds.", retry_after=seconds
        )


def _network(host: str) -> str:
    """What one subscriber has: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        address = ip_address(host)
    except ValueError:  # a Unix socket's peer has none
        return host
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else address.packed[:8].hex()
    return str(address)
