"""The bench's documents: as many tokens as asked, the same for every contestant, the same for every run."""

import pytest
from tokenizers import Tokenizer

from gigarank.bench.qwen_tokenizer import qwen_tokenizer
from gigarank.bench.workloads import QUERY_WORDS, WORKLOADS, Workload, head, request, select, words
from gigarank.errors import InvalidInput
from gigarank.prompt import NANO_V1, QWEN3_V1, PromptFormat


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return qwen_tokenizer(12_000)


def count(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


def test_the_four_workloads_are_as_documented() -> None:
    sizes = {name: (load.documents, load.tokens, load.whole_pair) for name, load in WORKLOADS.items()}
    assert sizes == {
        "short": (100, 40, False),
        "passages": (100, 140, False),
        "long": (10, 2_000, False),
        "single": (1, 8_192, True),
    }


def test_select_keeps_the_order_and_scales_every_workload() -> None:
    assert [load.name for load in select("long, short")] == ["long", "short"]
    assert [(load.documents, load.tokens) for load in select("long,short", documents=3, tokens=7)] == [(3, 7), (3, 7)]
    assert [(load.documents, load.tokens) for load in select("long,short", documents=3)] == [(3, 2_000), (3, 40)]


@pytest.mark.parametrize("names", ["", "tiny", "short,tiny", ","])
def test_select_refuses_unknown_names_and_lists_the_known(names: str) -> None:
    with pytest.raises(InvalidInput, match="short, passages, long, single") as caught:
        select(names)
    assert (caught.value.param, caught.value.received) == ("workload", names)


@pytest.mark.parametrize(("documents", "tokens", "param"), [(0, None, "docs"), (None, 0, "tokens"), (-1, 5, "docs")])
def test_select_refuses_sizes_below_one(documents: int | None, tokens: int | None, param: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        select("short", documents, tokens)
    assert (caught.value.param, caught.value.limit) == (param, 1)


@pytest.mark.parametrize("size", [12_000, 49_152])
def test_every_word_is_one_token_also_between_others(size: int) -> None:
    sized = qwen_tokenizer(size)
    found = words(sized)
    assert len(found) > 1_000
    encoding = sized.encode("".join(found), add_special_tokens=False)
    assert [sized.decode([token]) for token in encoding.ids] == found


@pytest.mark.parametrize("prompt", [QWEN3_V1, NANO_V1])
def test_documents_vary_by_forty_percent_and_the_count_is_exact(tokenizer: Tokenizer, prompt: PromptFormat) -> None:
    asked = request(Workload("passages", 200, 100), tokenizer, prompt)
    lengths = [count(tokenizer, " " + document) for document in asked.documents]
    assert len(lengths) == 200
    assert 60 <= min(lengths) < 65
    assert 135 < max(lengths) <= 140
    assert 95 < sum(lengths) / 200 < 105
    assert count(tokenizer, asked.query) in (QUERY_WORDS, QUERY_WORDS + 1)  # its first word stands without its blank here
    whole = [count(tokenizer, prompt.render(None, asked.query, document)) for document in asked.documents]
    assert asked.read_tokens == sum(whole)


@pytest.mark.parametrize("tokens", [100, 8_192])
def test_a_whole_pair_has_exactly_its_tokens(tokenizer: Tokenizer, tokens: int) -> None:
    asked = request(Workload("single", 1, tokens, whole_pair=True), tokenizer, QWEN3_V1)
    assert count(tokenizer, QWEN3_V1.render(None, asked.query, asked.documents[0])) == tokens == asked.read_tokens


def test_a_pair_too_short_for_its_prompt_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(InvalidInput, match="no room for a document") as caught:
        request(Workload("single", 1, 50, whole_pair=True), tokenizer, QWEN3_V1)
    assert caught.value.received == 50
    smallest = request(Workload("single", 1, caught.value.limit, whole_pair=True), tokenizer, QWEN3_V1)
    assert count(tokenizer, " " + smallest.documents[0]) == 1


def test_a_seed_gives_the_same_documents_and_another_gives_others(tokenizer: Tokenizer) -> None:
    load = Workload("short", 5, 20)
    assert request(load, tokenizer, QWEN3_V1, seed=1) == request(load, tokenizer, QWEN3_V1, seed=1)
    assert request(load, tokenizer, QWEN3_V1, seed=1).documents != request(load, tokenizer, QWEN3_V1, seed=2).documents


def test_head_is_the_beginning_of_the_first_documents(tokenizer: Tokenizer) -> None:
    asked = request(Workload("short", 5, 20), tokenizer, QWEN3_V1)
    small = head(asked, documents=2, words_each=3)
    assert small.query == asked.query
    assert len(small.documents) == 2
    assert all(
        full.startswith(cut) and len(cut.split()) == 3 for full, cut in zip(asked.documents[:2], small.documents, strict=True)
    )
