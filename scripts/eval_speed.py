"""How fast an evaluation is, against the engine on the same pairs: `scripts/bench eval-speed --data FOLDER`.

Both score the same candidates of the same queries, one after the other, `--repeats` times: the engine by one call, the
evaluation with everything that it does around the scores (groups of queries, journal, figures, result). The candidates are
found before either is timed. Prints one JSON object; pairs/s are of the fastest round, wall clock.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from gigarank.engine.reranker import Reranker
from gigarank.evaluation.beir import read_beir
from gigarank.evaluation.run import run_task
from gigarank.evaluation.task import RunOptions, plan


def compare(reranker: Reranker, data: Path, options: RunOptions, repeats: int) -> dict[str, float | int]:
    """Pairs per second of both, and their ratio. `options.output` and `options.cache` are folders of this run only."""
    evaluation_set = read_beir(data)
    task = plan(evaluation_set, reranker, options)
    pairs = [pair for query in task.queries for pair in task.pairs(query)]
    engine, evaluation = [], []
    for number in range(repeats):
        began = time.perf_counter()
        reranker.score(pairs)
        engine.append(time.perf_counter() - began)
        fresh = RunOptions(output=options.output / str(number), top_k=options.top_k, limit=options.limit, cache=options.cache)
        began = time.perf_counter()
        run_task(evaluation_set, reranker, fresh)
        evaluation.append(time.perf_counter() - began)
    return {
        "pairs": len(pairs),
        "engine_pairs_per_second": len(pairs) / min(engine),
        "evaluation_pairs_per_second": len(pairs) / min(evaluation),
        "ratio": min(engine) / min(evaluation),
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench eval-speed", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a BEIR folder with candidates")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--limit", type=int, default=10, help="queries")
    parser.add_argument("--top-k", type=int, default=20, help="candidates a query")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args(arguments)
    reranker = Reranker.load(asked.model)
    with tempfile.TemporaryDirectory(prefix="gigarank-eval-speed-") as folder:
        options = RunOptions(output=Path(folder), top_k=asked.top_k, limit=asked.limit, cache=Path(folder) / "candidates")
        print(
            json.dumps(
                {"model": reranker.name, "data": asked.data.name} | compare(reranker, asked.data, options, asked.repeats)
            )
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
