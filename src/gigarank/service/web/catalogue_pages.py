"""The catalogue: all models, side by side, and a page of each.

Knows no database: hosted_pages.py calls the same functions with what a server with accounts knows more. Invariant: the page of
a model and its Markdown say the same.
"""

from collections.abc import Mapping
from typing import Any

from gigarank.service.call import Answer, Call, Endpoint, Route, Routes
from gigarank.service.settings import Settings
from gigarank.service.web.listing import Entry, Offer, chosen, entries, entry_of, mean_published
from gigarank.service.web.model_view import view
from gigarank.service.web.rendering import markdown, page

Offers = Mapping[str, Offer]
_COMPARED = ("first", "second", "third")


def site_of(settings: Settings) -> str:
    """What programs ask: the public address, else this machine's."""
    return settings.public_url.rstrip("/") or f"http://127.0.0.1:{settings.port}"


async def home_page(call: Call) -> Answer:
    return show_home(call)


async def models_page(call: Call) -> Answer:
    return show_models(call)


async def models_markdown(call: Call) -> Answer:
    return show_models_markdown(call)


async def model_page(call: Call) -> Answer:
    return show_model(call, {}, {})


async def model_markdown(call: Call) -> Answer:
    return show_markdown(call, {})


def show_home(call: Call, offers: Offers | None = None) -> Answer:
    return page(call, "home.html", {"entries": entries(call.backend.models(), offers), "site": site_of(call.settings)})


def show_models(call: Call, offers: Offers | None = None) -> Answer:
    every = entries(call.backend.models(), offers)
    asked = {name: call.query.get(name, "") for name in ("words", "kind", "state", *_COMPARED)}
    compared = [one for name in _COMPARED for one in every if one.name == asked[name]]
    values = {
        "every": every,
        "entries": chosen(every, asked["words"], asked["kind"], asked["state"]),
        "compared": compared,
        "asked": asked,
        "mean": mean_published,
    }
    return page(call, "models.html", values)


def show_models_markdown(call: Call, offers: Offers | None = None) -> Answer:
    """All of them: whoever reads it can choose by itself."""
    values = {"every": entries(call.backend.models(), offers), "mean": mean_published, "site": site_of(call.settings)}
    return markdown(call, "models.md", values)


def show_model(call: Call, offers: Offers, more: Mapping[str, Any]) -> Answer:
    """`more`: csrf, where somebody is signed in."""
    entry = _asked_for(call, offers)
    values = {**view(entry, site_of(call.settings)), "csrf": "", "voted": call.query.get("voted", ""), **more}
    return page(call, "model.html", values)


def show_markdown(call: Call, offers: Offers) -> Answer:
    return markdown(call, "model.md", view(_asked_for(call, offers), site_of(call.settings)))


def _asked_for(call: Call, offers: Offers) -> Entry:
    return entry_of(call.parameters["model"], call.backend.models(), offers)


def _route(path: str, endpoint: Endpoint, about: str, html: bool = True) -> Route:
    name = endpoint.__name__
    return Route("GET", path, endpoint, about, "pages", listed=False, public=True, page=html, hosted=name)


ROUTES: Routes = (
    _route("/", home_page, "Where one begins"),
    _route("/models", models_page, "All models"),
    _route("/models.md", models_markdown, "All models, as Markdown", html=False),
    _route("/models.md", models_markdown, "All models, as Markdown"),
    _route("/models/{model}.md", model_markdown, "A model, as Markdown", html=False),  # before the API's /models/{id:path}
    _route("/models/{model}.md", model_markdown, "A model, as Markdown"),
    _route("/models/{model:path}", model_page, "A model"),
)
