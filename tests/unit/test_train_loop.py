"""A recipe run in this process: what is learned, what is left behind, and what ends a run early."""

import json
import math
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gigarank.engine.embedder import Embedder
from gigarank.engine.reranker import Reranker
from gigarank.errors import BadFile, CheckpointError, DeviceUnavailable, InvalidInput, NonFiniteScore
from gigarank.training import loop
from gigarank.training import scorer as scorer_module
from gigarank.training import trainer as trainer_module
from gigarank.training.loop import RunOptions, RunResult, run
from gigarank.training.losses import combined
from gigarank.training.recipe import read_recipe
from training import WORDS, row, small_model, write_plain_rows, write_recipe

Trains = Callable[..., RunResult]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture
def train(tmp_path: Path, model: Path) -> Trains:
    """Runs a recipe, its text changed by `changes`, in `tmp_path`/out."""

    def trained(
        steps: int = 2, evaluate: Callable[[Path], float] | None = None, changes: dict[str, str] | None = None, **more: Any
    ) -> RunResult:
        recipe = read_recipe(write_recipe(tmp_path, model, steps, **(changes or {})))
        return run(recipe, RunOptions(output=tmp_path / "out", evaluate=evaluate, **({"device": "cpu"} | more)))

    return trained


def right_first(reranker: Reranker) -> int:
    """For how many words the document with the learned word stands first of four."""
    found = 0
    for place, word in enumerate(WORDS[:-1]):
        others = [f"{WORDS[(place + shift) % 9]} {word}" for shift in (1, 3, 5)]
        found += reranker.rank(word, [*others, f"fire {word}"])[0].index == 3
    return found


def test_what_is_learned_is_what_the_engine_loads(tmp_path: Path, model: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path, model, 40, **{"queries = 4": "queries = 8"}))
    write_plain_rows(tmp_path / "rows.jsonl")
    seen: list[tuple[int, int]] = []
    options = RunOptions(output=tmp_path / "out", device="cpu", progress=lambda now, total: seen.append((now, total)))
    done = run(recipe, options)
    (stage,) = done.stages
    assert (stage.name, stage.steps, stage.pairs, stage.best_step) == ("first", 40, 40 * 8 * 4, None)
    assert seen == [(number, 40) for number in range(1, 41)]
    assert stage.loss < 0.1 < math.log(4)
    before, after = Reranker.load(model, device="cpu"), Reranker.load(done.folder, device="cpu")
    assert right_first(after) == 9 > right_first(before)
    assert after.fingerprint != before.fingerprint


def test_of_the_same_pair_another_instruction_gives_another_answer(tmp_path: Path, model: Path) -> None:
    """Contrasts, as instruction tuning has them: what is asked of a document is in the instruction alone."""
    recipe = read_recipe(write_recipe(tmp_path, model, 60, **{"queries = 4": "queries = 8"}))
    documents = [["fire", "sea"], ["sea", "fire"]]
    rows = [
        row("red", pair, [float(text == asked) for text in pair], instruction=asked) for pair in documents for asked in pair
    ]
    (tmp_path / "rows.jsonl").write_text("".join(rows * 8), encoding="utf-8")
    done = run(recipe, RunOptions(output=tmp_path / "out", device="cpu"))
    reranker = Reranker.load(done.folder, device="cpu")
    for pair in documents:
        for asked in pair:
            assert pair[reranker.rank("red", pair, instruction=asked)[0].index] == asked


