"""Instructions by name: `"instruction": "preset:code"`, or `"preset": "code"`.

Data only. `source` names whose words they are: the tasks' own, as the makers of the models published them for evaluation, or
ours. The model was trained on instructions of this kind: one English sentence that says what is given and what is wanted.
Invariant: names are lower case with hyphens, and each instruction is one sentence without a full stop.
"""

from dataclasses import dataclass

from gigarank.errors import InvalidInput
from gigarank.prompt import WEB_SEARCH

MARK = "preset:"


@dataclass(frozen=True, slots=True)
class Preset:
    name: str
    instruction: str
    source: str


_OURS = "gigarank"
PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("web-search", WEB_SEARCH, "Qwen3-Reranker, the default"),
        Preset("argument", "Given a claim, find documents that refute the claim", "ArguAna"),
        Preset(
            "duplicate-question",
            "Given a question, retrieve detailed question descriptions from Stackexchange "
            "that are duplicates to the given question",
            "CQADupstack",
        ),
        Preset("fact-check", "Given a claim, retrieve documents that support or refute the claim", "FEVER"),
        Preset(
            "climate-claim",
            "Given a claim about climate change, retrieve documents that support or refute the claim",
            "ClimateFEVER",
        ),
        Preset("finance", "Given a financial question, retrieve user replies that best answer the question", "FiQA"),
        Preset(
            "multi-hop",
            "Given a multi-hop question, retrieve documents that can help answer the question",
            "HotpotQA",
        ),
        Preset(
            "citation",
            "Given a scientific paper title, retrieve paper abstracts that are cited by the given paper",
            "SCIDOCS",
        ),
        Preset("science", "Given a scientific claim, retrieve documents that support or refute the claim", "SciFact"),
        Preset("covid", "Given a query on COVID-19, retrieve documents that answer the query", "TRECCOVID"),
        Preset(
            "debate",
            "Given a question, retrieve detailed and persuasive arguments that answer the question",
            "Touche",
        ),
        Preset("code", "Given a question about code, retrieve code snippets that answer the question", _OURS),
        Preset("text-to-sql", "Given a question in natural language, retrieve SQL queries that answer it", _OURS),
        Preset("support", "Given a customer's problem, retrieve help articles that solve it", _OURS),
        Preset("legal", "Given a legal question, retrieve statutes and cases that bear on it", _OURS),
        Preset("product", "Given a shopper's search query, retrieve products that match what is asked for", _OURS),
        Preset(
            "cross-lingual",
            "Given a web search query, retrieve relevant passages in any language that answer the query",
            _OURS,
        ),
    )
}


def preset(name: str, param: str) -> str:
    """The instruction of that name; raises InvalidInput that lists the names."""
    if name not in PRESETS:
        names = ", ".join(PRESETS)
        raise InvalidInput(f"{param}: no preset of that name; known: {names}", param=param, limit=names, received=name[:60])
    return PRESETS[name].instruction
