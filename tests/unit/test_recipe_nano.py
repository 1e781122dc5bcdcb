"""The programs of recipes/nano: passages out of a manual's pages, rows out of rows, usable questions."""

import importlib.util
import json
import random
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import adapters
from gigarank.engine.store import locate, with_adapter
from gigarank.evaluation.beir import read_beir
from gigarank.model.adapter import AdapterConfig, parse_adapter
from gigarank.training.export import source_of
from gigarank.training.recipe import read_recipe

FOLDER = Path(__file__).parents[2] / "recipes" / "nano"
PAGE = """<html><head><title>no</title></head><body><nav><p>Menu</p></nav>
<meta itemprop="keywords" content="charts,copying into text">
<h1>1.2. Copying a chart</h1><p>{first}</p><table><tr><td><p>cell</p></td></tr></table><p>{second}</p>
<h2>Too short</h2><p>Two words.</p></body></html>"""


def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"nano_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_pages_passages_have_its_headings_and_terms_and_nothing_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    first, second = " ".join(f"one{number}" for number in range(50)), " ".join(f"two{number}" for number in range(50))
    path.write_text(PAGE.format(first=first, second=second))
    found = list(program("pages").passages(path, "en", "office/page"))
    assert [(one["heading"], one["place"], one["text"]) for one in found] == [
        ("Copying a chart", 0, first),
        ("Copying a chart", 1, second),
    ]
    assert found[0]["terms"] == ["charts, copying into text"]


def test_blocks_are_merged_up_to_the_length_also_where_no_blanks_are() -> None:
    pages = program("pages")
    first, second = " ".join(["one"] * 30), " ".join(["two"] * 30)
    assert list(pages.merged([first, second])) == [f"{first} {second}"]
    assert len(list(pages.merged(["\u5b57" * 150, "\u5b57" * 150]))) == 2


NAME = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"


def two_adapters(tmp_path: Path) -> tuple[list[str], torch.Tensor]:
    """Their folders, and what both add to the matrix."""
    dice = torch.Generator().manual_seed(0)
    folders, whole = [tmp_path / "first", tmp_path / "second"], torch.zeros(6, 5)
    for folder, rank, alpha in zip(folders, (2, 3), (4.0, 3.0), strict=True):
        down, up = (torch.randn(shape, generator=dice).bfloat16().float() for shape in ((rank, 5), (6, rank)))
        whole += alpha / rank * up @ down
        folder.mkdir()
        save_file({NAME.format("A"): down, NAME.format("B"): up}, folder / "adapter_model.safetensors")
        settings = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": ["q_proj"]}
        (folder / "adapter_config.json").write_text(json.dumps(settings))
        (folder / "gigarank.json").write_text('{"base": "nano-base"}')
    return list(map(str, folders)), whole


def product_of(folder: Path) -> torch.Tensor:
    _, tensors = adapter_folder(folder)
    return tensors[NAME.format("B")].float() @ tensors[NAME.format("A")].float()


def test_two_adapters_joined_are_the_second_on_the_merge_of_the_first(tmp_path: Path) -> None:
    folders, whole = two_adapters(tmp_path)
    program("join").main([*folders, "--output", str(tmp_path / "both")])
    config, tensors = adapter_folder(tmp_path / "both")
    assert (config.rank, config.scale_of("q_proj")) == (5, 1.0)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    product = product_of(tmp_path / "both")
    torch.testing.assert_close(product, whole, rtol=0, atol=0.1)  # bf16 has 8 bits
    assert (whole - product).abs().max() < 0.02 * whole.abs().max()


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_a_lower_rank_is_the_nearest_product_of_that_rank(tmp_path: Path, rank: int) -> None:
    folders, whole = two_adapters(tmp_path)
    program("join").main([*folders, "--rank", str(rank), "--output", str(tmp_path / "cut")])
    config, tensors = adapter_folder(tmp_path / "cut")
    assert (config.rank, config.scale_of("q_proj"), tensors[NAME.format("A")].shape) == (rank, 1.0, (rank, 5))
    outer, values, inner = torch.linalg.svd(whole)
    nearest = outer[:, :rank] @ torch.diag(values[:rank]) @ inner[:rank]
    torch.testing.assert_close(product_of(tmp_path / "cut"), nearest, rtol=0, atol=0.02 * float(values[0]))