def test_in_bf16_the_products_are_narrow_and_what_is_learned_is_not(train: Trains, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs: list[tuple[torch.dtype, torch.dtype]] = []

    def watched(causal: torch.nn.Module) -> None:
        scorer_leaves(causal)
        for name, module in causal.named_modules():
            if name.endswith("lora_A.default"):
                module.register_forward_hook(lambda _module, given, made: inputs.append((given[0].dtype, made.dtype)))

    scorer_leaves = scorer_module._leave_to_autocast
    monkeypatch.setattr(scorer_module, "_leave_to_autocast", watched)
    device = "cpu" if torch.cuda.is_available() else "auto"  # which is the CPU, too, and knows bf16
    done = train(2, changes={"[lora]": 'dtype = "bf16"\n[lora]'}, device=device)
    assert set(inputs) == {(torch.bfloat16, torch.bfloat16)}
    learned = load_file(done.folder / "adapter_model.safetensors")
    assert {value.dtype for value in learned.values()} == {torch.float32}
    assert all(value.abs().max() > 0 for name, value in learned.items() if "lora_B" in name)


def test_the_logs_are_tensorboards(train: Trains, tmp_path: Path) -> None:
    train(3)
    events = EventAccumulator(str(tmp_path / "out" / "tensorboard" / "1-first")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3]
    assert {"train/learning_rate", "train/grad_norm"} <= set(events.Tags()["scalars"])


def test_all_weights_are_trained_and_come_out_as_a_whole_model(train: Trains, model: Path) -> None:
    done = train(2, changes={"[lora]\nrank = 4\nalpha = 8\n": "", "0.01": "0.001"})
    assert done.folder.name == "model"
    for name in ("config.json", "tokenizer.json", "chat_template.jinja", "1_LogitScore/config.json"):
        assert (done.folder / name).is_file()
    before, after = load_file(model / "model.safetensors"), load_file(done.folder / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[name], after[name]) for name in before if "_proj" in name)
    assert Reranker.load(done.folder, device="cpu").rank("red", ["red", "sea"])


def test_lora_is_of_the_chosen_layers_and_kind(train: Trains) -> None:
    done = train(1, changes={"alpha = 8": "alpha = 8\nlayers = -1\ntargets = ['q_proj']\ndora = true"})
    names = set(load_file(done.folder / "adapter_model.safetensors"))
    own = "base_model.model.model.layers.1.self_attn.q_proj."
    assert names == {own + part for part in ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector")}
    assert Reranker.load(done.folder, device="cpu").rank("red", ["red"])


def test_fewer_layers_are_trained_saved_and_trained_on(train: Trains, tmp_path: Path) -> None:
    fewer = {"alpha = 8": "alpha = 8\nlayer_replication = [[1, 2]]"}
    first = train(2, changes=fewer).folder
    learned = load_file(first / "adapter_model.safetensors")
    assert {name.split("layers.")[1][0] for name in learned} == {"0"}
    assert any(value.any() for name, value in learned.items() if "lora_B" in name)
    loaded = Reranker.load(first, device="cpu")
    assert loaded.runner.decoder.config.num_hidden_layers == 1
    first.parent.rename(tmp_path / "first")
    start = {"[lora]": f"[lora]\nstart = {str(tmp_path / 'first' / first.name)!r}", "0.01": "1e-9"}
    still = load_file(train(1, changes=fewer | start).folder / "adapter_model.safetensors")
    for name, value in learned.items():
        torch.testing.assert_close(still[name], value, rtol=0, atol=1e-6)
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(InvalidInput, match=r"has layer_replication \(1,\), and the recipe's table None"):
        train(1, changes=start)


def test_an_adapter_is_trained_on_from_where_it_was(train: Trains, tmp_path: Path) -> None:
    first = train(3).folder
    first.parent.rename(tmp_path / "first")
    start = f"alpha = 8\nstart = {str(tmp_path / 'first' / first.name)!r}"
    changes = {"alpha = 8": start, "0.01": "1e-9"}
    still = train(1, changes=changes).folder
    there = load_file(tmp_path / "first" / first.name / "adapter_model.safetensors")
    for name, value in load_file(still / "adapter_model.safetensors").items():
        torch.testing.assert_close(value, there[name], rtol=0, atol=1e-6)
    assert any(value.any() for name, value in there.items() if "lora_B" in name)
    save_file({name: value + 1 for name, value in there.items()}, tmp_path / "first" / first.name / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"this run was begun with another lora\.start"):
        train(1, changes=changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank = 4": "rank = 2"}, "has rank 4, and the recipe's table 2"),
        ({"alpha = 8": "alpha = 4"}, "has alpha 8.0, and the recipe's table 4.0"),
        ({"alpha = 8": "alpha = 8\nrslora = true"}, "has rslora False, and the recipe's table True"),
        ({"alpha = 8": "alpha = 8\ndora = true"}, "has dora False, and the recipe's table True"),
        ({"alpha = 8": "alpha = 8\ntargets = ['q_proj']"}, "its weights are not this model's: "),
    ],
)
def test_an_adapter_of_another_kind_is_not_trained_on(
    train: Trains, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    first = train(1).folder
    first.parent.rename(tmp_path / "first")
    with pytest.raises((InvalidInput, CheckpointError), match=message):
        train(1, changes=changes | {"[lora]": f"[lora]\nstart = {str(tmp_path / 'first' / first.name)!r}"})


@pytest.mark.parametrize("more", ["gradient_checkpointing = true\n", ""])
def test_memory_saving_and_several_queries_at_once_change_nothing(train: Trains, tmp_path: Path, more: str) -> None:
    plain = load_file(train(2).folder / "adapter_model.safetensors")
    (tmp_path / "out").rename(tmp_path / "plain")
    changes = {"save_every": f"{more}save_every", "queries = 4": "queries = 4\nat_once = 2"}
    other = load_file(train(2, changes=changes).folder / "adapter_model.safetensors")
    for name, value in plain.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-5)


