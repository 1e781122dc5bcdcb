"""Questions for passages that have none, written by the model that is to be trained: its own way to say what a text answers.

    python questions.py passages.jsonl --model nano-checkpoint --output questions.jsonl

Reads {"text", "lang"} a line, writes {"query", "documents": [text], "labels": [1], "task": "questions", "lang"}.
`nano-checkpoint` is what `gigarank train export nano --output nano-checkpoint` writes. A stopped run goes on where it was.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

# SmolLM2's chat format, written out: the exported folder's own template is the reranker's.
ASK = (
    "<|im_start|>user\nPassage: {}\n\nWrite one short question in English that this passage answers. Write only the question."
    "<|im_end|>\n<|im_start|>assistant\n"
)
LONG = re.compile(r"\w{5,}")
BATCH = 128  # on a CPU each step lays the weights out anew: few steps of many rows


def questions(texts: list[str], tokenizer, model, seed: int) -> list[str | None]:  # type: ignore[no-untyped-def]
    """One question a text, or None where what was written is no usable question."""
    torch.manual_seed(seed)
    batch = tokenizer([ASK.format(text) for text in texts], return_tensors="pt", padding=True, add_special_tokens=False)
    with torch.inference_mode():
        made = model.generate(**batch, max_new_tokens=28, do_sample=True, temperature=0.7, top_p=0.9, use_cache=True)
    written = tokenizer.batch_decode(made[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return [usable(one, text) for one, text in zip(written, texts, strict=True)]


def usable(written: str, text: str) -> str | None:
    """The first question of what was written; None for one that is no question, speaks of the passage itself, or shares no
    longer word with it."""
    head = re.sub(r"^\W*((short|one) )?question( \d+)?\s*[:-]\s*|^\W*\d+\.\s*", "", written.strip().split("\n")[0], flags=re.I)
    if "?" not in head:
        return None
    question = head[: head.index("?") + 1].strip("\"'“” ")
    words = question.lower().split()
    own = {"passage", "text", "article", "author", "paragraph", "question", "answer"}
    shared = set(LONG.findall(question.lower())) & set(LONG.findall(text.lower()))
    return question if len(words) >= 4 and shared and not own & {word.strip("?,.") for word in words} else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("passages", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    passages = [json.loads(line) for line in given.passages.read_text().splitlines()]
    journal = given.output.with_suffix(".journal")
    done = len(journal.read_text().splitlines()) if journal.exists() else 0
    tokenizer = AutoTokenizer.from_pretrained(given.model, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or "<|endoftext|>"
    model = AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.bfloat16)
    with journal.open("a") as file:
        for start in range(done, len(passages), BATCH):
            part = passages[start : start + BATCH]
            for one, question in zip(part, questions([one["text"] for one in part], tokenizer, model, start), strict=True):
                file.write(json.dumps({"question": question, **one}, ensure_ascii=False) + "\n")
            file.flush()
            if sys.stderr.isatty():
                print(f"\r{start + len(part)} of {len(passages)}", end="", file=sys.stderr)
    with given.output.open("x") as file:
        for line in journal.read_text().splitlines():
            one = json.loads(line)
            if one["question"]:
                row = {
                    "query": one["question"],
                    "documents": [one["text"]],
                    "labels": [1],
                    "task": "questions",
                    "lang": one["lang"],
                }
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
