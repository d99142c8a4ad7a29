"""The exception tree, drawn once:

PalateError
├── BadInput                what the caller sent cannot be used: code, message, param (4xx, or exit code 1)
│   ├── BadData             a preference file or a row of it
│   └── BadModel            a model folder
├── NotFound                unknown, deleted, or another project's
├── Unauthenticated         no key, a wrong or a revoked one
├── Conflict                true now, not what the caller assumed
├── QuotaExceeded           the project has as many as it may
├── RateLimited             more at once than anybody may ask: come again
├── TooLarge                over a limit; says which
├── TooSlow                 no byte in time
├── Unavailable             Postgres or the store is away, or all places are taken: try again
└── Fenced                  this holder's lease is gone: write nothing, leave
"""


class PalateError(Exception):
    """Something a person is told about in one sentence: what is wrong, where, and what to do."""

    code = "internal_error"

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.param = param


class BadInput(PalateError):
    code = "invalid_value"


class BadData(BadInput):
    code = "invalid_training_file"


class BadModel(BadInput):
    code = "invalid_model"


class NotFound(PalateError):
    code = "not_found"


class Unauthenticated(PalateError):
    code = "invalid_api_key"


class Conflict(PalateError):
    """`retry` says whether the same request may succeed later by itself."""

    code = "conflict"

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None, retry: bool = False) -> None:
        super().__init__(message, code=code, param=param)
        self.retry = retry


class QuotaExceeded(PalateError):
    code = "quota_exceeded"


class RateLimited(PalateError):
    """`retry_after` in whole seconds, one at least and less than sixty."""

    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = min(max(retry_after, 1), 59)


class TooLarge(PalateError):
    code = "too_large"


class TooSlow(PalateError):
    code = "request_timeout"


class Unavailable(PalateError):
    """`retry_after` in seconds."""

    code = "unavailable"

    def __init__(self, message: str, *, code: str | None = None, retry_after: int = 2) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class Fenced(PalateError):
    code = "fenced"
