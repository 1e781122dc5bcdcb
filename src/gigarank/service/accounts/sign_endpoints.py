"""POST /v1/auth/...: signing up, in and out, and what links in letters lead to.

Invariant: an answer does not tell whether an address has an account: the same status, body and work with one and without,
until whoever asks has shown that it is theirs.
"""

from sqlalchemy import Connection

from gigarank.errors import InvalidInput
from gigarank.service.accounts import links, repository, sessions, signing
from gigarank.service.accounts.cookies import csrf_token, set_cookie
from gigarank.service.accounts.office import Guest, Office
from gigarank.service.accounts.passwords import read_new_password, read_password
from gigarank.service.accounts.schemas import Account, read_email
from gigarank.service.call import Answer
from gigarank.service.openai.fields import Fields, as_fields
from gigarank.types import JsonObject


async def sign_up(office: Office, guest: Guest) -> Answer:
    fields = as_fields(guest.call.body, "")
    email = read_email(fields.value("email"))
    password = read_new_password(fields.value("password"), email)
    await office.attempts.enter("mail", guest.client, email)
    kept = await office.passwords.hashed(password)
    await office.desk.database.run(lambda one: signing.sign_up(one, office.post, email, kept, office.now))
    return _letter_sent(office, email)


async def verify(office: Office, guest: Guest) -> Answer:
    fields = as_fields(guest.call.body, "")
    token, password = fields.required_text("token"), read_password(fields.value("password"))
    await office.attempts.enter("token", guest.client)
    link = await office.desk.database.run(lambda one: links.look(one, token, "verify", office.now))
    await office.attempts.enter("sign_in", guest.client, link.email)
    if not await office.passwords.fits(password, link.password):
        raise signing.wrong_password()

    def work(connection: Connection) -> tuple[Account, str]:
        account, session = signing.verify(connection, token, guest.entry, office.now)
        office.welcome(connection, account.id)
        return account, session

    return _signed_in(office, *await office.desk.database.run(work))


async def sign_in(office: Office, guest: Guest) -> Answer:
    fields = as_fields(guest.call.body, "")
    email, password = read_email(fields.value("email")), read_password(fields.value("password"))
    await office.attempts.enter("sign_in", guest.client, email)
    known = await office.desk.database.run(lambda one: repository.person_by_email(one, email))
    kept = None if known is None else known.password
    checked = kept if await office.passwords.fits(password, kept) else None
    account, session = await office.desk.database.run(lambda one: signing.sign_in(one, email, checked, guest.entry, office.now))
    return _signed_in(office, account, session)


async def forgot(office: Office, guest: Guest) -> Answer:
    email = read_email(as_fields(guest.call.body, "").value("email"))
    await office.attempts.enter("mail", guest.client, email)
    await office.desk.database.run(lambda one: signing.forgot(one, office.post, email, office.now))
    return _letter_sent(office, email)


async def reset(office: Office, guest: Guest) -> Answer:
    fields = as_fields(guest.call.body, "")
    token = fields.required_text("token")
    await office.attempts.enter("token", guest.client)
    link = await office.desk.database.run(lambda one: links.look(one, token, "reset", office.now))
    password = read_new_password(fields.value("password"), link.email)
    kept = await office.passwords.hashed(password)

    def work(connection: Connection) -> None:
        office.welcome(connection, signing.reset(connection, office.post, token, kept, office.now))

    await office.desk.database.run(work)
    office.letters.set()
    return Answer({"object": "password", "changed": True})


async def confirm_email(office: Office, guest: Guest) -> Answer:
    token = as_fields(guest.call.body, "").required_text("token")
    await office.attempts.enter("token", guest.client)
    await office.desk.database.run(lambda one: signing.confirm_email(one, office.post, token, office.now))
    office.letters.set()
    return Answer({"object": "email", "changed": True})


async def show_session(office: Office, guest: Guest) -> Answer:
    person = guest.person
    return Answer(session_shown(person.account_id, person.email, person.role, guest.token))


async def list_sessions(office: Office, guest: Guest) -> Answer:
    person = guest.person
    rows = await office.desk.database.run(lambda one: sessions.of_account(one, person.account_id, office.now))
    return Answer({"object": "list", "data": [sessions.shown(row, person.session_id) for row in rows]})


async def end_session(office: Office, guest: Guest) -> Answer:
    account_id, session_id = guest.person.account_id, guest.call.parameters["session_id"]
    await office.desk.database.run(lambda one: sessions.end(one, account_id, session_id))
    return Answer({"object": "session", "session_id": session_id, "deleted": True})


async def sign_out(office: Office, guest: Guest) -> Answer:
    person = guest.person
    await office.desk.database.run(lambda one: sessions.end(one, person.account_id, person.session_id))
    return _signed_out(office, 1)


async def sign_out_everywhere(office: Office, guest: Guest) -> Answer:
    account_id = guest.person.account_id
    return _signed_out(office, await office.desk.database.run(lambda one: sessions.end_all(one, account_id)))


def session_shown(account_id: str, email: str, role: str, token: str) -> JsonObject:
    return {"object": "session", "account_id": account_id, "email": email, "role": role, "csrf_token": csrf_token(token)}


def _signed_in(office: Office, account: Account, token: str) -> Answer:
    shown = session_shown(account.id, account.email, account.role, token)
    return Answer(shown, headers={"set-cookie": set_cookie(token, office.secure)})


def _signed_out(office: Office, ended: int) -> Answer:
    return Answer({"object": "sign_out", "ended": ended}, headers={"set-cookie": set_cookie("", office.secure)})


def _letter_sent(office: Office, email: str) -> Answer:
    """Whatever the letter says."""
    office.letters.set()
    return Answer({"object": "letter", "email": email, "sent": office.post.sends})


async def check_password(office: Office, guest: Guest, fields: Fields) -> None:
    """That whoever has the session is the person: by the password, or by a sign-in of a moment ago where there is none.
    Raises InvalidInput, NotSignedIn, RateLimited."""
    person = guest.person
    if person.password is None:
        if office.now - person.signed_in > RECENT_S:
            message = f"password: the account has none: sign in again, and ask within {RECENT_S} s"
            raise InvalidInput(message, param="password", limit=RECENT_S, received=office.now - person.signed_in)
        return
    password = read_password(fields.value("password"))
    await office.attempts.enter("sign_in", guest.client, person.email)
    if not await office.passwords.fits(password, person.password):
        raise InvalidInput("password: is wrong", param="password")


RECENT_S = 600
