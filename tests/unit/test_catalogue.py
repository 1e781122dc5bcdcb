"""The catalogue: figures follow from shapes, a name means one model, and a wrong name is answered with near ones."""

import dataclasses
import re

import pytest

from gigarank import catalogue
from gigarank.catalogue import MODELS, SUITES, Model, Shape
from gigarank.errors import UnknownModel
from gigarank.prompt import FORMATS, QWEN3_EMBEDDING_V1

NAMES = [model.name for model in MODELS]
models = pytest.mark.parametrize("model", MODELS, ids=NAMES)


def parameters(shape: Shape) -> int:
    """The weights of a decoder of this shape, counted matrix by matrix."""
    queries = shape.num_attention_heads * shape.head_dim
    keys = shape.num_key_value_heads * shape.head_dim
    attention = shape.hidden_size * (queries + 2 * keys) + queries * shape.hidden_size
    head_norms = 2 * shape.head_dim if shape.model_type == "qwen3" else 0
    feed_forward = 3 * shape.hidden_size * shape.intermediate_size
    layer = attention + head_norms + feed_forward + 2 * shape.hidden_size
    vocabularies = 1 if shape.tie_word_embeddings else 2
    embeddings = vocabularies * shape.vocab_size * shape.hidden_size
    return shape.num_hidden_layers * layer + embeddings + shape.hidden_size


@models
def test_parameters_follow_from_the_shape(model: Model) -> None:
    assert parameters(model.shape) == model.parameters


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("nano", 134_515_008),
        ("qwen3-reranker-0.6b", 595_776_512),
        ("qwen3-reranker-4b", 4_021_784_576),
        ("qwen3-reranker-8b", 8_188_548_096),
        ("qwen3-embedding-0.6b", 595_776_512),
    ],
)
def test_parameters_are_the_published_counts(name: str, count: int) -> None:
    model = catalogue.find(name)
    assert model is not None
    assert model.parameters == count


def test_only_the_largest_reranker_has_a_head_of_its_own() -> None:
    assert [model.name for model in MODELS if not model.shape.tie_word_embeddings] == ["qwen3-reranker-8b"]


@models
def test_the_shape_is_one_that_a_decoder_can_have(model: Model) -> None:
    assert model.shape.num_attention_heads % model.shape.num_key_value_heads == 0
    assert model.shape.head_dim % 2 == 0
    assert model.context_tokens <= model.shape.max_position_embeddings


@models
def test_the_prompt_format_is_a_known_one(model: Model) -> None:
    known = FORMATS if model.kind == "reranker" else {QWEN3_EMBEDDING_V1.id: QWEN3_EMBEDDING_V1}
    assert model.prompt in known


@models
def test_published_figures_are_whole_rows_or_absent(model: Model) -> None:
    assert tuple(model.published) in (SUITES, ())
    assert all(0 < figure < 100 for figure in model.published.values())


def test_nano_claims_no_published_figure_and_says_what_it_is() -> None:
    assert catalogue.NANO.published == {}
    assert catalogue.NANO.caveat is not None
    assert "far below" in catalogue.NANO.caveat
    assert catalogue.RERANKER_0_6B.repository in catalogue.NANO.caveat


def test_names_repositories_and_aliases_each_belong_to_one_model() -> None:
    names = [name.lower() for model in MODELS for name in (model.name, model.repository, *model.aliases)]
    assert len(names) == len(set(names))


@models
def test_a_name_cannot_be_taken_for_a_folder_or_a_hub_id(model: Model) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", model.name)
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", model.repository)


@models
def test_find_knows_name_repository_and_alias_in_any_case(model: Model) -> None:
    for name in (model.name, model.repository, *model.aliases):
        assert catalogue.find(name) is model
        assert catalogue.find(name.upper()) is model


@pytest.mark.parametrize("name", ["", "nan", "nano ", "Qwen/Qwen3-Reranker", "qwen3-reranker-0.6b/", "./nano"])
def test_find_takes_nothing_but_a_whole_name(name: str) -> None:
    assert catalogue.find(name) is None


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("nanno", "nano"),
        ("qwen3-reranker-0.6", "qwen3-reranker-0.6b"),
        ("Qwen3-Reranker-4B", "qwen3-reranker-4b"),
        ("Qwen/Qwen3-Reranker-8b-instruct", "Qwen/Qwen3-Reranker-8B"),
        ("qwen/qwen3-embeding-0.6b", "Qwen/Qwen3-Embedding-0.6B"),
    ],
)
def test_unknown_names_the_nearest(typed: str, meant: str) -> None:
    error = catalogue.unknown(typed)
    assert isinstance(error, UnknownModel)
    assert meant in error.limit
    assert repr(typed) in error.message
    assert meant in error.message
    assert (error.param, error.received, error.status) == ("model", typed, 404)
    assert len(error.limit) <= 3


def test_unknown_lists_every_model_where_nothing_is_near() -> None:
    assert catalogue.unknown("zzzzzzzz").limit == NAMES


def test_the_catalogue_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        catalogue.NANO.name = "other"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        catalogue.NANO.shape.head_dim = 1  # type: ignore[misc]


def test_the_wheel_of_nano_is_pinned_by_hash_and_size() -> None:
    wheel = catalogue.NANO.wheel
    assert wheel is not None
    assert re.fullmatch(r"[0-9a-f]{64}", wheel.wheel_sha256)
    assert re.fullmatch(r"[0-9a-f]{64}", wheel.member_sha256)
    assert wheel.wheel_sha256 != wheel.member_sha256
    assert wheel.member.endswith(".gguf")
    assert wheel.member_bytes == 98_362_432


def test_what_nano_is_made_from_has_a_name_and_no_place_in_the_list() -> None:
    base = catalogue.find("nano-base")
    assert base is catalogue.NANO_BASE
    assert base not in MODELS
    assert (base.adapter, base.wheel, base.prompt) == (None, catalogue.NANO.wheel, catalogue.NANO.prompt)
    assert catalogue.find(base.repository) is catalogue.NANO
