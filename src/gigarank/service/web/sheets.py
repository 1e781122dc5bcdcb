"""Pages that are one form: what each says, asks, does, and where it leads.

Knows the endpoints of the API and no HTML; sheet.html draws a Sheet. Invariant: a page and its form share one path.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gigarank.errors import InvalidInput
from gigarank.service.accounts import self_endpoints as me
from gigarank.service.accounts import sign_endpoints as signing
from gigarank.service.accounts.office import Guest, Office, PeopleEndpoint
from gigarank.service.accounts.oidc_endpoints import read_onward
from gigarank.service.accounts.passwords import LEAST_CHARACTERS
from gigarank.service.call import Answer
from gigarank.service.web.console_routes import CONSOLE
from gigarank.service.web.views import Form, Leads, View, to


@dataclass(frozen=True, slots=True)
class Field:
    """One input. `typed`: HTML's type; `completes`: its autocomplete."""

    name: str
    label: str
    typed: str = "text"
    completes: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """`leads`: as a Form's. `more`: paths and names of other ways. `vouched`: whether providers may vouch
    instead. `grave`: what it does cannot be undone."""

    title: str
    lead: str
    fields: tuple[Field, ...]
    button: str
    endpoint: PeopleEndpoint
    leads: Leads
    more: tuple[tuple[str, str], ...] = ()
    vouched: bool = False
    grave: bool = False


EMAIL = Field("email", "E-mail address", "email", "username")
PASSWORD = Field("password", "Password", "password", "current-password")
_LENGTH = f"At least {LEAST_CHARACTERS} characters."
NEW_PASSWORD = Field("password", "Password", "password", "new-password", _LENGTH)
TOKEN = Field("token", "Code", hint="What stands behind the # of the link in the letter.")
_SIGN_IN, _SIGN_UP, _FORGOT = ("/sign-in", "Sign in"), ("/sign-up", "Sign up"), ("/forgot", "Forgot your password?")


def _to_letter(path: str) -> Callable[[Guest, Answer], str]:
    return lambda _guest, answer: f"{path}?done={'letter' if answer.body['sent'] else 'no-letter'}"


def _onward(guest: Guest, _answer: Answer) -> str:
    return onward_of(guest.call.body)


def onward_of(given: Mapping[str, str]) -> str:
    """Where somebody wanted to go before signing in; the console for what is no path of this site."""
    try:
        return read_onward(given.get("next", "")) or CONSOLE
    except InvalidInput:
        return CONSOLE


ENTRY: Mapping[str, Sheet] = {
    "/sign-up": Sheet(
        "Sign up",
        "An account has API keys, credit, and an exact bill of every request.",
        (EMAIL, NEW_PASSWORD),
        "Sign up",
        signing.sign_up,
        _to_letter("/account/verify"),
        (_SIGN_IN,),
        vouched=True,
    ),
    "/sign-in": Sheet(
        *("Sign in", "", (EMAIL, PASSWORD), "Sign in", signing.sign_in, _onward, (_SIGN_UP, _FORGOT)),
        vouched=True,
    ),
    "/forgot": Sheet(
        "A new password",
        "We send a link to your address; with it you choose another password.",
        (EMAIL,),
        "Send the link",
        signing.forgot,
        _to_letter("/account/reset"),
        (_SIGN_IN,),
    ),
    "/account/verify": Sheet(
        "Confirm your address",
        "With the password that you chose when you signed up.",
        (TOKEN, PASSWORD),
        "Open the account",
        signing.verify,
        to(f"{CONSOLE}?done=welcome"),
        (_SIGN_UP,),
    ),
    "/account/reset": Sheet(
        "Choose another password",
        "All sessions of the account end with it.",
        (TOKEN, NEW_PASSWORD),
        "Set the password",
        signing.reset,
        to("/sign-in?done=password"),
        (_FORGOT,),
    ),
    "/account/email": Sheet(
        "Confirm your new address",
        "The account has the new address from then on.",
        (TOKEN,),
        "Confirm",
        signing.confirm_email,
        to(f"{CONSOLE}?done=email"),
    ),
}


_SETTINGS = f"{CONSOLE}/settings"
_BACK = ((_SETTINGS, "Back"),)


def _mailed(_guest: Guest, answer: Answer) -> str:
    return f"{_SETTINGS}?done={'mailed' if answer.body['sent'] else 'mailed-no-letter'}"


OWN: Mapping[str, Sheet] = {
    f"{CONSOLE}/password": Sheet(
        "Change your password",
        "All your other sessions end with it.",
        (PASSWORD, replace(NEW_PASSWORD, name="new_password", label="New password")),
        "Change the password",
        me.change_password,
        to(f"{_SETTINGS}?done=password"),
        _BACK,
    ),
    f"{CONSOLE}/email": Sheet(
        "Change your address",
        "A link that is sent to the new address makes the change.",
        (replace(EMAIL, label="New e-mail address", completes="email"), PASSWORD),
        "Send the link",
        me.change_email,
        _mailed,
        _BACK,
    ),
    f"{CONSOLE}/delete": Sheet(
        "Delete your account",
        "Its keys and sessions end at once, its files go, and its credit is lost. This cannot be undone.",
        (PASSWORD,),
        "Delete the account",
        me.delete_me,
        to("/"),
        _BACK,
        grave=True,
    ),
}


def view_of(sheet: Sheet) -> View:
    async def values(office: Office, guest: Guest) -> Mapping[str, Any]:
        onward = onward_of({**guest.call.query, **guest.call.body})
        providers = list(office.oidc.trusted) if sheet.vouched else []
        return {"sheet": _fitting(sheet, guest), "providers": providers, "onward": onward}

    return View("sheet.html", values)


def _fitting(sheet: Sheet, guest: Guest) -> Sheet:
    """Without the password, for who has none."""
    if guest.who is None or guest.who.password is not None:
        return sheet
    return replace(sheet, fields=tuple(field for field in sheet.fields if field is not PASSWORD))


def endpoints_of(sheets: Mapping[str, Sheet]) -> dict[str, PeopleEndpoint]:
    """By their names in console_routes.py."""
    found: dict[str, PeopleEndpoint] = {}
    for path, sheet in sheets.items():
        view = view_of(sheet)
        found |= {f"GET {path}": view, f"POST {path}": Form(sheet.endpoint, view, sheet.leads)}
    return found
