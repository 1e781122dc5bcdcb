"""Which rows and documents a stage sees, and how they become tokens."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import tiny
from gigarank.engine.tokenizer import PromptTokenizer
from gigarank.errors import BadFile, InvalidInput
from gigarank.prompt import QWEN3_V1
from gigarank.training.examples import Example, draw, read_data, steps_of
from gigarank.training.packing import PAD, PackedExamples, RerankerPrompts, block_mask, collate
from gigarank.training.recipe import Data, Stage
from gigarank.training.rows import Row
from training import row, write_rows

ROWS = [Row(f"q{n}", ("yes", "no", "never", "nowhere"), (1.0, 0.0, 0.0, 0.0)) for n in range(10)]


def stage(**more: object) -> Stage:
    plain = Stage(name="one", losses={"infonce": 1.0}, data=(Data(path=Path("a")),), queries=4, documents=3)
    return replace(plain, **more)  # type: ignore[arg-type]


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    assert draw(stage(), [ROWS]) == draw(stage(), [ROWS])
    assert draw(stage(), [ROWS]) != draw(stage(seed=1), [ROWS])


def test_an_epoch_holds_every_row_once_and_the_next_in_another_order() -> None:
    found = [example.row for example in draw(stage(epochs=2.0, queries=5), [ROWS])]
    assert sorted(found[:10]) == sorted(found[10:]) == list(range(10))
    assert found[:10] != found[10:]


def test_steps_are_epochs_over_the_taken_rows_or_what_was_asked_for() -> None:
    assert steps_of(stage(), [ROWS]) == 2
    assert steps_of(stage(epochs=0.1), [ROWS]) == 1
    assert steps_of(stage(steps=9), [ROWS]) == 9
    halves = stage(data=(Data(path=Path("a"), share=0.5), Data(path=Path("b"), share=2.0)))
    assert steps_of(halves, [ROWS, ROWS[:2]]) == 2


def test_a_share_takes_that_part_of_a_file_anew_each_epoch() -> None:
    mixed = stage(data=(Data(path=Path("a"), share=0.5), Data(path=Path("b"), share=1.5)), queries=1, epochs=40.0)
    found = draw(mixed, [ROWS, ROWS[:4]])
    first = Counter(example.row for example in found[:11])
    assert sum(count for number, count in first.items() if number < 10) == 5 and max(first[n] for n in range(10)) == 1
    assert sum(count for number, count in first.items() if number >= 10) == 6 and min(first[n] for n in range(10, 14)) == 1
    assert len({example.row for example in found}) == 14


def test_a_row_keeps_a_positive_whatever_its_size() -> None:
    wide = Row("q", tuple("abcdefgh"), (1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0))
    for most, positives in ((1, 1), (2, 1), (4, 2), (7, 4), (9, 5)):
        for seed in range(5):
            (example,) = draw(stage(documents=most, queries=1, seed=seed), [[wide]])
            assert len(example.documents) == min(most, 8)
            assert sum(place < 5 for place in example.documents) == positives


def test_documents_of_the_steps_other_queries_stand_in_as_negatives() -> None:
    rows = [Row(f"q{n}", (f"a{n}", "shared"), (1.0, 0.0)) for n in range(6)]
    for example in draw(stage(in_batch=2, queries=3, documents=2), [rows]):
        assert len(example.others) == 2
        assert all(other != example.row and rows[other].documents[place] != "shared" for other, place in example.others)


def test_documents_of_other_queries_need_another_query(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(row("q", ["a", "b"], [1, 0]) * 4, encoding="utf-8")
    with pytest.raises(InvalidInput, match="in_batch: the data hold one query only"):
        read_data(stage(in_batch=1, data=(Data(path=path),)))


def test_a_step_of_more_queries_than_rows_holds_rows_twice() -> None:
    assert sorted(example.row for example in draw(stage(queries=4, steps=1), [ROWS[:2]])) == [0, 0, 1, 1]


def test_forwards_of_several_queries_are_of_like_length() -> None:
    rows = [Row(f"q{n}", ("x" * (n * 37 % 10 + 1),), (1.0,)) for n in range(10)]
    found = draw(stage(queries=10, at_once=5), [rows])
    lengths = [len(rows[example.row].documents[0]) for example in found]
    assert lengths == sorted(lengths)


def test_rows_are_read_with_line_and_field_of_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(row("q", ["a", "b"], [1, 0]) + row("q", ["a"], [0]), encoding="utf-8")
    with pytest.raises(BadFile, match=r"rows.jsonl:2: a row without a positive document"):
        read_data(stage(data=(Data(path=path),)))
    path.write_text(row("q", ["a"], [1, 0]), encoding="utf-8")
    with pytest.raises(BadFile, match=r"rows.jsonl:1: labels: must hold 1 numbers"):
        read_data(stage(data=(Data(path=path),)))
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(BadFile, match="holds no rows"):
        read_data(stage(data=(Data(path=path),)))


def test_rows_without_a_teacher_are_refused_where_nothing_else_is_learned_from(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(row("q", ["a", "b"], [1, 0], scores=[1, None]), encoding="utf-8")
    with pytest.raises(BadFile, match=r"rows.jsonl:1: scores: kl needs a teacher's scores of two documents or more"):
        read_data(stage(losses={"kl": 1.0}, data=(Data(path=path),)))
    path.write_text(path.read_text() + "\n" + row("q", ["a", "b"], [1, 0], scores=[1, 0]), encoding="utf-8")
    assert len(read_data(stage(losses={"kl": 1.0, "bce": 1.0}, data=(Data(path=path),)))[0]) == 2


USELESS: dict[str, tuple[dict[str, float], str, str]] = {
    "infonce": ({"infonce": 1.0}, row("q", ["a", "b"], [1, 0.5]), "infonce needs a document with label 0 .*, not .1.0, 0.5."),
    "listnet": ({"listnet": 1.0}, row("q", ["a"], [1]), "listnet needs two documents or more"),
    "lambda": ({"lambda": 1.0}, row("q", ["a", "b"], [1, 1]), "lambda needs documents with different labels"),
    "several": ({"ranknet": 1.0, "kl": 1.0}, row("q", ["a"], [1], scores=[3]), "ranknet needs .*; kl needs a teacher's scores"),
    "margins": ({"margin_mse": 1.0}, row("q", ["a", "b", "c"], [1, 1, 0], scores=[3, 2, None]), "margin_mse needs a teacher's"),
    "mse": ({"mse": 1.0}, row("q", ["a"], [1], scores=[None]), "mse needs a teacher's score"),
}


@pytest.mark.parametrize("what", USELESS)
def test_a_row_from_which_no_loss_learns_is_refused_by_line_and_a_loss_by_file(tmp_path: Path, what: str) -> None:
    losses, useless, said = USELESS[what]
    path, good = tmp_path / "rows.jsonl", row("r", ["a", "b"], [1, 0], scores=[1, 0])
    path.write_text(good + "\n" + useless, encoding="utf-8")
    data = (Data(path=path),)
    with pytest.raises(BadFile, match=rf"rows.jsonl:3: (labels|scores): {said}"):
        read_data(stage(losses=losses, data=data))
    assert read_data(stage(losses=losses | {"bce": 1.0}, data=data)), "one of the losses learns from each row"
    path.write_text(useless * 2, encoding="utf-8")
    with pytest.raises(BadFile, match=rf"rows.jsonl: losses.{next(iter(losses))}: would learn nothing: it needs .*no row has"):
        read_data(stage(losses=losses | {"bce": 1.0}, data=data))
    (tmp_path / "more.jsonl").write_text(good, encoding="utf-8")
    assert read_data(stage(losses=losses | {"bce": 1.0}, data=(*data, Data(path=tmp_path / "more.jsonl"))))


def test_documents_of_other_queries_are_what_a_lone_positive_is_compared_with(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(row("q", ["a"], [1]) + row("r", ["b"], [1]), encoding="utf-8")
    lone = stage(data=(Data(path=path),))
    for kind in ("reranker", "embedder"):
        with pytest.raises(BadFile, match=r"rows.jsonl:1: labels: infonce needs a document with label 0"):
            read_data(lone, kind)
    assert read_data(replace(lone, in_batch=1)) and read_data(replace(lone, at_once=2), "embedder")
    with pytest.raises(BadFile, match=r"rows.jsonl:1: labels: infonce needs"):
        read_data(replace(lone, at_once=2))


def test_instruction_and_most_rows_are_the_datas(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", 5)
    (rows,) = read_data(stage(data=(Data(path=path, instruction="Find it", max_rows=3),)))
    assert [one.instruction for one in rows] == ["Find it"] * 3


@pytest.fixture
def tokenizer() -> PromptTokenizer:
    return PromptTokenizer(tiny.qwen_text(), QWEN3_V1, 512)


def test_a_packed_example_holds_each_prompt_as_the_model_card_writes_it(tokenizer: PromptTokenizer) -> None:
    rows = [Row("red", ("a rose", "the sea at night"), (1.0, 0.0), (2.0, None), "Find colours")]
    packed = PackedExamples([Example(0, (0, 1))], rows, RerankerPrompts(tokenizer, stage()))[0]
    for number, document in enumerate(rows[0].documents, 1):
        own = (packed.blocks == 0) | (packed.blocks == number)
        assert packed.ids[own].tolist() == tiny.card_ids(QWEN3_V1, "Find colours", "red", document)
        assert packed.positions[own].tolist() == list(range(int(own.sum())))
        assert packed.blocks[packed.ends[number - 1]] == number
    assert packed.labels.tolist() == [1.0, 0.0]
    assert packed.taught[0] == 2.0 and packed.taught[1].isnan()


def test_documents_and_queries_are_cut_by_the_engines_rule(tokenizer: PromptTokenizer) -> None:
    rows = [Row("red " * 50, ("rose " * 50,), (1.0,))]
    limits = stage(max_document_tokens=7, max_query_tokens=5)
    packed = PackedExamples([Example(0, (0,))], rows, RerankerPrompts(tokenizer, limits))[0]
    assert int((packed.blocks == 1).sum()) == 7 + len(tokenizer.suffix_ids)
    shorter = PackedExamples([Example(0, (0,))], [replace(rows[0], query="red " * 5)], RerankerPrompts(tokenizer, limits))[0]
    assert int((packed.blocks == 0).sum()) == int((shorter.blocks == 0).sum())


def test_others_documents_come_last_without_label_and_teacher(tokenizer: PromptTokenizer) -> None:
    rows = [Row("red", ("a rose",), (1.0,), (2.0,)), Row("blue", ("sky", "sea"), (1.0, 0.0))]
    packed = PackedExamples([Example(0, (0,), ((1, 1),))], rows, RerankerPrompts(tokenizer, stage()))[0]
    assert packed.labels.tolist() == [1.0, 0.0] and packed.taught[1].isnan()
    own = (packed.blocks == 0) | (packed.blocks == 2)
    assert packed.ids[own].tolist() == tiny.card_ids(QWEN3_V1, None, "red", "sea")


def test_a_document_sees_the_prefix_and_itself_and_padding_only_itself() -> None:
    seen = block_mask(torch.tensor([[0, 0, 1, 1, 2, PAD]]))[0, 0].int().tolist()
    assert seen == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]


def test_examples_are_padded_to_the_longest_and_their_documents_found_again(tokenizer: PromptTokenizer) -> None:
    rows = [Row("red", ("a rose", "the sea"), (1.0, 0.0)), Row("a longer query", ("x",), (1.0,))]
    examples = PackedExamples([Example(0, (0, 1)), Example(1, (0,))], rows, RerankerPrompts(tokenizer, stage()))
    batch = collate([examples[0], examples[1]])
    assert batch["input_ids"].shape == batch["blocks"].shape == batch["position_ids"].shape
    assert batch["owners"].tolist() == batch["rows"].tolist() == [0, 0, 1]
    assert (batch["input_ids"][batch["rows"], batch["columns"]] == tokenizer.suffix_ids[-1]).all()
    assert (batch["blocks"] == PAD).sum() == abs(len(examples[0].ids) - len(examples[1].ids))
