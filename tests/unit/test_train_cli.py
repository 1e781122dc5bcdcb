"""`gigarank train`: from files to files, every refusal one line, nothing overwritten."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import adapters
import eval_results
import tiny
import training
from chat_server import ChatServer, chat_server
from gigarank import catalogue
from gigarank.cli import app, failures
from gigarank.cli.train_export import figures
from gigarank.cli.train_run import dev_figure
from gigarank.cli.train_teach import TeachCommand
from gigarank.engine.embedder import Embedder
from gigarank.engine.reranker import Reranker
from gigarank.training.recipe import Dev
from gigarank.types import Pair


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapters.write_folder(tmp_path_factory.mktemp("cli") / "base")


def write(path: str, *rows: Any) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def rows(path: str = "out.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def train(capfd: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What the command says with --json."""
    code = failures.run(app, ["train", *arguments, "--json"])
    shown = capfd.readouterr()
    assert code == 0, shown.err
    done: dict[str, Any] = json.loads(shown.out)
    return done


def refused(capfd: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    assert failures.run(app, ["train", *arguments]) == code
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("gigarank: error: "), shown.err
    assert shown.err.count("\n") == 1
    return shown.err


def test_import_writes_rows_of_ours_from_several_files(capfd: pytest.CaptureFixture[str]) -> None:
    one = write("one.jsonl", {"query": "q", "pos": ["é"], "neg": ["b"], "lang": "de"})
    two = write("two.jsonl", {"anchor": "r", "positive": "c"})
    done = train(capfd, "prepare", "import", one, two, "-o", "out.jsonl", "--task", "retrieval", "--instruction", "find")
    assert done == {"rows": 2, "documents": 3, "positives": 2, "skipped": 0, "first_skipped": None}
    common = {"instruction": "find", "task": "retrieval"}
    assert rows() == [
        {"query": "q", "documents": ["é", "b"], "labels": [1.0, 0.0], **common, "lang": "de"},
        {"query": "r", "documents": ["c"], "labels": [1.0], **common},
    ]


def test_what_was_written_is_read_back(capfd: pytest.CaptureFixture[str]) -> None:
    given = write("in.jsonl", {"query": "q", "pos": ["a"], "neg": ["b"], "neg_scores": [0.25], "prompt": "p", "type": "t"})
    train(capfd, "prepare", "import", given, "-o", "out.jsonl")
    train(capfd, "prepare", "import", "out.jsonl", "-o", "again.jsonl")
    assert rows("again.jsonl") == rows()
    assert rows()[0]["scores"] == [None, 0.25]


def test_without_json_a_line_says_what_was_done(capfd: pytest.CaptureFixture[str]) -> None:
    given = write("in.jsonl", {"query": "q", "pos": ["a"]}, {"query": "r", "pos": []})
    assert failures.run(app, ["train", "prepare", "import", given, "-o", "out.jsonl", "--skip"]) == 0
    assert capfd.readouterr().err == "rows 1, documents 1, positives 1, skipped 1, first skipped in.jsonl:2\n"


def test_a_bad_row_is_one_line_and_leaves_no_file(capfd: pytest.CaptureFixture[str], here: Path) -> None:
    given = write("in.jsonl", {"query": "q", "pos": ["a"]}, {"query": "r", "pos": []})
    message = refused(capfd, "prepare", "import", given, "-o", "out.jsonl")
    assert "in.jsonl:2: a row without a positive document" in message
    assert [path.name for path in here.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize(
    "command",
    [
        ["prepare", "import", "in.jsonl"],
        ["prepare", "mine", "in.jsonl"],
        ["prepare", "overlap", "in.jsonl", "--against", "in.jsonl"],
        ["prepare", "queries", "in.jsonl", "--url", "http://127.0.0.1:9/v1", "--chat-model", "x"],
        ["export", "nano"],
        ["merge", "nano", "--adapter", "x"],
    ],
)
def test_nothing_is_overwritten(capfd: pytest.CaptureFixture[str], command: list[str]) -> None:
    write("in.jsonl", {"query": "q", "pos": ["a"]})
    Path("thesis").write_text("years of work")
    assert "thesis is there already; nothing is overwritten" in refused(capfd, *command, "--output", "thesis")
    assert Path("thesis").read_text() == "years of work"


def test_overlap_drops_what_the_evaluation_holds_and_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    write("set/queries.jsonl", {"_id": "shared id", "text": "What is gravity?"})
    write("set/corpus.jsonl", {"_id": "1", "title": "Mars", "text": "the red planet"})
    pairs = [("what is gravity", "a force"), ("why", "the red planet"), ("shared id", "kept"), ("who", "seen elsewhere")]
    given = write("in.jsonl", *({"query": query, "pos": [text]} for query, text in pairs))
    other = write("other.jsonl", {"anything": ["seen elsewhere"]})
    done = train(capfd, "prepare", "overlap", given, "--against", "set", "--against", other, "-o", "out.jsonl")
    assert [row["query"] for row in rows()] == ["shared id"]
    assert done["dropped_rows"] == {"query": 1, "no positive left": 2}
    assert done["by_set"] == {"set": 2, "other.jsonl": 1}
    assert done["examples"][0] == {"set": "set", "what": "query", "text": "what is gravity"}


def test_overlap_by_fewer_words(capfd: pytest.CaptureFixture[str]) -> None:
    given = write("in.jsonl", {"query": "tell me what is gravity now", "pos": ["a"]}, {"query": "b", "pos": ["c"]})
    against = write("set.jsonl", {"text": "so what is gravity"})
    assert train(capfd, "prepare", "overlap", given, "--against", against, "-o", "out.jsonl")["kept"] == 2
    assert train(capfd, "prepare", "overlap", given, "--against", against, "-o", "two.jsonl", "--words", "3")["kept"] == 1


def test_mining_searches_the_rows_own_documents_or_a_corpus(capfd: pytest.CaptureFixture[str]) -> None:
    texts = ["cats sleep all day", "cats eat fish", "stars shine"]
    given = write(
        "in.jsonl", *({"query": query, "pos": [text]} for query, text in zip(["cats?", "fish", "sky"], texts, strict=True))
    )
    done = train(capfd, "prepare", "mine", given, "-o", "out.jsonl", "--negatives", "1")
    assert rows()[0]["documents"] == texts[:2]
    assert (done["rows"], done["mined"], done["corpus"]) == (3, 1, 3)
    corpus = write("corpus.jsonl", {"title": "On cats", "text": "they purr"})
    train(capfd, "prepare", "mine", given, "-o", "two.jsonl", "--corpus", corpus)
    assert rows("two.jsonl")[0]["documents"] == [texts[0], "On cats\nthey purr"]


def test_mining_with_an_embedder(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Real vectors, of random weights: everything is found, whatever its worth."""
    folder = adapters.write_folder(tmp_path / "embedder", bare=True)
    given = write("in.jsonl", *({"query": f"q {text}", "pos": [text]} for text in ("one", "two", "three")))
    done = train(capfd, "prepare", "mine", given, "-o", "out.jsonl", "--no-bm25", "--embedder", str(folder), "--margin", "2")
    assert [sorted(row["documents"]) for row in rows()] == [["one", "three", "two"]] * 3
    assert (done["mined"], done["false_negatives"]) == (6, 0)
    done = train(capfd, "prepare", "mine", given, "-o", "two.jsonl", "--embedder", str(folder), "--margin", "-2")
    assert (done["mined"], done["false_negatives"]) == (0, 6)


def test_mining_with_nothing_or_with_a_reranker_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    given = write("in.jsonl", {"query": "q", "pos": ["a"]})
    assert "nothing to search with" in refused(capfd, "prepare", "mine", given, "-o", "x", "--no-bm25")
    assert "nano is no embedder" in refused(capfd, "prepare", "mine", given, "-o", "x", "--embedder", "nano")


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as running:
        yield running


def test_queries_are_made_and_a_second_run_asks_nothing(
    capfd: pytest.CaptureFixture[str], server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIGARANK_SYNTHESIS_KEY", "secret")
    given = write("in.jsonl", {"text": "leaves make sugar"}, {"title": "Roots", "text": "drink water"})
    command = ["prepare", "queries", given, "--url", server.url, "--chat-model", "m", "--language", "Suomi"]
    done = train(capfd, *command, "-o", "out.jsonl")
    assert (done["asked"], done["kept"], done["median_cosine"]) == (2, 2, None)
    assert rows()[0] == {
        "query": "what about leaves make sugar",
        "documents": ["leaves make sugar"],
        "labels": [1.0],
        "task": "synthetic",
        "lang": "Suomi",
    }
    assert set(server.keys) == {"Bearer secret"}
    Path("out.jsonl").unlink()
    assert train(capfd, *command, "-o", "out.jsonl")["known"] == 2
    assert len(server.asked) == 4


def test_an_endpoint_that_refuses_is_one_line(capfd: pytest.CaptureFixture[str], server: ChatServer) -> None:
    server.failures = [(401, "who are you", {})] * 8
    given = write("in.jsonl", {"text": "leaves"})
    message = refused(capfd, "prepare", "queries", given, "--url", server.url, "--chat-model", "m", "-o", "x", code=3)
    assert "status 401: who are you; is the key in the environment?" in message


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks it
def test_an_embedder_is_trained_and_exported_whole(capfd: pytest.CaptureFixture[str], here: Path) -> None:
    model = training.small_model(here / "small")
    kind = {"[base]": '[base]\nkind = "embedder"', "queries = 4": "queries = 4\nat_once = 4"}
    recipe = training.write_recipe(here / "recipe", model, 2, **kind)
    done = train(capfd, "run", str(recipe), "--output", "run", "--device", "cpu")
    train(capfd, "export", str(model), "--adapter", done["folder"], "--kind", "embedder", "--dtype", "fp32", "-o", "mine")
    words = training.WORDS
    plain, merged = Embedder.load(model, dtype="fp32"), Embedder.load(model, adapter=done["folder"], dtype="fp32")
    trained = Embedder.load("mine", dtype="fp32").embed(documents=words)
    np.testing.assert_allclose(trained, merged.embed(documents=words), rtol=0, atol=1e-6)
    assert not np.allclose(trained, plain.embed(documents=words), atol=1e-3)
    assert {path.name for path in Path("mine").iterdir()} >= {"modules.json", "1_Pooling", "2_Normalize", "README.md"}
    assert "SentenceTransformer(" in Path("mine/README.md").read_text()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks it
def test_an_adapter_is_merged_and_exported_with_its_card(capfd: pytest.CaptureFixture[str], base: Path) -> None:
    adapters.write_adapter(adapters.peft_model(), Path("adapter"), str(base))
    Path("recipe.toml").write_text("[lora]\nrank = 4\n")
    train(capfd, "merge", str(base), "--adapter", "adapter", "-o", "merged")
    command = [
        "export",
        "adapter",
        "-o",
        "mine",
        "--recipe",
        "recipe.toml",
        "--data",
        "my | tickets=MIT:1200",
        "--stage",
        "sft",
    ]
    assert train(capfd, *command) == {"folder": "mine", "model": "adapter"}
    one, two = (load_file(Path(name) / "model.safetensors") for name in ("merged", "mine"))
    assert all((one[name] == two[name]).all() for name in one)
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not (one[name] == tiny.tensors_of("qwen3").tensors[name]).all()
    assert Reranker.load("mine").name == "mine"
    card = Path("mine/README.md").read_text()
    assert card.startswith(f'---\nlicense: "apache-2.0"\nbase_model: "{base}"\n')
    assert '"architectures": ["Qwen3ForSequenceClassification"]' in card
    assert "| my \\| tickets | 1,200 | MIT |" in card
    assert "```toml\n[lora]\nrank = 4\n```" in card
    assert "by sft. Licence" in card
    assert "Not measured." in card


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks it
@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_an_adapter_is_stored_in_half_the_bytes_and_scores_as_before(
    capfd: pytest.CaptureFixture[str], base: Path, dtype: str
) -> None:
    adapters.write_adapter(adapters.peft_model(use_dora=True), Path("adapter"), str(base))
    train(capfd, "export", "adapter", "--only-adapter", "--dtype", dtype, "--data", "mine=MIT", "-o", "small")
    sizes = [Path(name, "adapter_model.safetensors").stat().st_size for name in ("adapter", "small")]
    assert sizes[1] < 0.6 * sizes[0]
    stored = load_file("small/adapter_model.safetensors")
    assert {str(tensor.dtype) for tensor in stored.values()} == {"torch.bfloat16" if dtype == "bf16" else "torch.float16"}
    plain, whole, small = (Reranker.load(name).score([Pair("a", "b")])[0].logit for name in (base, "adapter", "small"))
    assert small == pytest.approx(whole, abs=0.02 * abs(whole - plain))
    card = Path("small/README.md").read_text()
    assert "library_name: peft" in card and "| mine | - | MIT |" in card and "CrossEncoder" not in card


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks it
def test_an_adapter_that_is_none_or_does_not_fit_is_not_written(capfd: pytest.CaptureFixture[str], base: Path) -> None:
    assert "adapter: base has none" in refused(capfd, "export", str(base), "--only-adapter", "-o", "small")
    adapters.write_adapter(adapters.peft_model(), Path("adapter"), str(base))
    path = Path("adapter/adapter_model.safetensors")
    save_file({name: tensor * 1e6 for name, tensor in load_file(path).items()}, path)
    said = refused(capfd, "export", "adapter", "--only-adapter", "--dtype", "fp16", "-o", "small")
    assert "dtype: fp16 cannot hold base_model" in said and "bf16 has fp32's range" in said
    assert not Path("small").exists()


def test_checkpoints_are_mixed(capfd: pytest.CaptureFixture[str], base: Path) -> None:
    done = train(capfd, "merge", str(base), str(base), "--weight", "1", "--weight", "3", "--dtype", "bf16", "-o", "mixed")
    assert done == {"folder": "mixed", "merged": ["base", "base"]}
    tensors, wanted = load_file("mixed/model.safetensors"), tiny.tensors_of("qwen3").tensors
    assert all((tensors[name] == wanted[name].bfloat16()).all() for name in wanted)


def test_the_cards_figures_are_those_of_the_results(here: Path) -> None:
    """Before only where it was measured on the very same set."""
    one, two = (eval_results.write_set(here / name) for name in ("one", "two"))
    for folder, logits in (("before", eval_results.wrong()), ("after", eval_results.right())):
        eval_results.write_measured(here / folder, one, logits)
    eval_results.write_measured(here / "after", two, eval_results.right())
    (here / "two" / "queries.jsonl").write_text((here / "two" / "queries.jsonl").read_text().replace("question", "other"))
    eval_results.write_measured(here / "before", two, eval_results.wrong())
    found = {figure.set: figure for figure in figures(here / "after", here / "before")}
    assert (found["one"].value, found["one"].queries, found["one"].metric) == (1.0, 6, "ndcg_cut_10")
    assert found["one"].base is not None
    assert found["one"].base < found["one"].value
    assert found["two"].base is None
    assert [figure.base for figure in figures(here / "after", None)] == [None, None]
    assert figures(None, None) == []


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["merge", "BASE"], "one model without --adapter leaves nothing to merge", 2),
        (["merge", "BASE", "BASE", "--adapter", "x"], "adapter: for one model", 2),
        (["merge", "BASE", "BASE", "--weight", "1"], "weights: 2 numbers above 0 are needed", 2),
        (["merge", "BASE", "--adapter", "nowhere"], "nowhere: no adapter, the folder holds no adapter_config.json", 3),
        (["export", "BASE", "--data", "no licence"], "data: 'no licence' must be NAME=LICENCE", 2),
        (["export", "nanoo"], "nearest: nano", 2),
    ],
)
def test_bad_wishes_are_one_line(
    capfd: pytest.CaptureFixture[str], base: Path, arguments: list[str], said: str, code: int
) -> None:
    assert said in refused(capfd, *(str(base) if word == "BASE" else word for word in arguments), "-o", "x", code=code)
    assert not Path("x").exists()


def test_every_command_has_help_with_an_example(capfd: pytest.CaptureFixture[str]) -> None:
    for command in (["prepare", name] for name in ("import", "mine", "overlap", "queries")):
        assert failures.run(app, ["train", *command, "--help"]) == 0
        assert f"gigarank train {' '.join(command)}" in " ".join(capfd.readouterr().out.split())
    for name in ("merge", "export"):
        assert failures.run(app, ["train", name, "--help"]) == 0
        assert f"gigarank train {name}" in capfd.readouterr().out


def test_teach_adds_a_blend_of_scores_and_goes_on_from_its_journal(capfd: pytest.CaptureFixture[str], base: Path) -> None:
    two = {"query": "a cat", "documents": ["the cat sat", "stars shine", "a cat"], "labels": [1, 0, 0]}
    given = write("rows.jsonl", two, {"query": "stars", "documents": ["stars shine"], "labels": [1]})
    asked = ("prepare", "teach", given, "--teacher", "query-likelihood", "--teacher", "bm25", "--model", str(base))
    done = train(capfd, *asked, "--weight", "2", "--weight", "1", "--output", "out.jsonl")
    assert done == {"rows": 2, "asked": 8, "known": 0}
    first, second = rows()
    assert first["labels"] == [1, 0, 0] and len(first["scores"]) == 3 and sum(first["scores"]) == pytest.approx(0)
    assert second["scores"] == [0.0]
    done = train(capfd, *asked, "--output", "again.jsonl", "--journal", "out.jsonl.journal")
    assert done == {"rows": 2, "asked": 0, "known": 8}
    assert rows("again.jsonl")[0]["scores"] != first["scores"]


def test_a_reranker_teaches_its_logits_by_each_rows_instruction(capfd: pytest.CaptureFixture[str], base: Path) -> None:
    asked = {"query": "red fish", "instruction": "Find rivers", "documents": ["fish", "stone river"], "labels": [1, 0]}
    plain = {"query": "red fish", "documents": ["fish"], "labels": [1]}
    given = write("rows.jsonl", asked, plain)
    train(capfd, "prepare", "teach", given, "--teacher", str(base), "--raw", "--output", "out.jsonl")
    model = Reranker.load(base)
    pairs = [Pair("red fish", "fish", "Find rivers"), Pair("red fish", "stone river", "Find rivers"), Pair("red fish", "fish")]
    first, second, third = (model.score([pair])[0].logit for pair in pairs)
    assert [row["scores"] for row in rows("out.jsonl")] == [
        [pytest.approx(first), pytest.approx(second)],
        [pytest.approx(third)],
    ]
    assert first != pytest.approx(third, abs=1e-3), "the instruction matters"
    done = train(
        capfd,
        "prepare",
        "teach",
        given,
        "--teacher",
        str(base),
        "--dtype",
        "bf16",
        "--raw",
        "--output",
        "half.jsonl",
        "--journal",
        "out.jsonl.journal",
    )
    assert done["known"] == 0 and rows("half.jsonl")[1]["scores"] != rows("out.jsonl")[1]["scores"]


def test_the_likelihood_is_that_of_the_untrained_base() -> None:
    default = next(field.default for field in dataclasses.fields(TeachCommand) if field.name == "model")
    model = catalogue.find(str(default))
    assert model is not None and (model.name, model.adapter) == ("nano-base", None)


def write_bert(folder: Path) -> Path:
    """A tiny model of sentence-transformers, of an architecture that the engine does not know, with prompts of its own."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - seconds long, as the next
    from sentence_transformers.models import Pooling, Transformer  # noqa: PLC0415
    from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: PLC0415
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast  # noqa: PLC0415

    words = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "ask", "tell", *training.WORDS])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder / "bert")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(folder / "bert")
    modules = [Transformer(str(folder / "bert")), Pooling(16)]
    SentenceTransformer(modules=modules, prompts={"query": "ask ", "document": "tell "}).save(str(folder / "model"))
    return folder / "model"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # its old names for modules
