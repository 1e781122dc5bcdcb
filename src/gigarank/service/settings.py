"""What a server is told: one frozen value. Where each part of it may come from is configuration.py's matter.

Invariant: a Settings that exists was checked; whoever reads one needs no other source.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Units are in the names. An empty string or tuple means: not given."""

    models: tuple[str, ...] = ("nano",)
    default_model: str = ""  # empty: the first of `models`
    host: str = "127.0.0.1"
    port: int = 8000
    state_dir: str = ""
    api_keys: tuple[str, ...] = ()
    api_keys_file: str = ""
    accounts: bool = False
    database_url: str = ""  # empty: SQLite in `state_dir`
    key_secrets_file: str = ""  # empty: in `state_dir`
    rate_limit_url: str = "memory://"
    rate_limit_outage: str = "closed"
    requests_per_minute: int = 0  # 0, here and below: not limited
    tokens_per_minute: int = 0
    concurrent_requests: int = 0
    files_url: str = ""  # empty: a folder in `state_dir`
    max_file_bytes: int = 200 * 1024 * 1024
    max_stored_bytes: int = 10 * 1024**3
    max_batch_lines: int = 50_000
    max_open_batches: int = 64
    batch_concurrency: int = 8
    max_body_days: int = 0  # 0: no body of a request is kept, whoever asks for it
    max_body_log_bytes: int = 64 * 1024
    public_url: str = ""  # empty: this machine, at `port`
    client_header: str = ""  # empty: the connection's other end is the client
    free_credit_usd: str = "25"  # 0: none
    low_balance_usd: str = "1"  # 0: nobody is told
    oidc_providers: tuple[str, ...] = ()
    smtp_url: str = ""  # empty: no mail is sent
    mail_from: str = ""
    memory_bytes: int = 0  # 0: 80 percent of what the machine has for models
    idle_s: float = 0.0  # 0: a model never sleeps for want of use
    patience_s: float = 30.0
    fresh_s: float = 10.0
    retry_failed_s: float = 60.0
    upstream_key: str = ""  # empty: upstreams ask for none
    upstream_timeout_s: float = 30.0
    upstream_tokens: int = 65_536
    cluster: str = ""  # empty: models run in this process, or where `--backend` says
    cluster_deploy: bool = True
    cluster_min_replicas: int = 1
    cluster_max_replicas: int = 1
    cluster_replica_tokens: int = 16_384
    cluster_models: int = 0  # 0: all of them
    cluster_cpus: int = 1
    cluster_gpus: float = 0.0
    cluster_version: str = ""
    dtype: str = "auto"
    keep_quantized: bool = False
    score_cache: int = 0  # 0: no score is kept
    max_waiting_requests: int = 512
    max_waiting_tokens: int = 4_000_000
    max_batch_tokens: int = 1_024
    max_documents: int = 1_000
    max_body_bytes: int = 16 * 1024 * 1024
    max_buffered_bytes: int = 512 * 1024 * 1024
    max_json_depth: int = 64
    max_header_bytes: int = 32 * 1024
    max_headers: int = 100
    max_connections: int = 1_024
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    keep_alive_s: float = 75.0  # longer than the 60 s of the usual proxies, so that it is they who close
    drain_delay_s: float = 0.5
    drain_timeout_s: float = 30.0
    pages: bool = True
    demo_requests_per_minute: int = 30  # 0: the playground answers nobody
    demo_documents: int = 100
    cors_origins: tuple[str, ...] = ()
    metrics_public: bool = False
    log_level: str = "info"
    otlp_endpoint: str = ""