@pytest.mark.parametrize("rank", ["0", "6"])
def test_a_rank_that_cannot_be_is_refused(tmp_path: Path, rank: str) -> None:
    folders, _ = two_adapters(tmp_path)
    with pytest.raises(SystemExit, match="must be 1 to 5"):
        program("join").main([*folders, "--rank", rank, "--output", str(tmp_path / "cut")])
    assert not (tmp_path / "cut").exists()


@pytest.mark.parametrize(
    ("name", "base", "stages"),
    [
        ("recipe", "nano-base", {"easy": 75, "hard": 400}),
        ("distil", "hard", {"distil": 130}),
        ("longer", "distilled", {"longer": 240}),
        ("short", "longer", {"short": 72}),
        ("onward", "nano-base", {"short": 120}),
        ("fewer", "nano24", {"fewer": 60}),
        ("long", "nano-base", {"long": 150}),
    ],
)
def test_each_recipe_is_one_that_the_trainer_reads(name: str, base: str, stages: dict[str, int]) -> None:
    recipe = read_recipe(FOLDER / f"{name}.toml")
    assert (recipe.base.name, {stage.name: stage.steps for stage in recipe.stage}) == (base, stages)
    asked = (FOLDER / "README.md").read_text()
    assert f"gigarank train run {name}.toml" in asked
    assert base == "nano-base" or re.search(rf"--output {base}\s", asked)
    start = recipe.lora.start if recipe.lora else None
    assert start is None or f"--output {start.name}\n" in asked


def checkpoint(folder: Path, layers: int) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"num_hidden_layers": layers, "hidden_size": 3}))
    (folder / "tokenizer.json").write_text("{}")
    tensors = {f"model.layers.{place}.mlp.up_proj.weight": torch.full((2,), float(place)) for place in range(layers)}
    save_file(tensors | {"model.norm.weight": torch.ones(2)}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(("drop", "kept"), [("1-2", [0, 3]), ("0-0", [1, 2, 3]), ("3-3", [0, 1, 2])])
def test_without_some_layers_those_behind_move_up(tmp_path: Path, drop: str, kept: list[int]) -> None:
    given = checkpoint(tmp_path / "whole", 4)
    program("drop_layers").main([str(given), "--drop", drop, "--output", str(tmp_path / "cut")])
    tensors = load_file(tmp_path / "cut" / "model.safetensors")
    found = [float(tensors.pop(f"model.layers.{place}.mlp.up_proj.weight")[0]) for place in range(len(kept))]
    assert (found, list(tensors)) == ([float(place) for place in kept], ["model.norm.weight"])
    config = json.loads((tmp_path / "cut" / "config.json").read_text())
    assert config == {"num_hidden_layers": len(kept), "hidden_size": 3}
    assert (tmp_path / "cut" / "tokenizer.json").read_text() == "{}"


@pytest.mark.parametrize("drop", ["0-3", "3-4", "4-4", "2-1", "x"])
def test_layers_that_are_not_there_or_all_of_them_are_refused(tmp_path: Path, drop: str) -> None:
    given = checkpoint(tmp_path / "whole", 4)
    with pytest.raises(SystemExit):
        program("drop_layers").main([str(given), "--drop", drop, "--output", str(tmp_path / "cut")])
    assert not (tmp_path / "cut").exists()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks it
def test_an_adapter_without_some_layers_is_one_of_its_base_without_them(tmp_path: Path) -> None:
    base = adapters.write_folder(tmp_path / "base", "llama")
    adapter = adapters.write_adapter(adapters.peft_model("llama"), tmp_path / "adapter")
    cut = program("drop_layers").main
    for whole in (base, adapter):
        cut([str(whole), "--drop", "1-1", "--output", str(whole.with_name(f"{whole.name}-cut"))])
    changed = json.loads((tmp_path / "adapter-cut" / "adapter_config.json").read_text())
    assert changed["layer_replication"] == [[0, 1], [2, 3]]
    of_whole = source_of(with_adapter(locate(base), tmp_path / "adapter-cut"))
    adapters.change_config(tmp_path / "adapter-cut", layer_replication=None)
    of_cut = source_of(with_adapter(locate(tmp_path / "base-cut"), tmp_path / "adapter-cut"))
    assert of_whole.shapes() == of_cut.shapes()
    assert all(torch.equal(of_whole.get(name), of_cut.get(name)) for name in of_cut.shapes())
    adapters.change_config(tmp_path / "adapter-cut", layer_replication=[[0, 1], [2, 3]])
    with pytest.raises(SystemExit, match="is of some of its base's layers already"):
        cut([str(tmp_path / "adapter-cut"), "--drop", "1-1", "--output", str(tmp_path / "again")])


def adapter_folder(folder: Path) -> tuple[AdapterConfig, dict[str, torch.Tensor]]:
    config = parse_adapter(json.loads((folder / "adapter_config.json").read_text()))
    return config, load_file(folder / "adapter_model.safetensors")


def rows(count: int, task: str, lang: str = "en") -> list[dict[str, object]]:
    return [
        {"query": f"{task} {n}", "task": task, "lang": lang, "documents": [f"{lang} {n}", f"hard {n}"], "labels": [1, 0]}
        for n in range(count)
    ]


def test_easy_negatives_are_other_rows_positives_of_the_same_language() -> None:
    given = rows(12, "heading") + rows(12, "heading", "de")
    for before, after in zip(given, program("prepare").eased(given, random.Random(0)), strict=True):
        positive = after["documents"][after["labels"].index(1)]
        negative = [text for text, label in zip(after["documents"], after["labels"], strict=True) if not label]
        assert (after["query"], positive) == (before["query"], before["documents"][0])  # type: ignore[index]
        assert len(negative) == 6 and positive not in negative
        assert {text.split()[0] for text in negative} == {before["lang"]}


def test_a_split_leaves_rows_out_for_sets_that_an_evaluation_reads(tmp_path: Path) -> None:
    program("prepare").split(rows(40, "heading") + rows(20, "language"), tmp_path)
    kept = [json.loads(line) for line in (tmp_path / "hard" / "heading.jsonl").read_text().splitlines()]
    dev = read_beir(tmp_path / "dev" / "heading")
    asked = {query.text for query in dev.queries.values()}
    assert len(kept) == 36 and len(asked) == 4
    assert not asked & {row["query"] for row in kept}
    assert not (tmp_path / "easy" / "language.jsonl").exists()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('Question: "What do plants make from sunlight?" More.', "What do plants make from sunlight?"),
        ("1. How do plants use sunlight? Yes.", "How do plants use sunlight?"),
        ("Plants use sunlight.", None),
        ("What does the passage say about plants?", None),
        ("Who won the football match?", None),
    ],
)
def test_only_questions_about_the_text_are_usable(written: str, expected: str | None) -> None:
    assert program("questions").usable(written, "Plants turn sunlight into sugar.") == expected


