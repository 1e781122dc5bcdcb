"""What is written to people. Texts; knows no database and no SMTP.

Invariant: a token stands behind the # of a link, which browsers send to no server: no log has it.
"""

from gigarank.service.accounts.links import LIFE_S
from gigarank.service.credits.money import usd
from gigarank.service.mail.service import Letter

_BYE = "\n\n-- \ngigarank at {site}\n"


def verify(site: str, email: str, token: str) -> Letter:
    body = (
        f"Confirm that this is your address, with the password that you chose, within a day:\n\n{link(site, 'verify', token)}"
    )
    return _letter(site, email, "Confirm your address", f"{body}\n\n{_NOT_YOU}", LIFE_S["verify"])


def known(site: str, email: str, token: str) -> Letter:
    body = (
        "Somebody, perhaps you, signed up with this address, which has an account. If you forgot its password, choose another"
    )
    return _letter(
        site, email, "You have an account", f"{body} within an hour:\n\n{link(site, 'reset', token)}", LIFE_S["reset"]
    )


def reset(site: str, email: str, token: str) -> Letter:
    body = f"Choose another password within an hour:\n\n{link(site, 'reset', token)}"
    return _letter(site, email, "A new password", f"{body}\n\n{_NOT_YOU}", LIFE_S["reset"])


def nobody(site: str, email: str) -> Letter:
    body = "Somebody, perhaps you, asked for a new password. There is no account with this address."
    return _letter(site, email, "No account with this address", f"{body}\n\n{_NOT_YOU}", LIFE_S["reset"])


def password_changed(site: str, email: str) -> Letter:
    body = "The password of your account was changed, and all other sessions ended. If that was not you, ask for a new password"
    return _letter(site, email, "Your password was changed", f"{body} at once, and look through your keys.")


def confirm_email(site: str, email: str, token: str) -> Letter:
    body = f"Confirm that this is the new address of your account within a day:\n\n{link(site, 'email', token)}"
    return _letter(site, email, "Confirm your new address", f"{body}\n\n{_NOT_YOU}", LIFE_S["email"])


def taken_email(site: str, email: str) -> Letter:
    body = "Somebody, perhaps you, wants to give this address to another account. It has one already, and nothing was changed."
    return _letter(site, email, "This address has an account", body)


def email_changed(site: str, email: str, new: str) -> Letter:
    body = f"The address of your account is {new} now. If that was not you, write to whoever runs this server."
    return _letter(site, email, "Your address was changed", body)


def link(site: str, purpose: str, token: str) -> str:
    return f"{site}/account/{purpose}#{token}"


_NOT_YOU = "If that was not you, nothing has happened, and nothing needs to be done."


def _letter(site: str, email: str, subject: str, body: str, life_s: int | None = None) -> Letter:
    text = body + _BYE.format(site=site)
    return Letter(email, subject, text) if life_s is None else Letter(email, subject, text, life_s)


def low_balance(site: str, email: str, balance_micros: int) -> Letter:
    body = f"Your account has {usd(max(0, balance_micros))} USD left. What a request costs beyond that is refused."
    return _letter(site, email, "Your credit is running out", body)


def account_deleted(site: str, email: str) -> Letter:
    body = "Your account was deleted: its keys have ended, and what it held of you is gone."
    return _letter(site, email, "Your account was deleted", body)
