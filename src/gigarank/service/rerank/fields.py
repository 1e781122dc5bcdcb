"""The fields of a rerank request under all the names that clients give them: one table, read by the parser and by OpenAPI.

Knows values and their kinds, no dialect. A name with dots is looked up in nested objects. Invariant: of a field's names the
first that is present and not null counts; names that are not here are ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from gigarank.engine.work import Tier
from gigarank.errors import InvalidInput, UnsupportedParameter
from gigarank.service.rerank import presets
from gigarank.service.rerank.values import FLAG, NUMBER, NUMBERS, TEXT, TEXTS, Kind, choice, integer, wrong

T = TypeVar("T")
OnError = Literal["fail", "skip"]


@dataclass(frozen=True, slots=True)
class Field(Generic[T]):
    """`names`: the canonical one first."""

    names: tuple[str, ...]
    kind: Kind[T]
    about: str

    def take(self, body: Mapping[str, Any]) -> T | None:
        """The value, or None where no name is present; raises InvalidInput."""
        name, value = find(body, self.names)
        return None if value is None else self.kind.read(value, name)


def find(body: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, Any]:
    """The first of these names that is present and not null, and its value; else the first name and None."""
    for name in names:
        value: Any = body
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            return name, value
    return names[0], None


def _instruction(value: Any, param: str) -> str | None:
    text = TEXT.read(value, param).strip()
    return presets.preset(text.removeprefix(presets.MARK), param) if text.startswith(presets.MARK) else text or None


def _preset(value: Any, param: str) -> str:
    return presets.preset(TEXT.read(value, param), param)


_SIDES = {"right": True, "Right": True, "RIGHT": True, "end": True, "END": True}


def _side(value: Any, param: str) -> bool:
    if not isinstance(value, str) or value.lower() not in ("left", "right", "start", "end"):
        raise wrong(param, '"right"', value)
    if value.lower() in ("left", "start"):
        raise UnsupportedParameter(
            f"{param}: documents are cut at their end only; cutting {value!r} would take the words that the model reads first",
            param=param,
            limit="right",
            received=value,
        )
    return True


_CUTS: dict[str | bool, bool] = {"NONE": False, "none": False, "END": True, "end": True, "true": True, "false": False}
_CUTS |= {True: True, False: False, "True": True, "False": False}


def _cut(value: Any, param: str) -> bool:
    if isinstance(value, str) and value.lower() in ("start", "left"):
        return _side(value, param)
    return choice(_CUTS).read(value, param)


def _tier(value: Any, param: str) -> Tier:
    return "batch" if TEXT.read(value, param).lower() in ("flex", "batch") else "default"


_MOST_RANK_FIELDS = 100


def _rank_fields(value: Any, param: str) -> tuple[str, ...]:
    """Each name once."""
    if isinstance(value, list) and len(value) > _MOST_RANK_FIELDS:
        message = f"{param}: at most {_MOST_RANK_FIELDS} names, not {len(value)}"
        raise InvalidInput(message, param=param, limit=_MOST_RANK_FIELDS, received=len(value))
    return tuple(dict.fromkeys(TEXTS.read(value, param)))


_CUT_KIND: Kind[bool] = Kind({"enum": [*_CUTS, None]}, _cut)
_OVERLAP: Kind[int] = integer(0, 9_999)
_SPEEDS: dict[str | bool, Tier] = {"fast": "default", "slow": "batch"}
_ON_ERROR: dict[str | bool, OnError] = {"fail": "fail", "skip": "skip"}

_NESTED_INSTRUCTIONS = ("chat_template_kwargs.instruction", "parameters.instruct", "parameters.instruction")

MODEL = Field(("model", "model_id"), TEXT, "A name or alias of GET /v1/models; absent: the server's default.")
INSTRUCTION = Field(
    ("instruction", "instruct", "task", "prompt", *_NESTED_INSTRUCTIONS),
    Kind(TEXT.schema, _instruction),
    'What makes a document relevant, in one English sentence; or "preset:NAME" of GET /v1/instructions.',
)
PRESET = Field(
    ("preset",), Kind({"enum": [*presets.PRESETS, None]}, _preset), "An instruction by its name, see GET /v1/instructions."
)
TOP_N = Field(
    ("top_n", "top_k", "parameters.top_n", "parameters.top_k"),
    integer(-1),
    "How many results come back, best first. Absent, null, 0, -1 or more than there are: all.",
)
RETURN_DOCUMENTS = Field(
    ("return_documents", "return_text", "return_input", "parameters.return_documents"),
    FLAG,
    "Whether results repeat their document.",
)
RANK_FIELDS = Field(
    ("rank_fields", "parameters.rank_fields"),
    Kind({**TEXTS.schema, "maxItems": _MOST_RANK_FIELDS}, _rank_fields),
    "Which keys of an object document are read, in this order, as YAML.",
)
SCORE_THRESHOLD = Field(
    ("score_threshold",), NUMBER, "Leaves out results whose relevance (always the probability, 0 to 1) is lower."
)
FIRST_STAGE = Field(
    ("first_stage_scores",),
    NUMBERS,
    "The scores of the search that found the documents, one each, in any unit, higher is better: results are ordered by both.",
)
FIRST_STAGE_WEIGHT = Field(("first_stage_weight",), NUMBER, "How much they count beside the model's; 1 by default.")
RAW_SCORES = Field(("raw_scores",), FLAG, "True: scores are logits instead of probabilities.")
USE_ACTIVATION = Field(("use_activation", "activation"), FLAG, "False: scores are logits instead of probabilities.")
TRUNCATE = Field(
    ("truncate", "truncation", "parameters.truncate", "parameters.truncation"),
    _CUT_KIND,
    "Whether a document that does not fit is cut at its end (the default) or fails. The query is never cut unasked.",
)
SIDE = Field(
    ("truncation_side", "truncation_direction"), Kind({"enum": [*_SIDES, None]}, _side), "Right, the only one on offer."
)
MAX_DOCUMENT = Field(
    ("max_tokens_per_doc", "max_doc_length"), integer(0), "Longer documents are cut to so many tokens; 0: no such limit."
)
MAX_PROMPT = Field(
    ("truncate_prompt_tokens",), integer(-1), "As max_tokens_per_doc: it is the document that gives way; -1, 0: no limit."
)
MAX_QUERY = Field(
    ("max_tokens_per_query", "max_query_length"), integer(0), "Longer queries are cut to so many tokens; 0: no such limit."
)
MAX_CHUNKS = Field(
    ("max_chunks_per_doc",),
    integer(0),
    "Reads a document that does not fit as up to so many overlapping windows; the best one's score is the document's.",
)
OVERLAP = Field(
    ("overlap_tokens",), _OVERLAP, "How many tokens neighbouring windows share, at most half a window; asks for windows, too."
)
PRIORITY = Field(("priority",), integer(-1_000, 1_000), "Lower runs earlier; 0 by default.")
LATENCY = Field(("latency",), choice(_SPEEDS), 'ZeroEntropy\'s classes; "slow" is the batch tier.')
SERVICE_TIER = Field(("service_tier",), Kind(TEXT.schema, _tier), '"flex" or "batch" wait for all others; usage says so.')
DEADLINE = Field(
    ("deadline_ms",), integer(1), "Answers after so many milliseconds with the scores that are ready; the rest are marked."
)
ON_ERROR = Field(
    ("on_error",), choice(_ON_ERROR), '"skip" (default): a document that fails is marked. "fail": so does the request.'
)