def manual(pages: int, parts: int) -> list[dict[str, object]]:
    """Pages about one thing each, of passages of fifty words in five sentences."""
    return [
        {
            "page": f"page{page}",
            "place": part,
            "heading": f"Heading {page}",
            "lang": "en",
            "text": " ".join(
                f"Item{page} has " + " ".join(f"value{page}x{part}x{n}x{word}" for word in range(8)) + "." for n in range(5)
            ),
        }
        for page in range(pages)
        for part in range(parts)
    ]


def test_a_long_passage_has_rivals_of_its_own_page_and_says_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    long_rows = program("long_rows")
    found = list(long_rows.sections(manual(8, 12), "en", 30, random.Random(0)))
    assert len(found) >= 16
    for one in found:
        positive, (page,) = positive_of(one), set(re.findall(r"Item(\d)", positive_of(one)))
        others = [text for text in one["documents"] if text != positive]
        near = [text for text in others if f"Item{page} " in text]
        assert len(positive.split()) >= 35  # a page's rest of half the shortest span, without a sentence
        if one["query"].startswith("Heading"):  # which the page's other passages have too
            assert not near
        elif "Item" in one["query"]:
            assert near
        assert not [word for word in re.findall(r"value\w+", one["query"]) for text in others if f"{word} " in text]


def positive_of(one: dict[str, Any]) -> str:
    return str(one["documents"][one["labels"].index(1)])


def test_another_edition_of_the_same_passage_is_no_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    alike = program("long_rows").alike
    assert alike("a b c d e", "a b c d x y z") and not alike("a b c d e", "a b x y z")