def test_a_model_that_only_sentence_transformers_loads_teaches_its_cosines(
    capfd: pytest.CaptureFixture[str], here: Path
) -> None:
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - seconds long

    folder = write_bert(here)
    given = write("rows.jsonl", {"query": "red fish", "documents": ["fish", "stone river"], "labels": [1, 0]})
    train(capfd, "prepare", "teach", given, "--teacher", str(folder), "--raw", "--output", "out.jsonl")
    theirs = SentenceTransformer(str(folder))
    query, documents = theirs.encode_query(["red fish"]), theirs.encode_document(["fish", "stone river"])
    wanted = theirs.similarity(query, documents)[0].tolist()
    assert rows("out.jsonl")[0]["scores"] == pytest.approx(wanted, abs=1e-5)
    assert wanted != pytest.approx(theirs.similarity(theirs.encode(["red fish"]), documents)[0].tolist(), abs=1e-3), "prompts"


def test_teach_refuses_weights_and_names_before_it_loads_a_model(capfd: pytest.CaptureFixture[str]) -> None:
    given = write("rows.jsonl", {"query": "q", "documents": ["a"], "labels": [1]})
    asked = ("prepare", "teach", given, "--output", "out.jsonl", "--teacher")
    assert "weight: one a teacher is needed, 1 in all, not 2" in refused(
        capfd, *asked, "bm25", "--weight", "1", "--weight", "2"
    )
    assert "bm26" in refused(capfd, *asked, "bm26")
    assert "weight: must be above 0, not -1.0" in refused(capfd, *asked, "bm25", "--weight", "-1")
    assert not Path("out.jsonl").exists() and not Path("out.jsonl.journal").exists()


