"""The same question in five languages to passages in English: `python examples/cross_lingual.py [MODEL]`.

Prints for each language the place at which the answer came out. nano often misses it from another language; the official
models are trained for that.
"""

import sys

from gigarank import Reranker

PASSAGES = [
    "A classical guitar has six strings.",
    "Chess is played on a board of sixty-four squares, with sixteen pieces a side.",
    "Photosynthesis turns water and carbon dioxide into sugar with the help of sunlight.",
    "The Rhine flows into the North Sea.",
    "The storming of the Bastille on 14 July 1789 became the symbol of the French Revolution.",
]
ANSWER = 2
QUESTIONS = {
    "en": "How do plants turn sunlight into energy?",
    "de": "Wie machen Pflanzen aus Sonnenlicht Energie?",
    "fr": "Comment les plantes transforment-elles la lumière en énergie ?",
    "es": "¿Cómo convierten las plantas la luz del sol en energía?",
    "zh": "植物如何把阳光变成能量?",
}


def main() -> None:
    reranker = Reranker.load(sys.argv[1] if len(sys.argv) > 1 else "nano")
    for language, question in QUESTIONS.items():
        places = [score.index for score in reranker.rank(question, PASSAGES)]
        print(f"{language}  place {1 + places.index(ANSWER)} of {len(PASSAGES)}  {question}")


if __name__ == "__main__":
    main()
