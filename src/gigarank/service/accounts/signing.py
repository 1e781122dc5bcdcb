"""Signing up and in, and what a link in a letter does. Each function is a part of one transaction.

Knows no HTTP and computes no hash. Invariants: an account that somebody signed up for begins when the person who chose the
password has read a letter to its address, so that nobody waits in an account of another's address; for an address with an
account and for one without, the same is written. The account is locked before its links, so that no two wait for each other.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from gigarank.errors import InvalidInput, NotSignedIn
from gigarank.service.accounts import letters, links, repository, sessions
from gigarank.service.accounts.links import Link
from gigarank.service.accounts.schemas import Account
from gigarank.service.accounts.sessions import Device, Person
from gigarank.service.mail.service import Post


@dataclass(frozen=True, slots=True)
class Entry:
    """What a browser that signs in brings: where it is, and the token of the session that it had."""

    device: Device
    old_token: str = ""


def sign_up(connection: Connection, post: Post, email: str, password: str, now: int) -> None:
    """`password`: its hash."""
    account = repository.by_email(connection, email)
    if account is None:
        token = links.issue(connection, Link("verify", email, password=password), now)
        post.leave(connection, letters.verify(post.site, email, token), now)
    else:
        token = links.issue(connection, Link("reset", email, account.id), now)
        post.leave(connection, letters.known(post.site, email, token), now)


def verify(connection: Connection, token: str, entry: Entry, now: int) -> tuple[Account, str]:
    """The new account and a session's token. Raises InvalidInput for a link that is none, or that another one of the same
    address was before."""
    link = links.look(connection, token, "verify", now)
    account = repository.open_account(connection, link.email, link.password, now)
    if account is None:
        raise InvalidInput("token: the address has an account by now: sign in", param="token", limit="once")
    links.take(connection, token, "verify", now)
    links.drop(connection, link.email)
    return account, sessions.start(connection, account.id, entry.device, now, entry.old_token)


def sign_in(connection: Connection, email: str, checked: str | None, entry: Entry, now: int) -> tuple[Account, str]:
    """`checked`: the hash that the password fits, which must be the account's still. Raises NotSignedIn, AccessDenied."""
    found = repository.person_by_email(connection, email)
    if found is None or checked is None or found.password != checked:
        raise wrong_password()
    return found.account, sessions.start(connection, found.account.id, entry.device, now, entry.old_token)


def wrong_password() -> NotSignedIn:
    return NotSignedIn("the address or the password is wrong", param="password")


def forgot(connection: Connection, post: Post, email: str, now: int) -> None:
    account = repository.by_email(connection, email)
    token = links.issue(connection, Link("reset", email, None if account is None else account.id), now)
    letter = letters.nobody(post.site, email) if account is None else letters.reset(post.site, email, token)
    post.leave(connection, letter, now)


def reset(connection: Connection, post: Post, token: str, password: str, now: int) -> str:
    """The account's id. `password`: the new one's hash. Whoever had a session has none now. Raises InvalidInput."""
    link = links.look(connection, token, "reset", now)
    account = repository.lock(connection, link.account_id)
    if account is None:
        raise InvalidInput("token: the link leads to no account", param="token", limit="once")
    links.take(connection, token, "reset", now)
    repository.set_password(connection, account.id, password, now)
    links.drop_of(connection, account.id)
    sessions.end_all(connection, account.id)
    post.leave(connection, letters.password_changed(post.site, account.email), now)
    return account.id


def change_password(connection: Connection, post: Post, person: Person, password: str, now: int) -> None:
    """As `reset`, by somebody who is signed in, and whose session stays. Raises NotSignedIn."""
    repository.lock(connection, person.account_id)
    sessions.confirm(connection, person)
    repository.set_password(connection, person.account_id, password, now)
    links.drop_of(connection, person.account_id)
    sessions.end_all(connection, person.account_id, person.session_id)
    post.leave(connection, letters.password_changed(post.site, person.email), now)


def ask_email(connection: Connection, post: Post, person: Person, email: str, now: int) -> None:
    """Another address, once what is sent there was read. Raises NotSignedIn."""
    repository.lock(connection, person.account_id)
    sessions.confirm(connection, person)
    if repository.by_email(connection, email) is not None:
        post.leave(connection, letters.taken_email(post.site, email), now)
        return
    token = links.issue(connection, Link("email", email, person.account_id), now)
    post.leave(connection, letters.confirm_email(post.site, email, token), now)


def confirm_email(connection: Connection, post: Post, token: str, now: int) -> None:
    """Raises InvalidInput."""
    link = links.look(connection, token, "email", now)
    account = repository.lock(connection, link.account_id)
    if account is None or not repository.set_email(connection, account.id, link.email):
        raise InvalidInput("token: the address has an account by now", param="token", limit="once")
    links.take(connection, token, "email", now)
    links.drop_of(connection, account.id)
    post.leave(connection, letters.email_changed(post.site, account.email, link.email), now)


def operators_link(connection: Connection, site: str, email: str, now: int) -> tuple[Link, str]:
    """For a server that sends no mail: the link that a letter would hold. Raises InvalidInput."""
    account = repository.by_email(connection, email)
    waiting = links.waiting(connection, email, now) if account is None else Link("reset", email, account.id)
    if waiting is None:
        message = f"account: nobody with the address {email} has an account or has signed up for one"
        raise InvalidInput(message, param="account", received=email)
    return waiting, letters.link(site, waiting.purpose, links.issue(connection, waiting, now))
