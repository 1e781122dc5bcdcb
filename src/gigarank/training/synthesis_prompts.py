"""The two prompts of query synthesis: first who would ask what, then the query itself.

After the appendix of arXiv 2506.05176, whose structure and options they keep; the words are ours. Knows text only. Invariant: a
configuration that is accepted holds one of the offered characters, a known question type and a known difficulty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

QUESTION_TYPES: dict[str, str] = {
    "keywords": "a few words, as typed into a search box",
    "acquire_knowledge": "a question that looks for a fact or an explanation",
    "summary": "a question that the passage as a whole answers",
    "yes_or_no": "a question that is answered by yes or no",
    "background": "a question for the background of what the passage tells",
}
DIFFICULTIES: dict[str, str] = {
    "high_school": "everyday words, one step from the passage",
    "university": "the terms of the subject, some thought needed",
    "phd": "an expert's question, several steps from the passage's words",
}
CHARACTERS: tuple[str, ...] = (
    "a nurse on a night shift",
    "a first-year student of economics",
    "a maintenance engineer in a factory",
    "a lawyer who prepares a case",
    "a parent who helps with homework",
    "a software developer at a small company",
    "a journalist who checks a claim",
    "a retired teacher with a garden",
    "a doctoral student in the natural sciences",
    "a traveller who plans a journey",
    "an owner of a small shop",
    "a civil servant who answers letters",
    "an amateur historian",
    "a sports coach",
    "a translator",
    "a support agent of a web service",
)
"""Stand-ins for a library of personas; give your own to fit your domain."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Who asks, what kind of question, and how hard."""

    character: str
    question_type: str
    difficulty: str


def configuration_prompt(passage: str, characters: Sequence[str]) -> str:
    return f"""Given a **Passage** and some **Characters**, choose who would ask what about it, and answer in JSON.
First choose the Character who is most likely to be interested in the Passage. Then choose the Question_Type that this Character
would ask about it. Last choose the Difficulty that fits Passage, Character and Question_Type.

**Characters**
{_listed(dict.fromkeys(characters, ""))}
**Question_Type**
{_listed(QUESTION_TYPES)}
**Difficulty**
{_listed(DIFFICULTIES)}
**Passage**
{passage}

Answer with one JSON object and nothing else: {{"Character": ..., "Question_Type": ..., "Difficulty": ...}}"""


def read_configuration(answer: Mapping[str, Any], characters: Sequence[str]) -> Configuration:
    """Raises ValueError for an answer outside what was offered."""
    named = {key.lower(): str(value).strip() for key, value in answer.items()}
    found = Configuration(named.get("character", ""), named.get("question_type", ""), named.get("difficulty", ""))
    for field, value, known in (
        ("Character", found.character, characters),
        ("Question_Type", found.question_type, QUESTION_TYPES),
        ("Difficulty", found.difficulty, DIFFICULTIES),
    ):
        if value not in known:
            raise ValueError(f"{field} {value!r} is not among those offered")
    return found


def query_prompt(passage: str, chosen: Configuration, words: int, language: str) -> str:
    return f"""Given a **Character**, a **Passage** and a **Requirement**, write a query that the Character would ask, that
meets the Requirement, and that the Passage is the right find for. Do not copy whole phrases of the Passage, do not mention the
Passage itself, and do not mention the Character.

**Character**
{chosen.character}
**Requirement**
- Type: {chosen.question_type}, {QUESTION_TYPES[chosen.question_type]}
- Difficulty: {chosen.difficulty}, {DIFFICULTIES[chosen.difficulty]}
- Length: about {words} words
- Language: {language}
**Passage**
{passage}

Answer with one JSON object and nothing else, its value in {language}: {{"Query": ...}}"""


def read_query(answer: Mapping[str, Any]) -> str:
    """Raises ValueError where there is none."""
    found = next((value for key, value in answer.items() if key.lower() in ("query", "question", "generated_query")), None)
    if not isinstance(found, str) or not found.strip():
        raise ValueError(f"no query in {dict(answer)!r:.200}")
    return " ".join(found.split())


def _listed(options: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {meaning}" if meaning else f"- {name}" for name, meaning in options.items())
