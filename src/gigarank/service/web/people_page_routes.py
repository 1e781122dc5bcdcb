"""Pages of people and where they stand, for every server; one without accounts answers 404. Data: people_pages.py answers."""

from gigarank.service.call import Route, Routes
from gigarank.service.hosted_routes import unhosted


def _form(path: str, name: str, about: str) -> Route:
    return Route("POST", path, unhosted, about, "pages", listed=False, page=True, hosted=name, visitor="person")


ROUTES: Routes = (
    _form("/models/{model:path}/vote", "vote", "Ask for a model"),
    _form("/models/{model:path}/unvote", "unvote", "Take back one's vote"),
)
