"""The suites as data: the published protocol's tasks, as the catalogue and the installed mteb know them."""

import re

import mteb
import pytest

from gigarank import catalogue
from gigarank.errors import InvalidInput
from gigarank.evaluation.suite_figures import P_MRR, trec_name
from gigarank.evaluation.suite_run import pinned
from gigarank.evaluation.suites import SUITES, find_suite

TASKS = {task.name: task for suite in SUITES.values() for task in suite.tasks}


def test_the_suites_are_the_catalogues_with_as_many_tasks_as_were_published() -> None:
    assert tuple(SUITES) == catalogue.SUITES
    assert [len(suite.tasks) for suite in SUITES.values()] == [10, 8, 18, 1, 12, 3]
    assert len(TASKS) == 10 + 8 + 18 + 1 + 12 + 3 - 5  # ArguAna, SCIDOCS, TRECCOVID, CovidRetrieval, StackOverflowQA twice


def test_every_revision_is_a_whole_commit() -> None:
    assert {task.name for task in TASKS.values() if not re.fullmatch("[0-9a-f]{40}", task.revision)} == set()


def test_only_tasks_whose_queries_bring_one_and_long_documents_have_no_instruction() -> None:
    assert {name for name, task in TASKS.items() if task.instruction is None} == {
        "MultiLongDocRetrieval",
        "Robust04InstructionRetrieval",
        "News21InstructionRetrieval",
        "Core17InstructionRetrieval",
    }


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_what_the_installed_mteb_says(name: str) -> None:
    described, theirs = TASKS[name], mteb.get_task(name).metadata
    assert (described.dataset, described.revision) == (theirs.dataset["path"], theirs.dataset["revision"])
    assert described.metric == theirs.main_score
    assert set(described.splits) <= set(theirs.eval_splits)


def test_a_pinned_task_loads_the_suites_revision_and_splits() -> None:
    described = find_suite("mldr").tasks[0]
    moved = type(described)(described.name, "other/data", "1" * 40, splits=("dev",))
    task = pinned(moved)
    assert (task.metadata.dataset["path"], task.metadata.dataset["revision"]) == ("other/data", "1" * 40)
    assert task.eval_splits == ["dev"]
    assert mteb.get_task(described.name).metadata.dataset["revision"] == described.revision


def test_a_suite_is_found_in_any_case_and_an_unknown_one_refused_with_all_names() -> None:
    assert find_suite("mteb-r").name == "MTEB-R"
    with pytest.raises(InvalidInput, match="known: MTEB-R, CMTEB-R, MMTEB-R, MLDR, MTEB-Code, FollowIR") as refusal:
        find_suite("BEIR")
    assert (refusal.value.param, refusal.value.received) == ("suite", "BEIR")


def test_every_main_score_but_p_mrr_has_trec_evals_name() -> None:
    names = {trec_name(task.metric) for task in TASKS.values() if task.metric != P_MRR}
    assert names == {"ndcg_cut_10", "ndcg_cut_1", "recall_10"}
    with pytest.raises(InvalidInput, match="'v_measure' has no counterpart"):
        trec_name("v_measure")
