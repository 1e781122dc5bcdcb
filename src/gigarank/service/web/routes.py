"""The pages and where they stand. Data.

Invariant: none is listed in the API's description; a page that is `hosted` has its second endpoint in hosted_pages.py, one with
a `visitor` in people_pages.py.
"""

from gigarank.service.call import Routes
from gigarank.service.web import (
    assets,
    catalogue_pages,
    console_routes,
    docs_pages,
    people_page_routes,
    playground_pages,
)

_PEOPLE: Routes = (*people_page_routes.ROUTES, *console_routes.ROUTES)
_PUBLIC: Routes = (*catalogue_pages.ROUTES, *playground_pages.ROUTES, *docs_pages.ROUTES)
PAGES: Routes = (assets.ROUTE, *_PEOPLE, *_PUBLIC)
