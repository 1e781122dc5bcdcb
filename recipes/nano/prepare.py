"""The rows that nano is trained on. Everything is drawn from one seed; files and licences: README.md.

    python prepare.py texts ROWS passages.jsonl --output texts.jsonl     # what questions.py asks about
    python prepare.py rows ROWS passages.jsonl --questions questions.jsonl --output rows.jsonl
    python prepare.py split rows.jsonl --output rows                     # easy, hard and dev, by task

ROWS is a folder of {query, pos, neg, lang, instruction?} files, passages.jsonl is of pages.py. Hard negatives are the best
finds of BM25 among the texts of the same language and source; of a query in another language than its documents, what BM25
finds for the same heading in theirs. Easy ones are other rows' positives. `rows` holds passages of evaluation sets: what
`gigarank train prepare overlap` leaves of it is split.
"""

import argparse
import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from gigarank.engine.bm25 import Bm25

SEED = 11
WORDS = 85  # of a text that is asked about: all of it is within what training reads
HELD_OUT, DEV = 20, 25  # one of so many rows is for the dev sets, at most so many of a task
NEGATIVES, HARD, AMONG = 6, 4, 16
POOL = 6_000  # texts at most that negatives are found among
FILES = {
    "tldr": 700,
    "debian-desc": 900,
    "nl2bash": 600,
    "pydoc": 1000,
    "afriqa": 250,
    "small-qa": 600,
    "iapp-thai": 400,
    "condaqa-polarity": 700,
}
ASKED = {"office": 900, "python": 700, "postgresql": 700}
OFFICE = {
    "de": 1.5,
    "en": 2.0,
    "es": 1.0,
    "fr": 1.0,
    "hi": 1.2,
    "it": 0.7,
    "ja": 1.2,
    "pt": 1.2,
    "ru": 0.8,
    "tr": 0.6,
    "vi": 0.6,
    "zh": 1.2,
}
HEADINGS, SENTENCES, ACROSS, CONTRASTS = 70, 110, 600, 450
INSTRUCTIONS = {
    "tldr": "Given a description of a task, retrieve the shell command that does it",
    "debian-desc": "Given a short description of a software package, retrieve its long description",
    "nl2bash": "Given a task in natural language, retrieve the bash command that performs it",
    "pydoc": "Given a description, retrieve the Python function that does it",
    "afriqa": "Given a question, retrieve Wikipedia passages that answer it, whatever their language",
    "small-qa": "Given a question, retrieve passages that answer the question",
    "iapp-thai": "Given a question, retrieve passages that answer the question",
    "questions": "Given a question, retrieve passages that answer the question",
    "heading": "Given a heading or a term, retrieve the section of the manual that it stands for",
    "sentence": "Given a statement, retrieve passages on the same matter",
    "across": "Given a heading or a sentence, retrieve the passage on the same matter, whatever its language",
}
NAMES = {"de": "German", "en": "English", "es": "Spanish", "fr": "French", "hi": "Hindi", "it": "Italian", "ja": "Japanese"}
NAMES |= {"pt": "Portuguese", "ru": "Russian", "tr": "Turkish", "vi": "Vietnamese", "zh": "Chinese"}
WRITTEN_IN = (
    "Retrieve passages about the query that are written in {}. Passages in another language are not relevant",
    "Given a query, retrieve relevant passages written in {}; passages in other languages do not count",
    "Only documents in {} that answer the query are relevant",
)
OWN_SCRIPT = {"hi": "\u0900-\u097f", "ja": "\u3040-\u30ff\u4e00-\u9fff", "ru": "\u0400-\u04ff", "zh": "\u4e00-\u9fff"}
SENTENCE = re.compile("(?<=[.!?\u0964])\\s+|(?<=[\u3002])")

Row = dict[str, Any]


