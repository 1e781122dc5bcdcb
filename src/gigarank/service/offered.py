"""Which of the offered models a name means: one rule for all endpoints.

Knows no endpoint and loads nothing. Invariant: a name that differs from a model's, or an alias, in its case alone means that
model, unless another one is spelled exactly so.
"""

from collections.abc import Sequence

from gigarank.errors import UnknownModel
from gigarank.service.backend import Kind, ModelState

_PREFIX = "fireworks/"  # which litellm's Fireworks client puts before every name that lacks it


def find_model(states: Sequence[ModelState], name: str) -> ModelState | None:
    """The model of this name or alias, if there is one."""
    plain = name[len(_PREFIX) :] if name.lower().startswith(_PREFIX) else name
    for spell in (str, str.lower):
        wanted = {spell(name), spell(plain)}
        for state in states:
            if wanted.intersection(map(spell, (state.name, *state.aliases))):
                return state
    return None


def default_model(states: Sequence[ModelState], name: str, kind: Kind) -> ModelState:
    """The server's default where it is of this kind, else the first that is. `name` "": the server has no default.

    Raises UnknownModel for a default that is not offered, and where no model is of the kind.
    """
    chosen = find_model(states, name) if name else None
    if name and chosen is None:
        names = ", ".join(state.name for state in states)
        raise UnknownModel(
            f"default_model: this server's default, {name[:60]!r}, is none of its models: {names}",
            param="default_model",
            limit=names,
            received=name[:60],
        )
    fitting = [state for state in (chosen, *states) if state is not None and state.kind == kind]
    if not fitting:
        raise UnknownModel(f"model: this server offers no model of kind {kind}", param="model", limit=kind)
    return fitting[0]
