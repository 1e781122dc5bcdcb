"""The prompt as a versioned contract: frozen formats, each with an id, and the golden files that pin their bytes and ids.

Knows text only, no tokenizer and no tensors. Source of the Qwen3 formats: the Qwen3-Reranker model cards (Apache-2.0).

A prompt is cut into three parts, so that documents share what stands before them:

    root      prefix + '<Instruct>: {instruction}' + separator + '<Query>:'         shared by all queries of an instruction
    query     ' {query}' + separator + '<Document>:'                                shared by all documents of a query
    document  ' {document}' + suffix

Invariant: the parts, encoded apart, give the ids of the whole body encoded at once. Each cut stands between a colon and a
blank, where no pre-tokenizer of these models joins; tests/property/test_pieces.py holds it over many scripts.
"""

from dataclasses import dataclass

from gigarank.errors import InvalidInput

WEB_SEARCH = "Given a web search query, retrieve relevant passages that answer the query"
_SYSTEM = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".'
)
_PREFIX = f"<|im_start|>system\n{_SYSTEM}<|im_end|>\n<|im_start|>user\n"
_ANSWER_TURN = "<|im_end|>\n<|im_start|>assistant\n"
_NO_THINKING = "<think>\n\n</think>\n\n"


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """One way to ask. `prefix` and `suffix` may hold special tokens; whatever the user wrote is encoded as plain text."""

    id: str
    prefix: str
    suffix: str
    separator: str = "\n"
    yes: str = "yes"
    no: str = "no"
    default_instruction: str = WEB_SEARCH

    def root(self, instruction: str | None) -> str:
        """The instruction's part, without the prefix."""
        return f"<Instruct>: {self.default_instruction if instruction is None else instruction}{self.separator}<Query>:"

    def query(self, query: str) -> str:
        return f" {query}{self.separator}<Document>:"

    def document(self, document: str) -> str:
        return f" {document}"

    def body(self, instruction: str | None, query: str, document: str) -> str:
        """The user's turn as one text: what the parts add up to."""
        return self.root(instruction) + self.query(query) + self.document(document)

    def render(self, instruction: str | None, query: str, document: str) -> str:
        """The whole prompt as one text, as the model card would write it."""
        return self.prefix + self.body(instruction, query, document) + self.suffix


QWEN3_V1 = PromptFormat(id="qwen3-v1", prefix=_PREFIX, suffix=_ANSWER_TURN + _NO_THINKING)
"""The model card's transformers code: the canonical format, and the default."""

QWEN3_VLLM_V1 = PromptFormat(
    id="qwen3-vllm-v1", prefix=_PREFIX, suffix="<|im_end|>\n" + _ANSWER_TURN + _NO_THINKING, separator="\n\n"
)
"""The official vLLM and evaluation snippet: blank lines between the fields, the user's turn closed twice. It scores
differently from the canonical format; it is here to reproduce other people's figures."""

NANO_V1 = PromptFormat(id="nano-v1", prefix=_PREFIX, suffix=_ANSWER_TURN, yes="Yes", no="No")
"""For SmolLM2-135M-Instruct, which knows no think block and answers in capitals."""

FORMATS: dict[str, PromptFormat] = {f.id: f for f in (QWEN3_V1, QWEN3_VLLM_V1, NANO_V1)}


def prompt_format(format_id: str) -> PromptFormat:
    """The format with this id; raises InvalidInput that lists the known ones."""
    if format_id not in FORMATS:
        known = ", ".join(FORMATS)
        raise InvalidInput(
            f"prompt: unknown format {format_id!r}; known: {known}", param="prompt", limit=known, received=format_id
        )
    return FORMATS[format_id]


@dataclass(frozen=True, slots=True)
class EmbeddingFormat:
    """How Qwen3-Embedding reads: documents raw, queries behind their task, and one closing token that carries the vector."""

    id: str
    end: str
    default_task: str = WEB_SEARCH

    def query(self, task: str | None, query: str) -> str:
        """The query's text. No blank stands after `Query:`; the model was trained so."""
        return f"Instruct: {self.default_task if task is None else task}\nQuery:{query}"


QWEN3_EMBEDDING_V1 = EmbeddingFormat(id="qwen3-embedding-v1", end="<|endoftext|>")
