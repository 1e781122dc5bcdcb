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
    memory_bytes: int = 0  # 0: 80 percent of what the machine has for models
    idle_s: float = 0.0  # 0: a model never sleeps for want of use
    patience_s: float = 30.0
    fresh_s: float = 10.0
    retry_failed_s: float = 60.0
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
    cors_origins: tuple[str, ...] = ()
    metrics_public: bool = False
    log_level: str = "info"
    otlp_endpoint: str = ""