def test_an_embedder_learns_which_document_is_near(train: Trains, model: Path) -> None:
    changes = {
        "[base]": '[base]\nkind = "embedder"',
        "[lora]\nrank = 4\nalpha = 8\n": "",
        "queries = 4": "queries = 8\nat_once = 8\ntemperature = 0.05",
        "0.01": "0.003",
    }
    done = train(60, changes=changes)

    def nearest(folder: Path) -> int:
        embedder = Embedder.load(folder, device="cpu")
        near = embedder.embed(queries=WORDS) @ embedder.embed(documents=WORDS).T
        return int((near.argmax(1) == range(len(WORDS))).sum())

    assert nearest(model) <= 3
    assert nearest(done.folder) >= 8


def test_stages_go_on_from_one_another(train: Trains, tmp_path: Path) -> None:
    second = '[[stage]]\nname = "second"\nlosses = { sft = 1.0 }\nsteps = 2\nqueries = 2\ndata = [{ path = "rows.jsonl" }]\n'
    done = train(2, changes={"[[stage]]": second.replace("second", "zero") + "[[stage]]"})
    assert [stage.name for stage in done.stages] == ["zero", "first"]
    one, two = (load_file(tmp_path / "out" / name / "result" / "adapter_model.safetensors") for name in ("1-zero", "2-first"))
    assert any(not torch.equal(one[name], two[name]) for name in one)
    final = load_file(done.folder / "adapter_model.safetensors")
    assert all(torch.equal(final[name], two[name]) for name in two)


class Figures:
    """An evaluation that is told what to find, and keeps the weights that it was shown."""

    def __init__(self, *figures: float) -> None:
        self.figures, self.shown = list(figures), list[dict[str, torch.Tensor]]()

    def __call__(self, folder: Path) -> float:
        assert Reranker.load(folder, device="cpu").rank("red", ["red"])
        self.shown.append(load_file(folder / "adapter_model.safetensors"))
        return self.figures[len(self.shown) - 1]


DEV = {"[lora]": '[dev]\nsets = ["d"]\nevery = 1\npatience = 2\n[lora]'}


def test_a_stage_stops_when_the_dev_set_does_not_gain_and_goes_back_to_its_best(train: Trains, tmp_path: Path) -> None:
    figures = Figures(0.5, 0.7, 0.6, 0.65, 0.9)
    done = train(5, figures, changes=DEV)
    (stage,) = done.stages
    assert (stage.steps, stage.best_step, stage.best_figure) == (4, 2, 0.7)
    final = load_file(done.folder / "adapter_model.safetensors")
    assert all(torch.equal(final[name], figures.shown[1][name]) for name in final)
    lines = (tmp_path / "out" / "1-first" / "dev.jsonl").read_text().splitlines()
    assert [json.loads(line)["figure"] for line in lines] == [0.5, 0.7, 0.6, 0.65]
    events = EventAccumulator(str(tmp_path / "out" / "tensorboard" / "1-first")).Reload()
    assert [event.value for event in events.Scalars("train/dev")] == pytest.approx([0.5, 0.7, 0.6, 0.65])


class EndedError(Exception):
    """As if the process had ended here."""


def test_a_run_that_goes_on_knows_its_earlier_figures(train: Trains) -> None:
    def ended(now: int, total: int) -> None:
        if now == 3:
            raise EndedError

    with pytest.raises(EndedError):
        train(5, Figures(0.8, 0.7, 0.1), changes=DEV, progress=ended)
    done = train(5, Figures(0.75, 0.2, 0.3), changes=DEV)
    (stage,) = done.stages
    assert (stage.steps, stage.best_step, stage.best_figure) == (3, 1, 0.8), "two figures of before and one more"


