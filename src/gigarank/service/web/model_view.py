"""All that a model's page shows, as one value for its HTML and its Markdown.

Knows figures and words and no markup. Invariant: a published figure carries its source, a measured one the page of the
documentation that says how it was made; what was not measured is said to be so.
"""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from gigarank import catalogue
from gigarank.catalogue import SUITES
from gigarank.service.web import measured, plots, published
from gigarank.service.web.listing import Entry
from gigarank.service.web.snippets import snippets

_FAMILY = "family"


@cache
def _texts() -> Mapping[str, Any]:
    return tomllib.loads((files(__package__) / "texts.toml").read_text(encoding="utf-8"))


def words_of(entry: Entry) -> Mapping[str, Any]:
    """about, capabilities, best_for, limits and faq: the model's own, else those of its kind."""
    return {**_texts()[_FAMILY][entry.kind], **_texts().get(entry.name, {})}


def view(entry: Entry, site: str) -> dict[str, Any]:
    """The values of model.html and model.md."""
    return {
        "one": entry,
        "words": words_of(entry),
        "suites": SUITES,
        "meaning": published.MEANING,
        "source": published.SOURCE,
        "figures": _published_rows(entry),
        "published_plot": _published_plot(entry),
        "quality": measured.quality_of(entry.name),
        "quality_plot": _quality_plot(entry),
        "speed": measured.speed_of(entry.name),
        "grid": measured.grid_of(entry.name),
        "snippets": snippets(entry.kind, entry.served.name if entry.served is not None else entry.name, site),
        "site": site,
    }


def _published_rows(entry: Entry) -> Sequence[tuple[str, Mapping[str, float], bool]]:
    """Name, figures by suite, and whether it is this model."""
    if not entry.published:
        return []
    ours = [(model.repository.partition("/")[2], model.published, model.name == entry.name) for model in catalogue.MODELS]
    others = [(name, figures, False) for name, figures in published.RIVALS.items()]
    return [*(row for row in ours if row[1]), *others]


def _published_plot(entry: Entry) -> plots.Plot | None:
    base = catalogue.EMBEDDING_0_6B
    if not entry.published or entry.model is None:
        return None
    compared = {} if entry.model is base else {"first stage alone": base.published}
    shown = {entry.model.repository.partition("/")[2]: entry.published, **compared}
    groups = [
        (suite, [plots.Bar(name, figures[suite], kind) for (name, figures), kind in zip(shown.items(), _KINDS, strict=False)])
        for suite in SUITES
    ]
    told = "; ".join(f"{suite} " + ", ".join(f"{one.value:g} ({one.name})" for one in some) for suite, some in groups)
    return plots.bars("Published figures by suite", told, groups, 100.0)


_KINDS = ("main", "other", "third")


def _quality_plot(entry: Entry) -> plots.Plot | None:
    rows = measured.quality_of(entry.name)
    if not rows:
        return None
    groups = [(row.name, [plots.Bar(entry.name, row.reranked, "main"), plots.Bar("BM25", row.first, "other")]) for row in rows]
    told = f"nDCG@10 of {entry.name} and of BM25's order on {len(rows) - 1} sets and their mean; the table below has each value"
    return plots.bars("Measured nDCG@10 by set", told, groups, 1.0)
