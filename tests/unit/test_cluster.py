"""What a cluster is told, how many replicas it has, and where its addresses are refused: without Ray's processes."""

import json
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pytest

from gigarank.cli.serve import _check_backend
from gigarank.cli.serve_cluster import check_cluster, cluster_options
from gigarank.cluster.options import ClusterOptions, ModelSource, Replicas, check_address, options_from
from gigarank.cluster.scaling import QUEUED, TokensPolicy, wanted
from gigarank.errors import ClusterUnavailable, InvalidInput
from gigarank.service.configuration import settings_from
from gigarank.service.settings import Settings

OPTIONS = ClusterOptions((ModelSource("a", "./a"), ModelSource("b", "./b", pinned=True), ModelSource("c", "./c")))


class TestOptions:
    def test_are_the_same_after_a_file(self) -> None:
        options = replace(OPTIONS, replicas=Replicas(2, 5, gpus=0.5), dtype="int8", version="7")
        assert options_from(json.loads(json.dumps(asdict(options)))) == options
        assert options_from({"models": [{"name": "a", "source": "./a"}]}) == ClusterOptions((ModelSource("a", "./a"),))

    @pytest.mark.parametrize(
        "change",
        [
            {"dtype": "bf16"},
            {"version": "2"},
            {"replicas": Replicas(1, 3)},
            {"models": OPTIONS.models[:2]},
            {"keep_quantized": True},
        ],
    )
    def test_have_another_fingerprint_where_anything_differs(self, change: dict[str, Any]) -> None:
        assert replace(OPTIONS).fingerprint() == OPTIONS.fingerprint()
        assert replace(OPTIONS, **change).fingerprint() != OPTIONS.fingerprint()

    def test_say_what_a_replica_loads_first(self) -> None:
        assert [model.name for model in OPTIONS.preloaded()] == ["b", "a", "c"]
        some = replace(OPTIONS, replicas=Replicas(models=2))
        assert [model.name for model in some.preloaded()] == ["b", "a"] and some.models_per_replica == 2
        assert OPTIONS.models_per_replica == 3

    @pytest.mark.parametrize(
        ("given", "what"),
        [
            ({}, "at least one model"),
            ({"models": [{"name": "a"}]}, "no options.*source"),
            ({"models": [{"name": "a", "source": "a"}], "dtyp": "int8"}, "no options.*dtyp"),
            (
                {"models": [{"name": "a", "source": "a"}], "replicas": {"least": 3, "most": 2}},
                "at least cluster_min_replicas, 3",
            ),
        ],
    )
    def test_that_are_none_are_refused(self, given: dict[str, Any], what: str) -> None:
        with pytest.raises(InvalidInput, match=what):
            options_from(given)

    @pytest.mark.parametrize("address", ["local", "auto", "ray-head:6379", "10.0.0.7:6379", "[::1]:6379"])
    def test_an_address_is_taken(self, address: str) -> None:
        check_address(address)

    @pytest.mark.parametrize("address", ["ray://head:10001", "head", "http://head:6379", "head:", ":6379"])
    def test_another_address_is_refused(self, address: str) -> None:
        with pytest.raises(InvalidInput, match="none of local, auto") as caught:
            check_address(address)
        assert caught.value.param == "cluster"


@dataclass
class Told:
    """What Ray Serve tells a policy."""

    aggregated_metrics: Mapping[str, Mapping[Any, float]] | None = field(default_factory=dict)
    target_num_replicas: int = 1
    total_queued_requests: float | None = 0.0


class TestThePolicy:
    @pytest.mark.parametrize(
        ("queued", "replicas"),
        [([0.0], 1), ([1_000.0], 1), ([1_001.0], 2), ([900.0, 1_800.0], 3), ([0.0, 0.0, 0.0], 1), ([9e6], 9_000)],
    )
    def test_counts_the_tokens_of_all_replicas(self, queued: list[float], replicas: int) -> None:
        told = Told({QUEUED: dict(enumerate(queued))}, len(queued))
        assert TokensPolicy(tokens=1_000)(told) == (replicas, {})

    @pytest.mark.parametrize("metrics", [{}, {QUEUED: {}}, {"other": {1: 5.0}}, None])
    def test_leaves_alone_what_tells_nothing(self, metrics: Mapping[str, Mapping[Any, float]] | None) -> None:
        assert TokensPolicy(1_000)(Told(metrics, 3, 4.0)) == (3, {})
        assert TokensPolicy(1_000)(Told(metrics, 0, 4.0)) == (1, {})
        assert TokensPolicy(1_000)(Told(metrics, 0, 0.0)) == (0, {})

    def test_never_wants_fewer_for_more(self) -> None:
        found = [wanted(tokens, 300) for tokens in range(0, 5_000, 7)]
        assert found == sorted(found) and found[0] == 1 and found[-1] == 17


class TestTheCommandLine:
    def settings(self, **flags: Any) -> Settings:
        return settings_from({"cluster": "local", "models": ["mine=nano", "qwen3-reranker-0.6b"], **flags}, {})

    def test_makes_options_of_settings(self) -> None:
        given = {"cluster_min_replicas": "2", "cluster_max_replicas": "4", "cluster_gpus": "0.5", "cluster_version": "9"}
        options = cluster_options(self.settings(**given, dtype="int8"))
        assert [(model.name, model.source, model.pinned) for model in options.models] == [
            ("mine", "nano", True),
            ("qwen3-reranker-0.6b", "qwen3-reranker-0.6b", False),
        ]
        assert options.replicas == Replicas(2, 4, gpus=0.5)
        assert (options.dtype, options.version) == ("int8", "9")

    def test_takes_a_cluster(self) -> None:
        check_cluster(self.settings(), "engine")

    @pytest.mark.parametrize(
        ("flags", "backend", "what"),
        [
            ({}, "fake", "--backend must be engine"),
            ({"cluster": "ray://head:10001"}, "engine", "none of local, auto"),
            ({"score_cache": "5"}, "engine", "score_cache"),
            ({"cluster_min_replicas": "2"}, "engine", "cluster_max_replicas: must be at least"),
        ],
    )
    def test_refuses_what_does_not_go_together(self, flags: dict[str, str], backend: str, what: str) -> None:
        _check_backend(backend)
        with pytest.raises(InvalidInput, match=what):
            check_cluster(self.settings(**flags), backend)

    def test_says_what_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(InvalidInput, match=r"pip install 'gigarank\[cluster\]'"):
            check_cluster(self.settings(), "engine")


def test_a_cluster_that_cannot_be_reached_says_so_at_once() -> None:
    client = pytest.importorskip("gigarank.cluster.client", reason="the cluster extra is not installed", exc_type=ImportError)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ClusterUnavailable, match=f"127.0.0.1:{port} cannot be reached") as caught:
        client.Cluster.connect(client.Access(f"127.0.0.1:{port}"), OPTIONS)
    assert (caught.value.status, caught.value.received) == (503, f"127.0.0.1:{port}")