def test_a_recipe_with_a_dev_set_needs_an_evaluation(train: Trains) -> None:
    with pytest.raises(InvalidInput, match="dev: needs an evaluation"):
        train(1, changes=DEV)


def test_a_loss_that_is_no_number_ends_the_run_and_touches_no_checkpoint(train: Trains, tmp_path: Path) -> None:
    def broken(now: int, total: int) -> None:
        if now == 3:
            for value in load.values():
                value.fill_(math.nan)

    load: dict[str, torch.Tensor] = {}

    def built(*arguments: Any, **options: Any) -> Any:
        scorer = scorer_module.build(*arguments, **options)
        load.update((name, value.data) for name, value in scorer.named_parameters() if "lora_B" in name)
        return scorer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "build", built)
        with pytest.raises(NonFiniteScore, match="stage first, step 4: the loss is nan; a lower learning_rate"):
            train(6, progress=broken)
    folder = tmp_path / "out" / "1-first"
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-2"]
    kept = load_file(folder / "checkpoint-2" / "adapter_model.safetensors")
    assert all(value.isfinite().all() for value in kept.values())
    assert train(6).stages[0].steps == 6


def test_a_gradient_that_is_no_number_ends_the_run_before_the_weights_are(train: Trains, tmp_path: Path) -> None:
    calls: list[int] = []

    def steep(losses: Any, judged: Any) -> torch.Tensor:
        """The same loss, with an infinite slope at the third step: that of a root at 0, times 0."""
        calls.append(len(calls))
        found = combined(losses, judged)
        return found + (0 * judged.answers).sqrt().sum() if len(calls) > 2 * 4 else found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "combined", steep)
        with pytest.raises(NonFiniteScore, match=r"stage first, step 3: the gradient of causal\..* is no number"):
            train(3)
    kept = load_file(tmp_path / "out" / "1-first" / "checkpoint-2" / "adapter_model.safetensors")
    assert all(value.isfinite().all() for value in kept.values())
    assert not (tmp_path / "out" / "adapter").exists()
    assert train(3).stages[0].steps == 3


def test_weights_that_are_no_numbers_are_not_written(train: Trains, tmp_path: Path) -> None:
    def built(*arguments: Any, **options: Any) -> Any:
        scorer = scorer_module.build(*arguments, **options)
        load.extend(value.data for name, value in scorer.named_parameters() if "lora_B" in name)
        return scorer

    def broken(now: int, total: int) -> None:
        if now == total:
            load[0].fill_(math.inf)

    load: list[torch.Tensor] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "build", built)
        with pytest.raises(NonFiniteScore, match=r"lora_B.*: these weights are no numbers any more"):
            train(3, progress=broken)
    out = tmp_path / "out"
    assert not (out / "adapter").exists() and not (out / "1-first" / "checkpoint-3" / "whole.json").exists()
    assert train(3).stages[0].steps == 3


def test_a_disk_that_is_full_at_the_candidate_is_named(train: Trains, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fills(_folder: Path) -> float:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_192, hard))
        return 0.5

    try:
        with pytest.raises(OSError, match="these weights could not be written") as raised:
            train(4, fills, changes=DEV)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert raised.value.filename == str(tmp_path / "out" / "1-first" / "candidate")
    assert not Path(raised.value.filename).exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_gpu_that_is_not_there_is_not_replaced_by_the_cpu(train: Trains, tmp_path: Path) -> None:
    with pytest.raises(DeviceUnavailable, match="cuda was asked for"):
        train(1, device="cuda")
    assert not (tmp_path / "out").exists()


def test_a_run_on_another_adapter_or_dev_set_of_the_same_name_is_refused(train: Trains, tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place / "d" / "qrels").mkdir(parents=True)
        (tmp_path / place / "d" / "queries.jsonl").write_text(place)
    asked = {"[lora]": f"[dev]\nsets = [{str(tmp_path / 'one' / 'd')!r}]\n[lora]"}
    train(1, Figures(0.5), changes=asked)
    (tmp_path / "one" / "d" / "queries.jsonl").write_text("two")
    with pytest.raises(CheckpointError, match=r"this run was begun with another dev\.sets"):
        train(1, Figures(0.5), changes=asked)


