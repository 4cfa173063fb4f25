"""Makes notices in the background, and sends them by mail and webhook: threads of an API process.

No request waits for any of it. Every API process does this, on one database: each notice is made
once, and each delivery is sent by the process that takes it (governance/notices).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from api.operate.mail import Mailer, NotSent, mail_server, sender_of
from api.operate.settings import Settings
from api.operate.webhook import webhook_of
from chain.errors import ChainError
from governance.errors import GovernanceError
from governance.notices import addresses, deliveries, events, inbox
from governance.notices.deliveries import MAIL, WEBHOOK, Channel
from governance.readmodel.database import DATABASE_FAULTS, OUTAGES, Database
from governance.readmodel.projection import Projection
from governance.readmodel.tables import Delivery

EVERY_SECONDS = 5.0
SWEEP_SECONDS = 3600
_FAULTS = (ChainError, GovernanceError, *DATABASE_FAULTS, *OUTAGES)
log = structlog.get_logger()


class Notifier:
    """The notices of one deployment."""

    def __init__(
        self,
        engine: Database,
        projection: Projection,
        settings: Settings,
        public_url: str,
        clock: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        """Raises UsageError for a mail server or webhook that cannot be."""
        self._engine, self._projection, self._clock = engine, projection, clock
        server = mail_server(settings)
        self._mailer = Mailer(server, sender_of(settings), public_url) if server else None
        self._webhook = webhook_of(settings, public_url)
        self._swept = 0

    @property
    def channels(self) -> list[Channel]:
        """What is sent besides the inbox."""
        given: dict[Channel, object] = {MAIL: self._mailer, WEBHOOK: self._webhook}
        return [channel for channel, sender in given.items() if sender is not None]

    def start(self, done: threading.Event) -> None:
        """Work in threads until `done`."""
        self._keep(done, "notices", self.make)
        for channel in self.channels:
            self._keep(done, channel, lambda channel=channel: self.send(channel))  # type: ignore[misc]

    def _keep(self, done: threading.Event, kind: str, work: Callable[[], object]) -> None:
        def keep() -> None:
            while not done.wait(EVERY_SECONDS):
                try:
                    work()
                except _FAULTS as error:  # an outage: what is left waits in the database
                    log.warning("notices wait", kind=kind, why=type(error).__name__)
                except Exception as error:  # any other: the thread has to go on
                    log.error("notices failed", kind=kind, why=type(error).__name__)

        threading.Thread(target=keep, daemon=True, name=f"notices {kind}").start()

    def make(self) -> None:
        """Make what is new and due, and its deliveries. Raises the errors of ledger and database."""
        # What people did beside the ledger goes out also while it is away.
        self._plan()
        self._projection.sync()  # roles as they are now
        while events.derive(self._engine, self._projection.replayed, self._clock()):
            pass
        while events.remind(self._engine, self._clock()):
            pass
        self._plan()
        if self._clock() - self._swept >= SWEEP_SECONDS:
            self._swept = self._clock()
            with self._engine.begin() as connection:
                for part in (inbox, deliveries, addresses):
                    part.sweep(connection, self._clock())

    def _plan(self) -> None:
        while deliveries.plan(self._engine, self.channels, self._clock()):
            pass

    def send(self, channel: Channel) -> int:
        """Send what is due; the number of attempts. Raises the database's errors."""
        count = 0
        try:
            while (due := deliveries.take(self._engine, channel, self._clock())) is not None:
                count += 1
                self._attempt(due)
        finally:
            if channel == MAIL and self._mailer is not None:
                self._mailer.close()
        return count

    def _attempt(self, due: Delivery) -> None:
        try:
            self._send(due)
        except NotSent as error:
            over = deliveries.failed(self._engine, due, self._clock())
            tell = log.error if over else log.warning
            tell(
                "a delivery was given up" if over else "a delivery waits",
                kind=due.channel,
                why=error.why,
                attempt=due.attempts,
            )
        else:
            deliveries.done(self._engine, due)

    def _send(self, due: Delivery) -> None:
        if due.channel == WEBHOOK and self._webhook is not None:
            self._webhook.send(due.kind, due.about, due.at, due.reference, self._clock())
        elif due.channel == MAIL and self._mailer is not None:
            if due.kind == deliveries.LINK:
                drawn = addresses.draw_token(self._engine, due.recipient, self._clock())
                if drawn:
                    self._mailer.send_link(*drawn, due.reference)
            elif address := deliveries.address_for(self._engine, due):
                self._mailer.send_notice(address, due.kind, due.reference)
