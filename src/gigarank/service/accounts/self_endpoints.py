"""/v1/me: what a signed-in person sees and changes of the own account.

Invariant: an answer holds what is the person's own, whatever the request names.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import IO

from gigarank.service.accounts import export, service, signing
from gigarank.service.accounts.cookies import set_cookie
from gigarank.service.accounts.deletion import delete_account
from gigarank.service.accounts.office import Guest, Office
from gigarank.service.accounts.passwords import read_new_password
from gigarank.service.accounts.schemas import read_email
from gigarank.service.accounts.sign_endpoints import check_password
from gigarank.service.batches.storage import BLOCK, drop
from gigarank.service.call import Answer, Call
from gigarank.service.credits.endpoints import show_credits
from gigarank.service.credits.money import usd
from gigarank.service.credits.topups import Codes, top_up
from gigarank.service.openai.fields import as_fields
from gigarank.service.tenant import Limits, Tenant
from gigarank.service.usage import endpoints as usage


async def show_me(office: Office, guest: Guest) -> Answer:
    person = guest.person
    account = await office.desk.database.run(lambda one: service.find(one, person.account_id))
    return Answer({**account.shown(), "has_password": person.password is not None})


async def change_password(office: Office, guest: Guest) -> Answer:
    fields, person = as_fields(guest.call.body, ""), guest.person
    password = read_new_password(fields.value("new_password"), person.email, "new_password")
    await check_password(office, guest, fields)
    kept = await office.passwords.hashed(password)
    await office.desk.database.run(lambda one: signing.change_password(one, office.post, person, kept, office.now))
    office.letters.set()
    return Answer({"object": "password", "changed": True})


async def change_email(office: Office, guest: Guest) -> Answer:
    """The change is made by the link that is sent to the new address."""
    fields, person = as_fields(guest.call.body, ""), guest.person
    email = read_email(fields.value("email"))
    await check_password(office, guest, fields)
    await office.attempts.enter("mail", guest.client, email)
    await office.desk.database.run(lambda one: signing.ask_email(one, office.post, person, email, office.now))
    office.letters.set()
    return Answer({"object": "letter", "email": email, "sent": office.post.sends})


async def redeem(office: Office, guest: Guest) -> Answer:
    code, person = as_fields(guest.call.body, "").required_text("code"), guest.person
    await office.attempts.enter("token", guest.client, person.account_id)
    grant_id, given = await office.desk.database.run(lambda one: top_up(one, Codes(), person.account_id, code, office.now))
    amount = given.amount_micros
    return Answer({"object": "top_up", "grant_id": grant_id, "amount_micros": amount, "amount_usd": usd(amount)})


async def own_credits(office: Office, guest: Guest) -> Answer:
    return await show_credits(office.desk, with_tenant(guest))


async def own_usage(office: Office, guest: Guest) -> Answer:
    return await usage.sum_usage(office.desk, with_tenant(guest))


async def own_requests(office: Office, guest: Guest) -> Answer:
    return await usage.list_requests(office.desk, with_tenant(guest))


def with_tenant(guest: Guest) -> Call:
    """As if a key of the person's asked."""
    return replace(guest.call, tenant=Tenant(guest.person.account_id, "", ("account",), None, Limits(), Limits()))


async def export_account(office: Office, guest: Guest) -> Answer:
    await office.attempts.enter("export", guest.client, guest.person.account_id)
    stream = await asyncio.to_thread(office.desk.depot.spool.new)
    with contextlib.ExitStack() as undone:
        undone.callback(drop, stream)
        size = await asyncio.to_thread(export.write, office.desk.database, guest.person.account_id, stream)
        undone.pop_all()
    headers = {"content-disposition": 'attachment; filename="gigarank-export.json"'}
    return Answer(None, headers=headers, stream=_blocks(stream), size=size, close=lambda: drop(stream))


async def _blocks(stream: IO[bytes]) -> AsyncIterator[bytes]:
    stream.seek(0)
    while block := await asyncio.to_thread(stream.read, BLOCK):
        yield block


async def delete_me(office: Office, guest: Guest) -> Answer:
    person = guest.person
    await check_password(office, guest, as_fields(guest.call.body, ""))
    await office.desk.database.run(lambda one: delete_account(one, office.post, person.account_id, office.now, person))
    office.letters.set()
    ended = {"set-cookie": set_cookie("", office.secure)}
    return Answer({"object": "account", "account_id": person.account_id, "deleted": True}, headers=ended)
