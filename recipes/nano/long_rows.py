"""Rows with long passages, of which many repeat the query's words: other parts of the same page are negatives too.

    python long_rows.py ROWS passages.jsonl --output drawn-long.jsonl

ROWS and passages.jsonl are those of prepare.py. A passage is a run of neighbouring ones of pages.py. Its query is a sentence of
it, whole or a few of its words, which may have been taken out of it, or its heading. Labelled rows have the whole passages of
their files. Everything is drawn from one seed.
"""

import argparse
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from pages import length
from prepare import INSTRUCTIONS, OWN_SCRIPT, SENTENCE, Row, load, write

from gigarank.engine.bm25 import Bm25

SEED = 12
SPAN = (90, 300)  # words of a passage; one is drawn between these for each page
LABELLED = {"afriqa": 260, "small-qa": 520, "nl2bash": 140, "pydoc": 240, "tldr": 180, "debian-desc": 160}
SECTIONS = {"ar": 420, "cs": 40, "da": 40, "de": 170, "en": 640, "es": 130, "fr": 130, "hi": 260, "id": 50, "it": 70, "ja": 110}
SECTIONS |= {"ko": 50, "nb": 60, "nl": 50, "pl": 50, "pt": 150, "ru": 110, "sv": 40, "tr": 60, "vi": 60, "zh": 110}
SCRIPTS = OWN_SCRIPT | {"ar": "\u0600-\u06ff", "ko": "\uac00-\ud7af"}
NEAR, FAR, POOL = 3, 3, 5_000  # negatives of the same page, of others, and how many passages of a language at most
HEADING, KEPT, WHOLE = 0.15, 0.5, 0.5  # how often the query is the heading; stays in the passage; is the sentence as it stands
INSTRUCTED = 0.4


def merged(sections: list[Row], dice: random.Random) -> Iterator[Row]:
    """Neighbouring passages of one page as one, `SPAN` words long."""
    by_page: dict[str, list[Row]] = defaultdict(list)
    for one in sections:
        by_page[one["page"]].append(one)
    for page, own in by_page.items():
        held, wanted = list[Row](), dice.uniform(*SPAN)
        for one in sorted(own, key=lambda row: row["place"]):
            held.append(one)
            if sum(length(part["text"]) for part in held) >= wanted:
                yield joined(page, held)
                held, wanted = [], dice.uniform(*SPAN)
        if held and sum(length(part["text"]) for part in held) >= SPAN[0] / 2:
            yield joined(page, held)


def joined(page: str, parts: list[Row]) -> Row:
    return {"page": page, "heading": parts[0]["heading"], "text": " ".join(part["text"] for part in parts)}


def is_own(lang: str, text: str, english: set[str]) -> bool:
    if lang in SCRIPTS:
        return len(re.findall(f"[{SCRIPTS[lang]}]", text)) > 0.4 * len(text.replace(" ", ""))
    return lang == "en" or text not in english


class Negatives:
    """BM25 over one collection of passages, of pages."""

    def __init__(self, passages: list[Row]) -> None:
        self.passages = passages
        self._index = Bm25([one["text"] for one in passages])

    def of(self, query: str, positive: Row, near: int, far: int) -> list[str]:
        found = [self.passages[number] for number, _ in self._index.search(query, 60)]
        found = [one for one in found if not alike(one["text"], positive["text"])]
        own = [one["text"] for one in found if one["page"] == positive["page"]][:near]
        other = [one["text"] for one in found if one["page"] != positive["page"]][: far + near - len(own)]
        return list(dict.fromkeys(own + other))


def alike(one: str, other: str) -> bool:
    """Another edition of the same passage answers the same question."""
    ours, theirs = set(one.split()), set(other.split())
    return len(ours & theirs) > 0.6 * min(len(ours), len(theirs))


def sections(rows: list[Row], lang: str, count: int, dice: random.Random) -> Iterator[Row]:
    passages = list(merged(rows, dice))
    dice.shuffle(passages)
    passages = passages[:POOL]
    negatives = Negatives(passages)
    for one in passages[:count]:
        parts = [part for part in SENTENCE.split(one["text"]) if length(part) >= 5]
        text, near = one["text"], NEAR
        if dice.random() < HEADING or len(parts) < 3:
            query, near = one["heading"], 0
        else:
            sentence = dice.choice(parts)
            query = sentence[:240] if dice.random() < WHOLE else fewer(sentence, dice)
            if dice.random() > KEPT:
                text = " ".join(text.replace(sentence, " ").split())
        asked = {"query": query, "task": "sentence", "lang": lang}
        yield row(asked, text, negatives.of(query, one, near, FAR), dice)


def fewer(sentence: str, dice: random.Random) -> str:
    words = sentence.split()
    if len(words) < 6:
        return sentence[:120]
    kept = sorted(dice.sample(range(len(words)), dice.randint(4, min(9, len(words) - 1))))
    return " ".join(words[place] for place in kept)


def labelled(folder: Path, dice: random.Random) -> Iterator[Row]:
    for name, count in LABELLED.items():
        rows = load(folder / f"{name}.jsonl")
        dice.shuffle(rows)
        pools: dict[str, list[Row]] = defaultdict(list)
        for one in rows:
            pools[one["lang"] if name == "small-qa" else ""] += [{"page": text, "text": text} for text in one["pos"]]
        found = {lang: Negatives(unique(own)[:POOL]) for lang, own in pools.items()}
        for one in rows[:count]:
            positive = dice.choice(one["pos"])
            mined = found[one["lang"] if name == "small-qa" else ""].of(
                one["query"], {"page": positive, "text": positive}, 0, 6
            )
            given = [text for text in one["neg"] if text not in one["pos"]][:NEAR]
            negative = given + [text for text in mined if text not in one["pos"] and text not in given]
            asked = {"query": one["query"], "instruction": one.get("instruction"), "task": name, "lang": one["lang"]}
            yield row(asked, positive, negative, dice)


def unique(passages: list[Row]) -> list[Row]:
    return list({one["text"]: one for one in passages}.values())


def row(asked: Row, positive: str, negative: list[str], dice: random.Random) -> Row:
    """`asked`: query, task and lang, and an instruction where there is one."""
    if asked.get("instruction") is None and dice.random() < INSTRUCTED:
        asked |= {"instruction": INSTRUCTIONS.get(asked["task"])}
    documents = [(positive, 1)] + [(text, 0) for text in negative[: NEAR + FAR]]
    dice.shuffle(documents)
    made = asked | {"documents": [text for text, _ in documents], "labels": [label for _, label in documents]}
    return {name: value for name, value in made.items() if value is not None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sections", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    dice = random.Random(SEED)
    found = list(labelled(given.folder, dice))
    known = load(given.sections)
    english = {one["text"] for one in known if one["lang"] == "en"}
    for lang, count in SECTIONS.items():
        own = [one for one in known if one["lang"] == lang and is_own(lang, one["text"], english)]
        found += sections(own, lang, count, dice)
    dice.shuffle(found)
    write(found, given.output)


if __name__ == "__main__":
    main()
