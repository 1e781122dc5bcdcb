"""Which models a server offers, and by what names: read from the words that flags and settings give.

Knows names, opens no checkpoint and imports no torch. Invariant: among the specs that `parse_specs` gives, a name or an alias
belongs to one model, whatever its case, and at least one model is pinned.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gigarank import catalogue
from gigarank.errors import InvalidInput
from gigarank.service.backend import Kind

_NAME = re.compile(r"[A-Za-z0-9][\w.:/-]*")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model to offer. `source`: a catalogue name, a hub id or a folder. A pinned one is loaded at the start and never
    sleeps. `kind` None: what the catalogue or the checkpoint says."""

    name: str
    source: str
    aliases: tuple[str, ...] = ()
    pinned: bool = False
    kind: Kind | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)


def parse_specs(words: Sequence[str], default: str = "") -> tuple[ModelSpec, ...]:
    """Specs from words such as 'nano', 'Qwen/Qwen3-Reranker-0.6B', './folder' or 'mine=./folder'; the default one is pinned.

    `default` is a name or an alias of one of them; "" is the first. A name that is given goes before an alias that follows from
    another model's source. Raises UnknownModel, InvalidInput (no model, a name twice, a default that is not among them).
    """
    if not words:
        raise InvalidInput("models: at least one model must be named", param="models", limit=1, received=0)
    specs = _without_shared_aliases([_parse(word) for word in words])
    require_unique(specs)
    pinned = _named(specs, default) if default else specs[0]
    return tuple(replace(spec, pinned=spec is pinned) for spec in specs)


def require_unique(specs: Iterable[ModelSpec]) -> None:
    """Raises InvalidInput for a name or an alias that stands twice, whatever its case."""
    taken: dict[str, ModelSpec] = {}
    for spec in specs:
        for name in spec.names:
            if name.lower() in taken:
                raise InvalidInput(
                    f"models: the name {name!r} stands for {taken[name.lower()].source} and for {spec.source}; give one "
                    f"of them a name of its own, as in NAME={spec.source}",
                    param="models",
                    received=name,
                )
            taken[name.lower()] = spec


def _parse(word: str) -> ModelSpec:
    given, equals, source = word.partition("=")
    if not equals:
        name, *aliases = _names_of(word)
        return ModelSpec(name, word, tuple(aliases))
    if not _NAME.fullmatch(given) or not source:
        raise InvalidInput(
            f"models: {word!r} must be NAME=SOURCE, the name of letters, digits and . _ : / -", param="models", received=word
        )
    known = catalogue.find(source)
    return ModelSpec(given, source, tuple(_names_of(source)) if known or not _is_folder(source) else ())


def _names_of(source: str) -> list[str]:
    """The name that follows from a source, then its aliases."""
    known = catalogue.find(source)
    if known is not None:
        return _distinct([known.name, known.repository, *known.aliases, known.repository.rpartition("/")[2]])
    if _is_folder(source):
        return [Path(source).expanduser().resolve().name]
    if _HUB_ID.fullmatch(source):
        return [source, source.rpartition("/")[2]]
    raise catalogue.unknown(source)


def _is_folder(source: str) -> bool:
    marks = ("config.json", "adapter_config.json")
    return source.startswith((".", "~", os.sep)) or any((Path(source) / mark).is_file() for mark in marks)


def _distinct(names: Iterable[str]) -> list[str]:
    """The first of those that differ in case alone."""
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(name.lower(), name)
    return list(first.values())


def _without_shared_aliases(specs: Sequence[ModelSpec]) -> list[ModelSpec]:
    """Aliases follow from the source and were not asked for: they give way to names, and to earlier aliases."""
    taken = {spec.name.lower() for spec in specs}
    kept = []
    for spec in specs:
        free = tuple(alias for alias in spec.aliases if alias.lower() not in taken)
        taken.update(alias.lower() for alias in free)
        kept.append(replace(spec, aliases=free))
    return kept


def _named(specs: Sequence[ModelSpec], name: str) -> ModelSpec:
    for spec in specs:
        if name.lower() in (own.lower() for own in spec.names):
            return spec
    names = [spec.name for spec in specs]
    raise InvalidInput(
        f"default_model: {name!r} is none of the models offered: {', '.join(names)}",
        param="default_model",
        limit=names,
        received=name,
    )
