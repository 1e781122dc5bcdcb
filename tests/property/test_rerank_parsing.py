"""Arbitrary JSON into every dialect: an answer or a GigarankError, and what a schema allows is read."""

import asyncio
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gigarank.errors import GigarankError, InvalidInput
from gigarank.service.rerank import fields
from gigarank.service.rerank.dialect import Dialect
from gigarank.service.rerank.fields import Field
from gigarank.service.rerank.routes import DIALECTS
from gigarank.service.rerank.texts import DOCUMENTS, QUERIES, read_documents, read_queries
from rerank_calls import Scripted, body_of, call_of

FIELDS = {name: value for name, value in vars(fields).items() if isinstance(value, Field)}
NAMES = sorted({name.split(".")[0] for field in FIELDS.values() for name in field.names})
TEXT_NAMES = ["query", "queries", "documents", "texts", "passages", "items", "input", "text_1", "text_2", "parameters"]
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([-1, 0, 1, 1.0, 1e300, 10**30])
NUMERALS = st.from_regex(r"^-?[0-9]{1,10}(\.[0-9]{1,3})?\n?$", fullmatch=True)
WORDS = st.sampled_from(
    ["true", "false", "END", "NONE", "left", "right", "fast", "flex", "skip", "code", "preset:x", "nano", ""]
)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=20) | WORDS | NUMERALS
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*TEXT_NAMES, "text", "type", "instruction", "top_n"]) | st.text(max_size=3), inner)
    ),
    max_leaves=6,
)
BODIES = st.fixed_dictionaries(
    {"query": st.just("q") | JSON, "documents": st.lists(st.text(max_size=5), min_size=1, max_size=3) | JSON},
    optional=dict.fromkeys((*NAMES, *TEXT_NAMES[3:]), JSON),
)


def matches(schema: dict[str, Any], value: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


def reads(read: Any, *arguments: Any) -> bool:
    try:
        read(*arguments)
    except InvalidInput:
        return False
    return True


@pytest.mark.parametrize("name", FIELDS)
@given(value=SCALARS | JSON)
@settings(max_examples=80, deadline=None)
def test_a_field_reads_what_its_schema_allows_and_nothing_else(name: str, value: Any) -> None:
    field = FIELDS[name]
    if value is None:
        assert matches(field.kind.schema, None)
    elif not (isinstance(value, str) and value.startswith("preset:")):  # which names there are is no matter of the schema
        read = reads(field.kind.read, value, name)
        assert read or not matches(field.kind.schema, value)
        assert matches(field.kind.schema, value) or not read or _is_another_spelling(value)


def _is_another_spelling(value: Any) -> bool:
    """What is read although the schema's list of words has it in one spelling of case only, or without edge zeros."""
    return isinstance(value, str) and (value.lower() in ("end", "right", "none") or value.strip().lstrip("-").isdecimal())


@given(value=JSON)
@settings(max_examples=300, deadline=None)
def test_queries_and_documents_are_read_as_their_schemas_say(value: Any) -> None:
    if value is not None:
        assert reads(read_queries, value, "query") or not matches(QUERIES, value)
    if matches(DOCUMENTS, value):
        assert all(document.failure is None for document in read_documents(value, "documents", ()))


@pytest.mark.parametrize("dialect", DIALECTS, ids=[dialect.name for dialect in DIALECTS])
@given(body=BODIES | JSON)
@settings(max_examples=40, deadline=None)
def test_whatever_comes_ends_in_an_answer_or_an_error_of_ours(dialect: Dialect, body: Any) -> None:
    call = call_of(body, dialect.paths[0].path.replace("{model:path}", "nano"), parameters={"model": "nano"})
    try:
        answer = asyncio.run(dialect.answer(call))
    except GigarankError as error:
        assert 400 <= error.status < 500, error.message
    else:
        jsonschema.validate(answer.body, dialect.response)


@given(logits=st.lists(st.floats(-30, 30), min_size=1, max_size=12), top_n=st.integers(0, 15))
@settings(deadline=None)
def test_results_stand_by_logit_and_ties_as_they_came(logits: list[float], top_n: int) -> None:
    texts = [f"document {place}" for place in range(len(logits))]
    backend = Scripted(dict(zip(texts, logits, strict=True)))
    results = body_of({"query": "q", "documents": texts, "top_n": top_n}, backend=backend)["results"]
    keys = [(-logits[result["index"]], result["index"]) for result in results]
    assert keys == sorted(keys)
    assert len(keys) == (min(top_n, len(texts)) or len(texts))
    assert {-key for key, _ in keys} <= set(sorted(logits, reverse=True)[: len(keys)])
