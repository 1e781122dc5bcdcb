"""The figures of a report: by set, by domain, by language, over all sets; of suites, by task; what scoring cost.

Knows results, draws nothing. Invariants: a figure of ours is a mean that its row describes; what others published stands in a
field of its own and takes part in no mean.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gigarank.catalogue import find
from gigarank.evaluation.compare import MIN_SETS
from gigarank.evaluation.report_data import Measured
from gigarank.evaluation.significance import bootstrap
from gigarank.evaluation.suites import SUITES

SIDES = ("first_stage", "reranked", "fused", "oracle")
BETTER, WORSE, SAME = "better", "worse", "no clear difference"


@dataclass(frozen=True, slots=True)
class Row:
    """Means of one metric. `interval` is the 95% interval of reranked minus first stage, None where none can be drawn;
    `fused` is None unless every query has it; `published` as its authors published it."""

    name: str
    model: str
    metric: str
    sets: int
    queries: int
    first_stage: float
    reranked: float
    fused: float | None
    oracle: float | None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    verdict: str = ""
    published: float | None = None

    @property
    def values(self) -> dict[str, float]:
        found = {side: getattr(self, side) for side in SIDES}
        return {side: value for side, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class CostRow:
    """What scoring one set cost: document tokens that were read, seconds inside the model."""

    name: str
    model: str
    pairs: int
    tokens: int
    seconds: float
    pairs_per_second: float
    tokens_per_second: float


def verdict(difference: float, significant: bool) -> str:
    if not significant:
        return SAME
    return BETTER if difference > 0 else WORSE


def set_row(one: Measured) -> Row:
    """The set's main metric over its queries."""
    result = one.result
    found = result.metrics[result.main_metric]
    published = (result.published or {}).get(result.main_metric)
    return Row(
        name=result.set.name,
        model=result.model.name,
        metric=result.main_metric,
        sets=1,
        queries=len(result.by_query),
        first_stage=found.first_stage,
        reranked=found.reranked,
        fused=found.fused,
        oracle=found.oracle,
        interval=found.interval,
        p_value=found.p_value,
        verdict=verdict(found.reranked - found.first_stage, found.significant),
        published=published if isinstance(published, float | int) else None,
    )


Group = Callable[[Measured, str], str]


def by_domain(one: Measured, _: str) -> str:
    return one.domain


def by_language(one: Measured, query: str) -> str:
    return one.language(query)


def group_rows(measured: Sequence[Measured], group: Group) -> list[Row]:
    """A row a group, model and metric, over its queries, each counting once; ordered by the groups' names. Fewer queries than
    MIN_SETS have no interval."""
    pools: dict[tuple[str, str, str], list[tuple[str, Mapping[str, float]]]] = {}
    for one in measured:
        metric = one.result.main_metric
        for query, sides in one.result.by_query.items():
            values = {side: found[metric] for side, found in sides.items()}
            pools.setdefault((group(one, query), one.result.model.name, metric), []).append((one.result.set.name, values))
    return [_pooled(key, pools[key]) for key in sorted(pools)]


def _pooled(key: tuple[str, str, str], pool: Sequence[tuple[str, Mapping[str, float]]]) -> Row:
    values = [found for _, found in pool]
    sides = {side: [one[side] for one in values if side in one] for side in SIDES}
    means = {side: sum(found) / len(found) if len(found) == len(values) else None for side, found in sides.items()}
    return _compared(key, len({name for name, _ in pool}), len(pool), sides, means)


def _compared(
    key: tuple[str, str, str],
    sets: int,
    queries: int,
    sides: Mapping[str, Sequence[float]],
    means: Mapping[str, float | None],
) -> Row:
    name, model, metric = key
    drawn = bootstrap(sides["reranked"], sides["first_stage"]) if len(sides["reranked"]) >= MIN_SETS else None
    return Row(
        name=name,
        model=model,
        metric=metric,
        sets=sets,
        queries=queries,
        first_stage=means["first_stage"] or 0.0,
        reranked=means["reranked"] or 0.0,
        fused=means["fused"],
        oracle=means["oracle"],
        interval=(drawn.low, drawn.high) if drawn else None,
        p_value=drawn.p_value if drawn else None,
        verdict=verdict(drawn.difference, drawn.significant) if drawn else "",
    )