def test_a_dev_set_without_candidates_has_those_that_bm25_finds(here: Path) -> None:
    folder = training.write_dev_set(here / "set", candidates=False)
    figure = dev_figure(Dev(sets=(folder,), top_k=1), "cpu")
    assert figure(training.small_model(here / "small")) == 1.0  # its only candidate is the one with the query's word


def test_check_sees_what_a_run_would_refuse_of_the_data(capfd: pytest.CaptureFixture[str], here: Path) -> None:
    model = training.small_model(here / "small")
    training.write_recipe(here, model)
    assert train(capfd, "run", "recipe.toml", "--output", "out", "--check")["stages"][0]["rows"] == 24
    with Path("rows.jsonl").open("a", encoding="utf-8") as file:
        file.write(training.row("red " * 9_000, ["red", "sea"], [1, 0]))
    assert "rows.jsonl:25: query: instruction, query and" in refused(capfd, "run", "recipe.toml", "-o", "out", "--check")
    training.write_recipe(here, Path("some/model-that-is-not-here"))
    write("rows.jsonl", {"query": "q", "documents": ["a"], "labels": [1]})
    assert "rows.jsonl:1: labels: infonce needs" in refused(capfd, "run", "recipe.toml", "-o", "out", "--check")
    assert not Path("out").exists()


def test_a_dev_metric_that_is_unknown_is_refused_before_training(capfd: pytest.CaptureFixture[str], base: Path) -> None:
    write("rows.jsonl", {"query": "q", "documents": ["a", "b"], "labels": [1, 0]})
    stage = '[[stage]]\nname = "s"\nlosses = { bce = 1.0 }\ndata = [{ path = "rows.jsonl" }]\n'
    dev = '[dev]\nsets = ["set"]\nmetric = "nonsense"\n'
    Path("recipe.toml").write_text(f'[base]\nname = "{base}"\n{stage}{dev}')
    assert "nonsense" in refused(capfd, "run", "recipe.toml", "--output", "out")
    assert not Path("out").exists()