def load(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


class Pool:
    """Texts among which negatives are found, each of a group: what is of the positive's group is no negative."""

    def __init__(self, texts: Iterable[tuple[str, str]], dice: random.Random) -> None:
        known = list(dict.fromkeys(texts))
        self.texts = dice.sample(known, min(POOL, len(known)))
        self._index = Bm25([text for text, _ in self.texts])
        self._dice = dice

    def negatives(self, query: str, positive: str, group: str) -> list[str]:
        found = [self.texts[number] for number, _ in self._index.search(query, AMONG + 8)]
        hard = [text for text, own in found if own != group and text != positive][:AMONG]
        chosen = self._dice.sample(hard, min(HARD, len(hard)))
        others = [text for text, own in self._dice.sample(self.texts, 12) if own != group and text not in (positive, *chosen)]
        return (chosen + others)[:NEGATIVES]


class Maker:
    """Rows of every kind."""

    def __init__(self, folder: Path, sections: Path, questions: Path | None) -> None:
        self.dice = random.Random(SEED)
        self.folder = folder
        self.sections = [one for one in load(sections) if not re.search("release-|whatsnew|^handbook/", one["page"])]
        self.questions = [] if questions is None else load(questions)
        self.english = {one["text"] for one in self.sections if one["lang"] == "en"}

    def texts(self) -> Iterator[Row]:
        """What the base is asked to write questions for, of like length together."""
        found = [(name, text) for name in ("condaqa-polarity", "afriqa", "debian-desc") for text in sorted(self._english(name))]
        cut = self.dice.sample([one for one in found if one[0] == "debian-desc"], 700)
        found = [one for one in found if one[0] != "debian-desc"] + cut
        for source, count in ASKED.items():
            own = [one for one in self.sections if one["lang"] == "en" and one["page"].startswith(source)]
            own = [one for one in own if one["text"].isascii() and len(one["text"].split()) >= 35]
            found += [(source, f"{one['heading']}. {one['text']}") for one in self.dice.sample(own, count)]
        rows = [{"text": " ".join(text.split()[:WORDS]), "lang": "en", "source": source} for source, text in found]
        self.dice.shuffle(rows)
        for start in range(0, len(rows), 512):
            yield from sorted(rows[start : start + 512], key=lambda row: len(row["text"]))

    def _english(self, name: str) -> set[str]:
        found = {text for row in load(self.folder / f"{name}.jsonl") for text in (*row["pos"], *row["neg"])}
        return {text for text in found if len(text.split()) >= 25 and sum(map(str.isascii, text)) > 0.97 * len(text)}

    def rows(self) -> list[Row]:
        makers: tuple[Callable[[], Iterator[Row]], ...] = (self.asked, self.labelled, self.manuals, self.across, self.contrasts)
        found = [row for maker in makers for row in maker()]
        self.dice.shuffle(found)
        return found

    def asked(self) -> Iterator[Row]:
        pool = Pool(((row["text"], row["text"]) for row in self.texts()), self.dice)
        for row in self.questions:
            text = row["documents"][0]
            yield self.made("questions", row["query"], "en", text, pool.negatives(row["query"], text, text))

    def labelled(self) -> Iterator[Row]:
        for name, count in FILES.items():
            rows = load(self.folder / f"{name}.jsonl")
            self.dice.shuffle(rows)
            pools = self._pools(name, rows)
            for row in rows[:count]:
                positive = self.dice.choice(row["pos"])
                own = [text for text in row["neg"] if text not in row["pos"]]
                if name == "condaqa-polarity":
                    others = [
                        text
                        for text, _ in self.dice.sample(pools[row["lang"]].texts, 6)
                        if text not in row["pos"] and text not in own
                    ]
                    yield self.made(name, row["query"], row["lang"], positive, [*own[:4], *others[:1]], row["instruction"])
                    continue
                mined = pools[row["lang"]].negatives(row["query"], positive, positive)
                mined = [text for text in mined if text not in row["pos"] and text not in own]
                yield self.made(name, row["query"], row["lang"], positive, [*self.dice.sample(own, min(2, len(own))), *mined])

    def _pools(self, name: str, rows: list[Row]) -> dict[str, Pool]:
        by_language: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for row in rows:
            by_language[row["lang"] if name == "small-qa" else ""] += [(text, text) for text in row["pos"]]
        pools = {lang: Pool(texts, self.dice) for lang, texts in by_language.items()}
        return pools if name == "small-qa" else defaultdict(lambda: pools[""])

    def manuals(self) -> Iterator[Row]:
        """A heading or an index term, or a sentence that was taken out, and its passage; in one language."""
        for lang, share in OFFICE.items():
            own = [one for one in self.sections if one["lang"] == lang and self._is_own(one)]
            texts = self.dice.sample(own, min(POOL, len(own)))
            pool = Pool(((one["text"], one["page"]) for one in texts), self.dice)
            for one in self.dice.sample(texts, round(HEADINGS * share)):
                query = self.dice.choice(one["terms"]) if one["terms"] and self.dice.random() < 0.4 else one["heading"]
                yield self.made("heading", query, lang, one["text"], pool.negatives(query, one["text"], one["page"]))
            yield from self.sentences(
                [one for one in texts if len(SENTENCE.split(one["text"])) >= 3], round(SENTENCES * share), pool
            )

    def sentences(self, sections: list[Row], count: int, pool: Pool) -> Iterator[Row]:
        for one in self.dice.sample(sections, min(count, len(sections))):
            parts = SENTENCE.split(one["text"])
            query = self.dice.choice([part for part in parts if len(part) > 15] or parts)
            rest = one["text"] if self.dice.random() < 0.1 else one["text"].replace(query, " ").strip()
            text = f"{one['heading']}\n{rest}" if self.dice.random() < 0.4 else rest
            yield self.made(
                "sentence", self.shortened(query), one["lang"], text, pool.negatives(query, one["text"], one["page"])
            )

    def shortened(self, query: str) -> str:
        """Sometimes a few of its words only, as people type them."""
        words = query.split()
        if len(words) < 8 or self.dice.random() < 0.6:
            return query[:240]
        kept = sorted(self.dice.sample(range(len(words)), self.dice.randint(4, 8)))
        return " ".join(words[place] for place in kept)

    def across(self) -> Iterator[Row]:
        """A query in one language, its passage in another; negatives are what the passage's own language finds for it."""
        here = {
            (one["page"], one["place"]): one
            for one in self.sections
            if one["lang"] == "en" and one["page"].startswith("office")
        }
        pool = Pool(((one["text"], one["page"]) for one in here.values()), self.dice)
        foreign = [
            one for one in self.sections if one["lang"] != "en" and self._is_own(one) and (one["page"], one["place"]) in here
        ]
        for one in self.dice.sample(foreign, ACROSS):
            english = here[one["page"], one["place"]]
            ours, theirs = one["heading"], english["heading"]
            if self.dice.random() < 0.5:
                ours, theirs = SENTENCE.split(one["text"])[0][:240], SENTENCE.split(english["text"])[0]
            yield self.made("across", ours, one["lang"], english["text"], pool.negatives(theirs, english["text"], one["page"]))

    def contrasts(self) -> Iterator[Row]:
        """The same passage in several languages: only the one in the language asked for is an answer."""
        by_place: dict[tuple[str, int], dict[str, Row]] = defaultdict(dict)
        for one in self.sections:
            if one["lang"] in NAMES and one["page"].startswith("office") and self._is_own(one):
                by_place[one["page"], one["place"]][one["lang"]] = one
        several = [found for found in by_place.values() if len(found) >= 5]
        for found in self.dice.sample(several, CONTRASTS):
            asked, *others = self.dice.sample(sorted(found), 5)
            query = found[self.dice.choice(sorted(found))]["heading"]
            elsewhere = [one[asked]["text"] for one in self.dice.sample(several, 12) if asked in one and one is not found][:2]
            instruction = self.dice.choice(WRITTEN_IN).format(NAMES[asked])
            negative = [found[lang]["text"] for lang in others[:3]] + elsewhere
            yield self.made("language", query, asked, found[asked]["text"], negative, instruction)

    def _is_own(self, section: Row) -> bool:
        """Not a passage that was left in English."""
        lang, text = section["lang"], section["text"]
        if lang == "en":
            return True
        letters = len(re.findall(f"[{OWN_SCRIPT[lang]}]", text)) if lang in OWN_SCRIPT else len(text)
        return letters > 0.4 * len(text.replace(" ", "")) and text not in self.english

    def made(self, task: str, query: str, lang: str, positive: str, negative: list[str], instruction: str | None = None) -> Row:
        if instruction is None and self.dice.random() < 0.4:
            instruction = INSTRUCTIONS.get(task)
        documents = [(positive, 1)] + [(text, 0) for text in negative[:NEGATIVES] if text != positive]
        self.dice.shuffle(documents)
        row = {"query": query, "instruction": instruction, "task": task, "lang": lang}
        row |= {"documents": [text for text, _ in documents], "labels": [label for _, label in documents]}
        return {name: value for name, value in row.items() if value is not None}


def split(rows: Iterable[Row], folder: Path) -> None:
    """`hard/TASK.jsonl`: the rows as they are; `easy/TASK.jsonl`: with other rows' positives as negatives; `dev/TASK`: BEIR
    folders of what the others leave out."""
    dice = random.Random(SEED)
    by_task: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_task[row["task"]].append(row)
    for task, own in sorted(by_task.items()):
        dice.shuffle(own)
        kept = max(4, len(own) // HELD_OUT)
        write_dev(own[: min(kept, DEV)], folder / "dev" / task)
        write(own[kept:], folder / "hard" / f"{task}.jsonl")
        if task not in {"language", "condaqa-polarity"}:  # the question of these rows is which of the like ones
            write(eased(own[kept:], dice), folder / "easy" / f"{task}.jsonl")


def eased(rows: list[Row], dice: random.Random) -> Iterator[Row]:
    """Negatives from the same task and language, so that neither gives the answer away."""
    pools: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        pools[group_of(row)].append(positive_of(row))
    for row in rows:
        pool = pools[group_of(row)]
        if len(pool) > NEGATIVES + 1:
            negative = [text for text in dice.sample(pool, NEGATIVES + 1) if text != positive_of(row)][:NEGATIVES]
            documents = [(positive_of(row), 1)] + [(text, 0) for text in negative]
            dice.shuffle(documents)
            yield row | {"documents": [text for text, _ in documents], "labels": [label for _, label in documents]}


def group_of(row: Row) -> str:
    """What the documents' language goes by: across languages and of afriqa, it is not the query's."""
    return "" if row["task"] in {"across", "afriqa"} else str(row["lang"])


def positive_of(row: Row) -> str:
    return str(row["documents"][row["labels"].index(1)])


def write(rows: Iterable[Row], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        for row in rows:
            found = {name: value for name, value in row.items() if value is not None}
            file.write(json.dumps(found, ensure_ascii=False) + "\n")


def write_dev(rows: list[Row], folder: Path) -> None:
    """A BEIR folder; a query's candidates are its row's documents."""
    texts = dict.fromkeys(text for row in rows for text in row["documents"])
    names = {text: f"d{number}" for number, text in enumerate(texts)}
    write(({"_id": name, "title": "", "text": text} for text, name in names.items()), folder / "corpus.jsonl")
    write(
        (
            {"_id": f"q{number}", "text": row["query"], "instruction": row.get("instruction"), "lang": row["lang"]}
            for number, row in enumerate(rows)
        ),
        folder / "queries.jsonl",
    )
    judged = [
        (f"q{number}", names[text], label)
        for number, row in enumerate(rows)
        for text, label in zip(row["documents"], row["labels"], strict=True)
    ]
    (folder / "qrels").mkdir()
    lines = "".join(f"{query}\t{text}\t{label}\n" for query, text, label in judged)
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}", encoding="utf-8")
    lines = "".join(f"{query}\t{text}\n" for query, text, _ in judged)
    (folder / "candidates.tsv").write_text(f"query-id\tcorpus-id\n{lines}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    for name in ("texts", "rows"):
        command = commands.add_parser(name)
        command.add_argument("folder", type=Path)
        command.add_argument("sections", type=Path)
        command.add_argument("--questions", type=Path)
    commands.add_parser("split").add_argument("rows", type=Path)
    for command in commands.choices.values():
        command.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    if given.what == "split":
        split(load(given.rows), given.output)
        return
    maker = Maker(given.folder, given.sections, given.questions)
    write(maker.texts() if given.what == "texts" else maker.rows(), given.output)


if __name__ == "__main__":
    main()
