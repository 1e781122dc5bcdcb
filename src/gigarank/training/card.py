"""The model card of a trained model: what it was made from, by which recipe, and what was measured.

Writes Markdown with the hub's metadata block. Knows facts that it is given, and makes none up: where nothing was measured, the
card says so. Invariant: every data source stands there with its licence, and the recipe whole.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gigarank.errors import InvalidInput
from gigarank.prompt import PromptFormat


@dataclass(frozen=True, slots=True)
class DataSource:
    """What it was trained on: `rows` None where the number is not known."""

    name: str
    licence: str
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value on one set, before (`base`, None if not measured) and after, and the first stage's, in the metric's
    units, from 0 to 1."""

    set: str
    metric: str
    value: float
    first_stage: float
    base: float | None = None
    queries: int | None = None


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card says. `stages`: the training stages that the model went through, in order; `commit` of the code; `vllm`
    the overrides to load it there with; `adapter`: it is one, and no whole model."""

    name: str
    base: str
    licence: str
    kind: str
    data: Sequence[DataSource] = ()
    stages: Sequence[str] = ()
    recipe: str = ""
    commit: str | None = None
    version: str = ""
    figures: Sequence[Figure] = ()
    vllm: Mapping[str, Any] = field(default_factory=dict)
    adapter: bool = False


def vllm_overrides(model_type: str, prompt: PromptFormat) -> dict[str, Any]:
    """What vLLM's hf_overrides must say of a causal reranker, `no` before `yes`. Source: vLLM's pages on scoring models."""
    classes = {"qwen3": "Qwen3", "qwen2": "Qwen2", "llama": "Llama"}
    head: dict[str, Any] = {"is_original_qwen3_reranker": True} if model_type == "qwen3" else {"method": "from_2_way_softmax"}
    name = f"{classes[model_type]}ForSequenceClassification"
    return {"architectures": [name], "classifier_from_token": [prompt.no, prompt.yes], **head}


def parse_source(text: str) -> DataSource:
    """NAME=LICENCE or NAME=LICENCE:ROWS, as a command line gives it. Raises InvalidInput."""
    name, equals, rest = text.partition("=")
    licence, _, rows = rest.rpartition(":") if rest.rpartition(":")[2].isdigit() else (rest, "", "")
    if not name.strip() or not equals or not licence.strip():
        raise InvalidInput(
            f"data: {text!r} must be NAME=LICENCE or NAME=LICENCE:ROWS", param="data", limit="NAME=LICENCE:ROWS", received=text
        )
    return DataSource(name.strip(), licence.strip(), int(rows) if rows else None)


def card(facts: CardFacts) -> str:
    """The whole README.md."""
    parts = [_metadata(facts), f"# {facts.name}", _opening(facts), _data(facts), _recipe(facts), _figures(facts), _use(facts)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _metadata(facts: CardFacts) -> str:
    lines = [
        "---",
        f"license: {json.dumps(facts.licence.lower())}",
        f"base_model: {json.dumps(facts.base)}",
        f"library_name: {'peft' if facts.adapter else 'sentence-transformers'}",
        f"pipeline_tag: {'text-ranking' if facts.kind == 'reranker' else 'feature-extraction'}",
        f"tags: [{facts.kind}, gigarank]",
        "---",
    ]
    return "\n".join(lines)


def _opening(facts: CardFacts) -> str:
    stages = ", then ".join(facts.stages) if facts.stages else "stages that were not recorded"
    made = f"gigarank {facts.version}".strip() + (f", commit {facts.commit}" if facts.commit else ", commit not recorded")
    return f"A {facts.kind} made from {facts.base} by {stages}. Licence: {facts.licence}. Made with {made}."


def _data(facts: CardFacts) -> str:
    if not facts.data:
        return "## Data\n\nNot recorded."
    counts = ["-" if one.rows is None else f"{one.rows:,}" for one in facts.data]
    rows = [f"| {_cell(one.name)} | {count} | {_cell(one.licence)} |" for one, count in zip(facts.data, counts, strict=True)]
    return "\n".join(["## Data", "", "| source | rows | licence |", "|---|---|---|", *rows])


def _recipe(facts: CardFacts) -> str:
    return f"## Recipe\n\n```toml\n{facts.recipe.strip()}\n```" if facts.recipe.strip() else "## Recipe\n\nNot recorded."


def _figures(facts: CardFacts) -> str:
    if not facts.figures:
        return "## Quality\n\nNot measured."
    head = ["## Quality", "", "| set | queries | metric | first stage | base | this model |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *(_figure(one) for one in facts.figures)])


def _figure(one: Figure) -> str:
    base = "not measured" if one.base is None else f"{one.base:.4f}"
    queries = "-" if one.queries is None else f"{one.queries:,}"
    return f"| {_cell(one.set)} | {queries} | {_cell(one.metric)} | {one.first_stage:.4f} | {base} | {one.value:.4f} |"


def _use(facts: CardFacts) -> str:
    if facts.adapter:
        return _USE_ADAPTER.format(name=facts.name, kind=facts.kind.capitalize(), base=facts.base)
    if facts.kind != "reranker":
        return _USE_EMBEDDER.format(name=facts.name)
    text = _USE.format(name=facts.name)
    return text + _VLLM.format(overrides=json.dumps(facts.vllm)) if facts.vllm else text


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


_USE_ADAPTER = """## Use

A LoRA adapter, in peft's format, of {base}.

```python
from gigarank import {kind}

model = {kind}.load("{name}")
```
"""

_USE_EMBEDDER = """## Use

```python
from gigarank import Embedder

model = Embedder.load("{name}")
vectors = model.embed(documents=["a text"])
```

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{name}")
vectors = model.encode(["a question"], prompt_name="query")
```
"""

_USE = """## Use

```python
from gigarank import Reranker

model = Reranker.load("{name}")
```

```python
from sentence_transformers import CrossEncoder

model = CrossEncoder("{name}")
```
"""

_VLLM = """
vLLM serves a model in this layout with these overrides:

```text
--hf-overrides '{overrides}'
```
"""
