"""A recipe: what is read from it, and what is refused, by file, key and value."""

import re
from pathlib import Path

import pytest

from gigarank.errors import BadFile
from gigarank.training.recipe import LINEARS, Data, Lora, read_recipe

WHOLE = """
save_every = 50
gradient_checkpointing = true
[base]
name = "Qwen/Qwen3-Reranker-0.6B"
dtype = "bf16"
[lora]
rank = 8
layers = -12
targets = ["q_proj", "v_proj"]
dora = true
[[stage]]
name = "contrastive"
losses = { infonce = 1 }
temperature = 0.5
false_negative_margin = 0.1
queries = 8
at_once = 4
in_batch = 3
data = [{ path = "a.jsonl", share = 0.5, instruction = "Find it" }, { path = "/b.jsonl", max_rows = 7 }]
[[stage]]
name = "distil"
losses = { kl = 0.5, bce = 0.3 }
schedule = "cosine"
data = [{ path = "a.jsonl" }]
[dev]
sets = ["dev/one", "dev/two"]
every = 25
"""
SHORT = """
[[stage]]
name = "one"
losses = { bce = 1.0 }
data = [{ path = "a.jsonl" }]
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_says_all_there_is_to_say(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, WHOLE))
    assert (recipe.base.name, recipe.base.dtype, recipe.base.kind) == ("Qwen/Qwen3-Reranker-0.6B", "bf16", "reranker")
    assert recipe.lora == Lora(rank=8, layers=-12, targets=("q_proj", "v_proj"), dora=True)
    assert (recipe.save_every, recipe.gradient_checkpointing) == (50, True)
    one, two = recipe.stage
    assert one.data[0] == Data(path=tmp_path / "a.jsonl", share=0.5, instruction="Find it")
    assert one.data[1].path == Path("/b.jsonl") and one.data[1].max_rows == 7
    assert (one.losses, one.temperature, one.false_negative_margin, one.in_batch) == ({"infonce": 1.0}, 0.5, 0.1, 3)
    assert (two.name, two.losses, two.schedule) == ("distil", {"kl": 0.5, "bce": 0.3}, "cosine")
    assert recipe.dev is not None and recipe.dev.sets == (tmp_path / "dev/one", tmp_path / "dev/two")


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, SHORT + "[lora]\nlayers = [0, 3]\n"))
    assert (recipe.base.name, recipe.dev, recipe.stage[0].epochs) == ("nano", None, 1.0)
    assert recipe.lora is not None and recipe.lora.targets == LINEARS and recipe.lora.layers == (0, 3)
    assert read_recipe(written(tmp_path, SHORT)).lora is None


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("rank = 3", r"stage\[0\].rank: no such key; known: name, losses, data"),
        ("loss = 'bce'", r"stage\[0\].loss: no such key"),
        ("queries = 0", r"stage\[0\].queries: must be at least 1, not 0"),
        ("queries = 2.5", r"stage\[0\].queries: must be a whole number, not 2.5"),
        ("queries = true", r"stage\[0\].queries: must be a whole number, not True"),
        ("steps = 0", r"stage\[0\].steps: must be at least 1"),
        ("epochs = 0", r"stage\[0\].epochs: must be above 0"),
        ("learning_rate = nan", r"stage\[0\].learning_rate: must be finite, not nan"),
        ("learning_rate = inf", r"stage\[0\].learning_rate: must be finite, not inf"),
        ("max_grad_norm = nan", r"stage\[0\].max_grad_norm: must be finite, not nan"),
        ("max_grad_norm = inf", r"stage\[0\].max_grad_norm: must be finite, not inf"),
        ("false_negative_margin = nan", r"stage\[0\].false_negative_margin: must be finite, not nan"),
        ("false_negative_margin = -inf", r"stage\[0\].false_negative_margin: must be finite, not -inf"),
        ("weight_decay = inf", r"stage\[0\].weight_decay: must be finite, not inf"),
        (f"epochs = 1{'0' * 400}", r"stage\[0\].epochs: must be finite, not 10000"),
        ("seed = -1", r"stage\[0\].seed: must be from 0 to below 4294967296, not -1"),
        ("seed = 4294967296", r"stage\[0\].seed: must be from 0 to below 4294967296, not 4294967296"),
        ("[lora]\nalpha = inf", r"lora.alpha: must be finite, not inf"),
        ("[lora]\ndropout = nan", r"lora.dropout: must be finite, not nan"),
        ("temperature = -1.0", r"stage\[0\].temperature: must be above 0, not -1.0"),
        ("warmup = 1.0", r"stage\[0\].warmup: must be from 0 to below 1"),
        ("schedule = 'step'", r"stage\[0\].schedule: must be one of linear, cosine, constant, not 'step'"),
        ("at_once = 3", r"stage\[0\].at_once: must divide queries \(16\), not 3"),
        ("in_batch = 2\nqueries = 1", r"stage\[0\].in_batch: a step of one query has no others"),
        ("[lora]\nrank = 0", r"lora.rank: must be at least 1"),
        ("[lora]\nlayers = 3", r"lora.layers: must be a list of numbers, or -n for the last n layers, not 3"),
        ("[lora]\nlayer_replication = [[0, 2], [3]]", r"lora.layer_replication\[1\]: must be \[first, behind the last\]"),
        ("[lora]\nlayer_replication = [[2, 2]]", r"lora.layer_replication\[0\]: must be .*, not \[2, 2\]"),
        ("[lora]\nlayers = [-1]", r"lora.layers: a list counts from 0, not -1"),
        ("[lora]\ntargets = ['lm_head']", r"lora.targets: known: q_proj, .*, not 'lm_head'"),
        ("[lora]\ndropout = 1.5", r"lora.dropout: must be from 0 to below 1"),
        ("[base]\nkind = 'both'", r"base.kind: must be one of reranker, embedder"),
        ("[base]\nname = 7", r"base.name: must be a text, not 7"),
        ("[dev]\nsets = []", r"dev.sets: must be a list that is not empty"),
        ("[dev]\nsets = ['d']\npatience = 0", r"dev.patience: must be at least 1"),
        ("[extra]", r"extra: no such key; known: stage, base, lora, dev"),
        ("lora = 3", r"stage\[0\].lora: no such key"),
    ],
)
def test_a_key_that_is_unknown_or_out_of_range_is_named(tmp_path: Path, added: str, message: str) -> None:
    path = written(tmp_path, SHORT + added + "\n")
    with pytest.raises(BadFile, match=message) as refusal:
        read_recipe(path)
    assert refusal.value.message.startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SHORT.replace("bce = 1.0", "hinge = 1.0"), r"losses.hinge: no loss of a reranker; known: infonce, listnet"),
        (SHORT.replace("bce = 1.0", "bce = -1.0"), r"losses.bce: must be above 0, not -1.0"),
        (SHORT.replace("bce = 1.0", "bce = inf"), r"losses.bce: must be finite, not inf"),
        (SHORT.replace('"a.jsonl" }', '"a", share = nan }'), r"data\[0\].share: must be finite, not nan"),
        (SHORT.replace("{ bce = 1.0 }", "'bce'"), r"losses: must be a table of losses and their weights, not 'bce'"),
        (SHORT.replace("{ bce = 1.0 }", "{ kl = 1.0, bce = 1.0 }") + "in_batch = 2", r"no teacher's score, which kl needs"),
        (SHORT.replace("bce", "infonce") + "documents = 1", r"documents: infonce: nothing to compare with; .* in_batch, not 1"),
        (SHORT.replace("{ bce", "{ kl = 0.5, bce") + "documents = 1", r"stage\[0\].documents: kl: nothing to compare with"),
        (
            SHORT.replace("bce", "infonce") + "documents = 1\n[base]\nkind = 'embedder'",
            r"documents: infonce: nothing to compare with; at least 2, or at_once above 1",
        ),
        (SHORT.replace("name = ", "#"), r"stage\[0\].name: is missing"),
        (SHORT + SHORT, r"stage\[1\].name: is another stage's name, not 'one'"),
        (SHORT + "[base]\nkind = 'embedder'", r"losses.bce: no loss of a embedder; known: infonce"),
        (SHORT.replace("bce", "infonce") + "in_batch = 2\n[base]\nkind = 'embedder'", r"an embedder takes all documents"),
        (
            SHORT.replace('data = [{ path = "a.jsonl" }]', "data = [{ path = 'a', share = 0 }]"),
            r"data\[0\].share: must be above 0",
        ),
        ("save_every = 1", r"stage: is missing"),
        ("stage = 3", r"stage: must be a list that is not empty"),
        ("stage = [3]", r"stage\[0\]: must be a table, not 3"),
        ("[[stage", r"not TOML"),
    ],
)
def test_a_mix_that_cannot_be_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadFile, match=message):
        read_recipe(written(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        SHORT + "documents = 1",
        SHORT.replace("bce", "infonce") + "documents = 1\nin_batch = 2",
        SHORT.replace("bce", "infonce") + "documents = 1\nat_once = 2\n[base]\nkind = 'embedder'",
    ],
)
def test_a_document_alone_is_enough_where_it_is_not_compared_or_others_come_in(tmp_path: Path, text: str) -> None:
    assert read_recipe(written(tmp_path, text)).stage[0].documents == 1


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"none\.toml: cannot be read"):
        read_recipe(tmp_path / "none.toml")


@pytest.mark.parametrize("name", ["a/b", "../up", "", ".hidden"])
def test_a_stages_name_stays_within_the_runs_folder(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, re.sub(r'name = ".*?"', f'name = "{name}"', SHORT, count=1))
    with pytest.raises(BadFile, match=r"stage\[0\].name: is a folder's name too: letters, digits, blanks, . _ -, not "):
        read_recipe(path)


def test_an_embedder_has_no_dev_sets_which_are_reranked(tmp_path: Path) -> None:
    text = re.sub(r"losses = .*", "losses = { infonce = 1.0 }", SHORT) + "[base]\nkind = 'embedder'\n"
    assert read_recipe(written(tmp_path, text)).base.kind == "embedder"
    with pytest.raises(BadFile, match="dev: is measured by reranking, which an embedder does not do"):
        read_recipe(written(tmp_path, text + "[dev]\nsets = ['d']\n"))
