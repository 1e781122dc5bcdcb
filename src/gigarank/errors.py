"""Every error that gigarank raises on purpose.

    GigarankError                    code               status
    ├── InvalidInput                 invalid_input      400   a value that the caller can correct
    │   ├── QueryTooLong             context_exceeded   400   instruction and query leave no room for a document
    │   ├── UnsupportedParameter unsupported_parameter 400 a wish that ignoring would turn into a lie
    │   ├── UnknownModel             model_not_found    404   no such name; carries the nearest ones
    │   ├── ObjectNotFound           object_not_found   404   no such file or batch of this account
    │   └── BadFile                  bad_file           400   a file that cannot be read as what it should be
    ├── CheckpointError              bad_checkpoint     500   a missing, extra or misshaped tensor; a broken file
    │   └── UnsupportedArchitecture  unsupported_model  500   a model that this engine would run wrongly
    ├── ModelUnavailable             model_unavailable  503   known, but not on this machine and not to be fetched
    ├── DeviceUnavailable            no_device          500   the asked device or precision does not exist here
    ├── NonFiniteScore               non_finite_score   500   the model answered NaN or infinity
    ├── RequestTooLarge              request_too_large  413   more documents or bytes than one request may hold
    │   └── HeadersTooLarge          headers_too_large  431   more of a request's line and headers than is read
    ├── Unauthorized                 invalid_api_key    401   no key, or one that is not known
    │   └── NotSignedIn              not_signed_in      401   no session, or a wrong password
    ├── InsufficientCredit           insufficient_credit 402  the account has not got what the request costs
    │   └── SpendLimitReached        spend_limit_reached 402  the key may not spend so much in this period
    ├── AccessDenied                 access_denied      403   a key that is known, and may not do this
    │   └── ModelNotAllowed          model_not_allowed  403   a model that is not on the key's list
    ├── KeyReused                    key_reused         409   an Idempotency-Key that another request had
    ├── RouteNotFound                not_found          404   no such path
    ├── MethodNotAllowed             method_not_allowed 405   the path is there, the method is not
    ├── RequestTimeout               request_timeout    408   the request did not arrive in time
    ├── ClientClosed                 client_closed      499   whoever asked has left
    ├── DeadlineExceeded             deadline_exceeded  504   an answer that is all or nothing was not ready in time
    ├── WorkerFailed                 worker_failed      500   the worker died with this request in it
    └── TryLater                     try_later          503   nothing is wrong with the request; `retry_after` says when
        ├── Overloaded               overloaded         429   the queue is full
        ├── RateLimited              rate_limited       429   more than the account or the key may ask in a time
        ├── StillRunning             still_running      409   the first request with this Idempotency-Key is not answered yet
        ├── DatabaseUnavailable      no_database        503   accounts cannot be looked up
        ├── StorageUnavailable       no_storage         503   files cannot be read or kept
        │   └── MissingFile          missing_file       503   the store answers, and has nothing under the name
        ├── ProviderUnavailable      no_provider        503   a provider of identities does not answer
        ├── UpstreamUnavailable      no_upstream        503   the servers that run a model do not answer
        ├── ClusterUnavailable       no_cluster         503   the cluster cannot be reached, or runs none of our models
        ├── ModelLoading             model_loading      503   the model is on its way into memory
        └── ShuttingDown             shutting_down      503   the server accepts nothing more

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


class UnsupportedParameter(InvalidInput):
    code = "unsupported_parameter"


class UnknownModel(InvalidInput):
    code = "model_not_found"
    status = 404


class ObjectNotFound(InvalidInput):
    code = "object_not_found"
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


class RequestTooLarge(GigarankError):
    code = "request_too_large"
    status = 413


class HeadersTooLarge(RequestTooLarge):
    code = "headers_too_large"
    status = 431


class Unauthorized(GigarankError):
    code = "invalid_api_key"
    status = 401


class NotSignedIn(Unauthorized):
    code = "not_signed_in"


class InsufficientCredit(GigarankError):
    code = "insufficient_credit"
    status = 402


class SpendLimitReached(InsufficientCredit):
    code = "spend_limit_reached"


class AccessDenied(GigarankError):
    code = "access_denied"
    status = 403


class ModelNotAllowed(AccessDenied):
    code = "model_not_allowed"


class KeyReused(GigarankError):
    code = "key_reused"
    status = 409


class RouteNotFound(GigarankError):
    code = "not_found"
    status = 404


class MethodNotAllowed(GigarankError):
    code = "method_not_allowed"
    status = 405


class RequestTimeout(GigarankError):
    code = "request_timeout"
    status = 408


class ClientClosed(GigarankError):
    code = "client_closed"
    status = 499


class DeadlineExceeded(GigarankError):
    code = "deadline_exceeded"
    status = 504


class WorkerFailed(GigarankError):
    code = "worker_failed"


class TryLater(GigarankError):
    """`retry_after`: seconds after which another try has a fair chance."""

    code = "try_later"
    status = 503

    def __init__(
        self, message: str, *, retry_after: float = 1.0, param: str | None = None, limit: Any = None, received: Any = None
    ) -> None:
        super().__init__(message, param=param, limit=limit, received=received)
        self.retry_after = retry_after


class Overloaded(TryLater):
    code = "overloaded"
    status = 429


class RateLimited(TryLater):
    code = "rate_limited"
    status = 429


class StillRunning(TryLater):
    code = "still_running"
    status = 409


class DatabaseUnavailable(TryLater):
    code = "no_database"


class StorageUnavailable(TryLater):
    code = "no_storage"


class MissingFile(StorageUnavailable):
    """No trying again brings it back: whoever can end what needs the file, ends it."""

    code = "missing_file"


class ProviderUnavailable(TryLater):
    code = "no_provider"


class UpstreamUnavailable(TryLater):
    code = "no_upstream"


class ClusterUnavailable(TryLater):
    code = "no_cluster"


class ModelLoading(TryLater):
    code = "model_loading"


class ShuttingDown(TryLater):
    code = "shutting_down"
