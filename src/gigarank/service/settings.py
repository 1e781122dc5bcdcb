"""What a server is told: one frozen value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Units are in the names."""

    models: tuple[str, ...] = ("nano",)
    default_model: str = ""  # empty: the first of `models`
    host: str = "127.0.0.1"
    port: int = 8000
    api_keys: tuple[str, ...] = ()
    max_documents: int = 1_000
    max_body_bytes: int = 16 * 1024 * 1024