@pytest.mark.parametrize(("changes", "what"), [({"0.01": "0.02"}, "recipe"), ({"rank = 4": "rank = 2"}, "recipe")])
def test_another_recipes_folder_is_refused_and_left_alone(
    train: Trains, tmp_path: Path, changes: dict[str, str], what: str
) -> None:
    train(2)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match=rf"run.json: this run was begun with another {what}"):
        train(2, changes=changes)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_other_data_or_another_base_are_another_run(train: Trains, tmp_path: Path, model: Path) -> None:
    train(1)
    recipe = read_recipe(tmp_path / "recipe.toml")
    options = RunOptions(output=tmp_path / "out", device="cpu")
    with (tmp_path / "rows.jsonl").open("a", encoding="utf-8") as file:
        file.write(row("red", ["red", "sea"], [1, 0]))
    with pytest.raises(CheckpointError, match="begun with another data"):
        run(recipe, options)
    content = (model / "model.safetensors").read_bytes()
    try:
        (model / "model.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(CheckpointError, match="begun with another base"):
            run(recipe, options)
    finally:
        (model / "model.safetensors").write_bytes(content)


def test_a_folder_that_holds_something_is_refused(train: Trains, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    with pytest.raises(InvalidInput, match="is there already; nothing is overwritten"):
        train(1)
    (tmp_path / "out" / "letter.txt").unlink()
    train(1)
    with pytest.raises(InvalidInput, match="holds a run already"):
        train(1, resume=False)


def test_a_checkpoint_of_another_shape_is_named(train: Trains, tmp_path: Path) -> None:
    def ended(now: int, total: int) -> None:
        if now == 3:
            raise EndedError

    with pytest.raises(EndedError):
        train(4, progress=ended)
    path = tmp_path / "out" / "1-first" / "checkpoint-2" / "adapter_model.safetensors"
    save_file({name: value[:1] for name, value in load_file(path).items()}, path)
    with pytest.raises(CheckpointError, match="checkpoint-2: its weights are not this model's"):
        train(4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha = 8": "layers = [2]"}, "lora.layers: the model has 2 layers, from 0 to 1"),
        ({"alpha = 8": "layers = -3"}, "lora.layers: the model has 2 layers"),
        ({"alpha = 8": "layer_replication = [[0, 3]]"}, "layer_replication asks for layer 2, and the base has 2"),
        ({"alpha = 8": "layer_replication = [[1, 2]]\nlayers = [1]"}, "lora.layers: the model has 1 layers, from 0 to 0"),
    ],
)
def test_layers_that_the_model_has_not_are_refused(train: Trains, changes: dict[str, str], message: str) -> None:
    with pytest.raises((InvalidInput, CheckpointError), match=message):
        train(1, changes=changes)


LONG = " ".join(["red"] * 9_000)


@pytest.mark.parametrize(("query", "more"), [(LONG, {}), ("red", {"instruction": LONG})])
def test_a_query_that_leaves_no_room_is_refused_by_line_before_anything_is_written(
    tmp_path: Path, model: Path, query: str, more: dict[str, str]
) -> None:
    recipe = read_recipe(write_recipe(tmp_path, model))
    with (tmp_path / "rows.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n" + row(query, ["red", "sea"], [1, 0], **more))
    with pytest.raises(BadFile, match=r"rows\.jsonl:26: query: instruction, query and template take \d+ tokens, which leaves"):
        run(recipe, RunOptions(output=tmp_path / "out", device="cpu"))
    assert not (tmp_path / "out").exists()


def test_a_query_that_is_cut_to_what_the_stage_reads_leaves_room(tmp_path: Path, model: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path, model, 1, **{"queries = 4": "queries = 4\nmax_query_tokens = 8"}))
    (tmp_path / "rows.jsonl").write_text(row(LONG, ["red", "sea"], [1, 0]), encoding="utf-8")
    assert run(recipe, RunOptions(output=tmp_path / "out", device="cpu")).stages[0].steps == 1


def test_data_are_checked_before_a_model_is_loaded(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tmp_path / "no-model")
    (tmp_path / "rows.jsonl").write_text("{\n", encoding="utf-8")
    (tmp_path / "no-model").mkdir()
    with pytest.raises(BadFile, match=r"rows\.jsonl:1: not JSON"):
        run(read_recipe(recipe), RunOptions(output=tmp_path / "out", device="cpu"))
    assert not (tmp_path / "out").exists()
