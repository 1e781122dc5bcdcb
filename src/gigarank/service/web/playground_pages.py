"""The playground: a form, and what the model says to it. One page with and without scripts.

Invariant: nothing that a visitor typed is kept or stands in an address; the link that a page offers holds the models and the
instructions alone.
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from gigarank.errors import GigarankError, InvalidInput
from gigarank.service.call import Answer, Call, Route, Routes
from gigarank.service.errors import render
from gigarank.service.rerank.presets import PRESETS
from gigarank.service.web.catalogue_pages import site_of
from gigarank.service.web.pasted import FORMS
from gigarank.service.web.plays import Play, explain, models_of, play, read_play
from gigarank.service.web.rendering import page
from gigarank.service.web.snippets import CLIENTS, snippet

Priced = Callable[[str, int, int], str]
"""What a model's documents and tokens would cost an account, as people read it."""
_FIELDS = ("query", "documents", "form", "model", "preset", "instruction", "compare", "second_model", "second_preset")
_TYPED = (*_FIELDS, "second_instruction", "client")
_LINKED = ("model", "preset", "instruction", "compare", "second_model", "second_preset", "second_instruction")
SAMPLE = (
    "Plants turn sunlight, water and carbon dioxide into sugar and oxygen. The process is called photosynthesis.\n"
    "Chlorophyll absorbs red and blue light and reflects green, which is why leaves look green.\n"
    "Solar panels turn sunlight into electricity with a layer of silicon.\n"
    "Bread rises because yeast turns sugar into carbon dioxide.\n"
    "Pflanzen wandeln Licht in chemische Energie um."
)
_QUERY = "How do plants turn sunlight into energy?"


def free(_model: str, _documents: int, _tokens: int) -> str:
    return ""


async def playground_page(call: Call) -> Answer:
    linked = {name: call.query[name] for name in ("query", *_LINKED) if name in call.query}
    return _shown(call, {"query": _QUERY, "documents": SAMPLE, **linked}, {})


async def playground_run(call: Call) -> Answer:
    return await answered(call, free)


async def answered(call: Call, price: Priced) -> Answer:
    """The form again, with what became of it."""
    fields = {name: call.body.get(name, "") for name in _TYPED}
    try:
        asked = read_play(fields, call.settings)
        found = await _found(call, asked, fields, price)
    except GigarankError as error:
        status, headers, _ = render(error, "superset", call.request_id)
        answer = _shown(call, fields, {"error": error}, status)
        return Answer(answer.body, headers={**answer.headers, **headers}, status=status, error=error.code)
    return _shown(call, fields, found)


async def _found(call: Call, asked: Play, fields: Mapping[str, str], price: Priced) -> dict[str, Any]:
    """What the button asked for that was pressed."""
    if (given := call.body.get("explain", "")) != "":
        told = await explain(call, asked, _number(given))
        return {"explained": told, "index": _number(given), "explained_price": price(asked.runs[0].model, 1, told.tokens)}
    if call.body.get("show") == "code":
        site, first = site_of(call.settings), asked.runs[0]
        return {"snippet": snippet(fields["client"], first.model or models_of(call)[0], site, asked)}
    runs = await play(call, asked)
    return {"runs": runs, "prices": [price(run.model, len(run.lines), run.tokens) for run in runs]}


def _number(given: str) -> int:
    if not given.isdecimal() or len(given) > 6:
        raise InvalidInput("explain: a document's place is expected", param="explain", received=given[:20])
    return int(given)


def _shown(call: Call, given: Mapping[str, str], found: Mapping[str, Any], status: int = 200) -> Answer:
    values = dict.fromkeys(("error", "runs", "explained", "snippet"))
    linked = {name: given[name] for name in _LINKED if given.get(name)}
    choices = {"models": models_of(call), "presets": list(PRESETS.values()), "forms": FORMS, "clients": CLIENTS}
    link = "/playground" + (f"?{urlencode(linked)}" if linked else "")
    asked = {name: given.get(name, "") for name in _TYPED} | {"form": given.get("form") or "auto"}
    limits = {"most": call.settings.demo_documents, "allowance": None if call.demo is None else call.demo.most}
    return page(call, "playground.html", {**values, **choices, **limits, "asked": asked, "link": link, **found}, status)


ROUTES: Routes = (
    Route("GET", "/playground", playground_page, "Try a model", "pages", listed=False, public=True, page=True),
    Route(
        "POST",
        "/playground",
        playground_run,
        "Rank what was typed",
        "pages",
        listed=False,
        public=True,
        page=True,
        hosted="playground_run",
    ),
)
