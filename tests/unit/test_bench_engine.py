"""What the engine bench refuses before it builds anything, and what its result says of the model."""

import sys

import pytest

from gigarank.bench.engine import Settings, check, describe_model
from gigarank.errors import InvalidInput, ModelUnavailable
from gigarank.prompt import NANO_V1


def test_good_settings_give_the_shape_and_its_prompt() -> None:
    shape, prompt = check(Settings("nano", "bf16", layers=3, against=("transformers", "sentence-transformers")))
    assert (shape.num_hidden_layers, shape.vocab_size, prompt) == (3, 49_152, NANO_V1)


@pytest.mark.parametrize(
    ("settings", "param", "shown"),
    [
        (Settings("70b"), "shape", "0.6b, 4b, 8b, nano"),
        (Settings("nano", "fp16"), "dtype", "fp32, bf16, int8"),
        (Settings("nano", layers=31), "layers", "1 to 30"),
        (Settings("nano", repeats=0), "repeats", "at least 1"),
        (Settings("nano", against=("vllm",)), "against", "transformers, sentence-transformers"),
    ],
)
def test_bad_settings_are_refused_by_name_with_the_limit(settings: Settings, param: str, shown: str) -> None:
    with pytest.raises(InvalidInput, match=shown) as caught:
        check(settings)
    assert caught.value.param == param
    assert caught.value.limit is not None


def test_a_peer_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)  # as Python notes what cannot be imported
    with pytest.raises(ModelUnavailable, match=r"sentence-transformers is not installed.*gigarank\[bench\]"):
        check(Settings("nano", against=("sentence-transformers",)))


@pytest.mark.parametrize(("layers", "shortened"), [(None, False), (30, False), (29, True)])
def test_only_a_shorter_model_is_called_shortened(layers: int | None, shortened: bool) -> None:
    settings = Settings("nano", layers=layers, seed=7)
    about = describe_model(settings, check(settings)[0])
    assert (about["shortened"], about["layers"]) == (shortened, layers or 30)
    assert about["weights"] == "random, seed 7"