def mean_rows(rows: Sequence[Row]) -> list[Row]:
    """For each model and metric the mean over its sets, each counting once; the interval draws sets, not queries."""
    keys = dict.fromkeys((row.model, row.metric) for row in rows)
    found = []
    for model, metric in keys:
        chosen = [row for row in rows if (row.model, row.metric) == (model, metric)]
        sides = {side: [row.values[side] for row in chosen if side in row.values] for side in SIDES}
        means = {side: sum(one) / len(one) if len(one) == len(chosen) else None for side, one in sides.items()}
        queries = sum(row.queries for row in chosen)
        found.append(_compared(("mean over sets", model, metric), len(chosen), queries, sides, means))
    return found


def cost_row(one: Measured) -> CostRow:
    cost = one.result.cost
    return CostRow(
        name=one.result.set.name,
        model=one.result.model.name,
        pairs=cost.pairs,
        tokens=cost.tokens,
        seconds=cost.seconds,
        pairs_per_second=cost.pairs_per_second,
        tokens_per_second=cost.tokens / cost.seconds if cost.seconds else 0.0,
    )


def suite_rows(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """A row a task (its splits and languages averaged) and, below a suite's tasks, the suite's mean with what its model's
    authors published for it, where every task of it was measured. p-MRR keeps its own scale of -100 to 100."""
    found: list[Row] = []
    for suite, model in dict.fromkeys((row["suite"], row["model"]) for row in rows):
        chosen = [row for row in rows if (row["suite"], row["model"]) == (suite, model)]
        tasks = [_task_row(name, chosen) for name in dict.fromkeys(row["task"] for row in chosen)]
        known = find(model)
        whole = len(SUITES[suite].tasks) if suite in SUITES else len(tasks)
        published = known.published.get(suite) if known and len(tasks) == whole else None
        name = f"{suite} ({len(tasks)}{'' if len(tasks) == whole else f' of {whole}'} tasks)"
        found += [*tasks, _suite_row(name, tasks, published)]
    return found


def _task_row(task: str, rows: Sequence[Mapping[str, Any]]) -> Row:
    parts = [row for row in rows if row["task"] == task]
    alone = parts[0] if len(parts) == 1 and "interval" in parts[0] else None
    means = {side: _mean([row.get(side) for row in parts]) for side in SIDES}
    return Row(
        name=task,
        model=parts[0]["model"],
        metric=parts[0]["metric"],
        sets=len(parts),
        queries=sum(row["queries"] for row in parts),
        first_stage=means["first_stage"] or 0.0,
        reranked=means["reranked"] or 0.0,
        fused=means["fused"],
        oracle=means["oracle"],
        interval=(alone["interval"][0], alone["interval"][1]) if alone else None,
        p_value=alone["p_value"] if alone else None,
        verdict=verdict(alone["reranked"] - alone["first_stage"], alone["significant"]) if alone else "",
    )


def _suite_row(name: str, tasks: Sequence[Row], published: float | None) -> Row:
    means = {side: _mean([task.values.get(side) for task in tasks]) for side in SIDES}
    return Row(
        name=name,
        model=tasks[0].model,
        metric=tasks[0].metric,
        sets=len(tasks),
        queries=sum(task.queries for task in tasks),
        first_stage=means["first_stage"] or 0.0,
        reranked=means["reranked"] or 0.0,
        fused=means["fused"],
        oracle=means["oracle"],
        published=published,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    whole = [value for value in values if value is not None]
    return sum(whole) / len(whole) if whole and len(whole) == len(values) else None
