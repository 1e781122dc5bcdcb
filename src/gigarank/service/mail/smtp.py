"""One letter over SMTP. Knows no database. Blocks: not for the event loop.

Invariant: neither a password nor a letter leaves this machine unencrypted, and the server's certificate is checked.
"""

import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from gigarank.errors import InvalidInput
from gigarank.service.mail.address import is_address

Outcome = Literal["sent", "later", "refused"]
_TIMEOUT_S = 20.0
_PORTS = {"smtp": 587, "smtps": 465}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Relay:
    """A mail server, `secure` from the first byte or by STARTTLS, and who letters are from."""

    host: str
    port: int
    secure: bool
    user: str
    password: str
    sender: str

    def deliver(self, letter: Any) -> tuple[Outcome, str]:
        """`letter`: a row of the outbox. What became of it, and what the server said. Only what is said of this letter, with
        a 5xx code, is final: a server that is away, or whose password has changed, may take it another time."""
        if not is_address(letter["recipient"]):
            return "refused", "the recipient is no address"
        try:
            with self._session() as session:
                session.send_message(self._message(letter), to_addrs=[letter["recipient"]])
        except smtplib.SMTPAuthenticationError as error:
            return "later", f"{error.smtp_code}, the user or the password is wrong"
        except smtplib.SMTPRecipientsRefused as error:
            code = next(iter(error.recipients.values()), (550,))[0]
            return _refused(code), f"{code}, the recipient is refused"
        except smtplib.SMTPResponseException as error:
            return _refused(error.smtp_code), str(error.smtp_code)
        except OSError as error:
            return "later", error.strerror or type(error).__name__
        return "sent", ""

    @contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        context = ssl.create_default_context()
        if self.secure:
            session: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, timeout=_TIMEOUT_S, context=context)
        else:
            session = smtplib.SMTP(self.host, self.port, timeout=_TIMEOUT_S)
        try:
            session.ehlo()
            if not self.secure and (session.has_extn("starttls") or self.host not in _LOOPBACK):
                session.starttls(context=context)
                session.ehlo()
            if self.user:
                session.login(self.user, self.password)
            yield session
        finally:
            with suppress(OSError):
                session.quit()
            session.close()

    def _message(self, letter: Any) -> EmailMessage:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self.sender, letter["recipient"], letter["subject"]
        message["Date"] = formatdate(letter["created"])
        message["Message-ID"] = f"<{letter['id']}@{self.sender.rpartition('@')[2]}>"  # the same, should it come twice
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter["body"])
        return message


def read_relay(url: str, sender: str) -> Relay:
    """Raises InvalidInput, without what may be a password."""
    parts = urlsplit(url)
    port = _checked(lambda: parts.port)
    if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/"):
        raise _no_url()
    if "@" not in sender.strip("@"):
        message = "mail_from: an address as name@host is expected with smtp_url"
        raise InvalidInput(message, param="mail_from", limit="name@host", received=sender)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Relay(parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "smtps", user, password, sender)


def _checked(read: Callable[[], int | None]) -> int | None:
    try:
        return read()
    except ValueError:
        raise _no_url() from None


def _no_url() -> InvalidInput:
    message = "smtp_url: smtp://USER:PASSWORD@HOST:PORT or smtps://USER:PASSWORD@HOST:PORT is expected"
    return InvalidInput(message, param="smtp_url", limit="smtp, smtps")


def _refused(code: int) -> Outcome:
    return "refused" if 500 <= code < 600 else "later"
