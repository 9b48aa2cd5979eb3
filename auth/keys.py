"""The issuer's public keys: where they are, when they are refreshed, what a failure does.

A call with a known key never waits for the network. One background thread does all the asking:

- at the start, before the first call;
- every REFRESH_EVERY seconds, so that a new key is known before a token carries it and a withdrawn
  one is forgotten;
- every RETRY_EVERY seconds while the issuer cannot be read;
- once for a `kid` not in hand, shared by all who wait for it, and then not again for MISS_PAUSE.

A failed attempt takes nothing away: keys in hand stay good for KEEP_FOR.
"""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping

from .issuer import ATTEMPT_SECONDS, IssuerError, IssuerKey, fetch_keys

log = logging.getLogger("okta_hooks.keys")

REFRESH_EVERY = 10 * 60.0
# An attempt may take ATTEMPT_SECONDS and must fit in twice between an issuer's return and the
# tenth second after it.
RETRY_EVERY = 5.0
MISS_PAUSE = 30.0
KEEP_FOR = 24 * 60 * 60.0
# A refresh that takes longer than this has most likely met a slow issuer. It counts from the miss
# that asked for the refresh, not for each call anew: after it only PATIENT_CALLS may wait for the
# end, since made-up kids must not hold the threads that good tokens need.
IMPATIENCE = 0.5
PATIENT_CALLS = 4
# How often an outage that goes on is mentioned again in the log.
REMIND_EVERY = 10 * 60.0


class UnknownKey(Exception):
    """The issuer, asked just now, has no key of that ID."""


class KeysUnavailable(Exception):
    """Whether the issuer has such a key cannot be told now; `str()` is the reason's name."""


class IssuerKeys:
    """The keys of one issuer, shared by all threads of a process.

    `fetch` returns the keys by key ID or raises IssuerError; `clock` counts seconds and never goes
    back. Both are parameters so that a test can hold them.
    """

    def __init__(
        self,
        issuer: str,
        *,
        fetch: Callable[[str], Mapping[str, IssuerKey]] = fetch_keys,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._keys: Mapping[str, IssuerKey] = {}
        self._good_until = float("-inf")
        self._failure: str | None = "keys_not_fetched_yet"
        self._reminded_at = float("-inf")
        self._begin_without_threads()
        _instances.add(self)

    def _begin_without_threads(self) -> None:
        # Attempts are counted so that a call can wait for one that began after it came: an attempt
        # already under way may have read the key set before the key was published.
        self._begun = self._ended = self._wanted = 0
        self._missed_at = float("-inf")
        self._changed = threading.Condition()
        self._patience = threading.BoundedSemaphore(PATIENT_CALLS)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to fetch in the background, and wait for the first attempt to end.

        Takes ATTEMPT_SECONDS at most. An issuer that is down does not keep the service from
        starting: its calls get a 503 until the keys are there.
        """
        with self._changed:
            self._ensure_thread()
            self._changed.wait_for(lambda: self._ended, timeout=ATTEMPT_SECONDS + 0.1)

    def get(self, kid: str) -> IssuerKey:
        """The key of that ID.

        Waits only when it is not in hand, and then ATTEMPT_SECONDS at most.
        Raises UnknownKey or KeysUnavailable.
        """
        key = self._in_hand(kid)
        return key if key is not None else self._ask_for(kid)

    def unavailable_reason(self) -> str | None:
        """None while a call could be authenticated right now, else the reason's name."""
        if self._clock() < self._good_until:
            return None
        return "keys_too_old" if self._keys else self._failure

    def _in_hand(self, kid: str) -> IssuerKey | None:
        return self._keys.get(kid) if self._clock() < self._good_until else None

    def _ask_for(self, kid: str) -> IssuerKey:
        with self._changed:
            self._ensure_thread()
            now = self._clock()
            if now - self._missed_at >= MISS_PAUSE:
                self._missed_at = now
                self._wanted = self._begun + 1
                self._changed.notify_all()
            attempt = self._wanted

            def answered() -> bool:
                return self._ended >= attempt or self._in_hand(kid) is not None

            patience_ends_in = max(0.0, self._missed_at + IMPATIENCE - now)
            if not self._changed.wait_for(answered, timeout=patience_ends_in):
                self._wait_patiently(answered)
            key = self._in_hand(kid)
            if key is not None:
                return key
            if self._failure is not None or self._clock() >= self._good_until:
                raise KeysUnavailable(self._failure or "keys_too_old")
            raise UnknownKey

    def _wait_patiently(self, answered: Callable[[], bool]) -> None:
        if not self._patience.acquire(blocking=False):
            raise KeysUnavailable("issuer_slow")
        try:
            if not self._changed.wait_for(answered, timeout=ATTEMPT_SECONDS - IMPATIENCE):
                raise KeysUnavailable("issuer_slow")
        finally:
            self._patience.release()

    def _ensure_thread(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._keep_fresh, name="issuer-keys", daemon=True)
            # Where no thread can be had now, the next call tries again.
            thread.start()
            self._thread = thread

    def _keep_fresh(self) -> None:
        changed = self._changed
        while True:
            with changed:
                self._begun += 1
            keys, failure = self._attempt()
            with changed:
                self._take(keys, failure)
                self._ended += 1
                changed.notify_all()
                changed.wait_for(
                    lambda: self._wanted > self._begun,
                    timeout=REFRESH_EVERY if failure is None else RETRY_EVERY,
                )

    def _attempt(self) -> tuple[Mapping[str, IssuerKey] | None, str | None]:
        try:
            return self._fetch(self.issuer), None
        except IssuerError as error:
            return None, error.reason
        except Exception as error:
            # The thread must outlive whatever an issuer can send: without it no key is ever
            # refreshed again.
            return None, f"unexpected_{type(error).__name__}"

    def _take(self, keys: Mapping[str, IssuerKey] | None, failure: str | None) -> None:
        now = self._clock()
        if keys is not None:
            if self._failure is not None or keys.keys() != self._keys.keys():
                log.info(
                    "keys fetched", extra={"fields": {"issuer": self.issuer, "keys": len(keys)}}
                )
            self._keys = keys
            self._good_until = now + KEEP_FOR
        elif failure != self._failure or now - self._reminded_at >= REMIND_EVERY:
            self._reminded_at = now
            log.warning(
                "keys not fetched",
                extra={
                    "fields": {
                        "issuer": self.issuer,
                        "reason": failure,
                        "keys_in_hand": len(self._keys),
                        "retry_s": RETRY_EVERY,
                    }
                },
            )
        self._failure = failure


_instances: "weakref.WeakSet[IssuerKeys]" = weakref.WeakSet()


def _begin_anew_after_fork() -> None:
    """A forked child has the keys but neither the thread nor locks it could trust."""
    for keys in list(_instances):
        was_running = keys._thread is not None
        keys._begin_without_threads()
        if was_running:
            with keys._changed:
                keys._ensure_thread()


os.register_at_fork(after_in_child=_begin_anew_after_fork)
