"""Pages of people, who come with a session's cookie or none, by their names in routes.py."""

from urllib.parse import quote

from gigarank.service.accounts.office import Guest, Office, PeopleEndpoints
from gigarank.service.call import Answer
from gigarank.service.catalogue import service
from gigarank.service.catalogue.schemas import read_model
from gigarank.service.web import batch_pages, console_pages, key_pages, onboard_pages, operator_pages, settings_pages, sheets
from gigarank.service.web.rendering import see_other


async def vote(office: Office, guest: Guest) -> Answer:
    name, account_id = read_model(guest.call.parameters["model"]), guest.person.account_id
    await office.desk.database.run(lambda one: service.ask(one, name, account_id, office.now))
    return see_other(f"/models/{quote(name)}?voted=yes")


async def unvote(office: Office, guest: Guest) -> Answer:
    name, account_id = read_model(guest.call.parameters["model"]), guest.person.account_id
    await office.desk.database.run(lambda one: service.take_back(one, name, account_id, office.now))
    return see_other(f"/models/{quote(name)}?voted=no")


PEOPLE_PAGES: PeopleEndpoints = {
    "vote": vote,
    "unvote": unvote,
    **sheets.endpoints_of({**sheets.ENTRY, **sheets.OWN}),
    **batch_pages.PAGES,
    **console_pages.PAGES,
    **key_pages.PAGES,
    **onboard_pages.PAGES,
    **operator_pages.PAGES,
    **settings_pages.PAGES,
}
