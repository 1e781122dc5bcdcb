"""Every error that gigarank raises on purpose.

    GigarankError                    code               status
    ├── InvalidInput                 invalid_input      400   a value that the caller can correct
    │   ├── QueryTooLong             context_exceeded   400   instruction and query leave no room for a document
    │   ├── UnknownModel             model_not_found    404   no such name; carries the nearest ones
    │   └── BadFile                  bad_file           400   a file that cannot be read as what it should be
    ├── CheckpointError              bad_checkpoint     500   a missing, extra or misshaped tensor; a broken file
    │   └── UnsupportedArchitecture  unsupported_model  500   a model that this engine would run wrongly
    ├── ModelUnavailable             model_unavailable  503   known, but not on this machine and not to be fetched
    ├── DeviceUnavailable            no_device          500   the asked device or precision does not exist here
    └── NonFiniteScore               non_finite_score   500   the model answered NaN or infinity

Knows no transport: a status is a property of the error, and translating it is the transport's work.
"""

from typing import Any, ClassVar


class GigarankError(Exception):
    """Base of all. `message` is one plain sentence; `param`, `limit` and `received` say which value was wrong, and how."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, param: str | None = None, limit: Any = None, received: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.limit = limit
        self.received = received


class InvalidInput(GigarankError, ValueError):
    code = "invalid_input"
    status = 400


class QueryTooLong(InvalidInput):
    code = "context_exceeded"


class UnknownModel(InvalidInput):
    code = "model_not_found"
    status = 404


class BadFile(InvalidInput):
    code = "bad_file"


class CheckpointError(GigarankError):
    code = "bad_checkpoint"


class UnsupportedArchitecture(CheckpointError):
    code = "unsupported_model"


class ModelUnavailable(GigarankError):
    code = "model_unavailable"
    status = 503


class DeviceUnavailable(GigarankError):
    code = "no_device"


class NonFiniteScore(GigarankError):
    code = "non_finite_score"
