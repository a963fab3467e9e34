"""Every error Sightloop raises, drawn as a tree.

    SightloopError                 reason: stable snake_case word; retryable: may work unchanged
    ├── ConfigError                the operator must change something
    │   ├── MissingExtraError      an optional dependency is not installed
    │   ├── PortInUseError         the address to listen on is taken
    │   └── WorkspaceError         the workspace cannot be used
    ├── InputError                 data handed in is not usable
    │   ├── ImageError             bytes that are no (allowed) image
    │   ├── FrameShapeError        an array that is no frame
    │   ├── ProtocolError          a request that the inference protocol does not allow
    │   ├── RequestTooSlowError    a request whose body did not come in time
    │   └── DatasetError           a dataset that cannot be read
    ├── BundleError                a release's files
    │   ├── ManifestInvalidError   manifest.json does not say what it must
    │   ├── FileSetError           a file missing, unknown, linked or outside the bundle
    │   ├── DigestMismatchError    a file's bytes are not those of the manifest
    │   ├── SignatureInvalidError  not signed, wrongly signed, or by nobody trusted
    │   └── DowngradeError         older than what the slot has accepted
    ├── BackendError               a network and what runs it
    │   ├── ProviderUnavailableError  what shall run networks is not there or does not start
    │   ├── ModelLoadError         the weights cannot be loaded
    │   ├── ChampionUnusableError  the champion cannot be run beside a candidate
    │   └── ModelContractError     shapes, names or classes are not those of the manifest
    ├── ServingError               a running server
    │   ├── LineNotFoundError      no such model line here
    │   ├── ReleaseNotFoundError   no such release in the store or the slot's history
    │   ├── ReleaseNotReadyError   nothing can answer yet
    │   ├── UpdateInProgressError  another update is running
    │   ├── TransitionError        a lifecycle step that the table does not allow
    │   ├── WorkerDiedError        the worker process ended with the request
    │   ├── FrameKillsWorkerError  this frame has killed two workers
    │   ├── OverloadedError        no room in the queue, or no time left
    │   │   └── TooManyBytesError  no room for the request's body
    │   ├── DeadlineExceededError  the worker did not answer in time
    │   ├── UnsupportedError       a part of a protocol that is not offered
    │   ├── UnauthenticatedError   no token, or none that is known here
    │   ├── ForbiddenError         known, and not allowed to do this
    │   ├── RateLimitedError       too many calls from one address
    │   └── RefusedAtStartError    a gate refused a line's first release
    ├── RegistryError              tracking and model registry
    │   └── VersionExistsError     this semver is taken by other content
    ├── PipelineError              a pipeline run
    │   ├── GraphInvalidError      the declaration does not fit together
    │   ├── StepFailedError        a step ended with an error
    │   ├── TrainerError           the trainer's process failed
    │   └── ReleaseRefusedError    a gate said no at the end of a run
    └── ClientError                talking to a server
        ├── ServerUnreachableError nobody answers at the address
        └── ServerRefusedError     the server answered with an error

Messages say what, which, expected, found, what to do. A gate's *no* is a Verdict, never an
error. HTTP codes and exit codes are mapped at the edge (serving/rest.py, cli/main.py).
"""

from __future__ import annotations

from typing import ClassVar


class SightloopError(Exception):
    """Root of all errors of this package.

    Attributes:
        reason: Stable snake_case word: what logs, metrics, REST bodies and the CLI show.
        retryable: Whether the same call may succeed later without any change.
    """

    default_reason: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message, reason)
        self.message = message
        self.reason = reason or self.default_reason

    def __str__(self) -> str:
        return self.message


class ConfigError(SightloopError):
    """A setting is wrong; the operator must change it."""

    default_reason = "config_invalid"


class MissingExtraError(ConfigError):
    """An optional dependency is needed and not installed."""

    default_reason = "missing_extra"


class PortInUseError(ConfigError):
    """The address to listen on is taken."""

    default_reason = "port_in_use"


class WorkspaceError(ConfigError):
    """The workspace folder cannot be used."""

    default_reason = "workspace_invalid"


class InputError(SightloopError):
    """Data handed in is not usable."""

    default_reason = "input_invalid"


class ImageError(InputError):
    """Bytes are no image, or not one that is allowed."""

    default_reason = "image_undecodable"


class FrameShapeError(InputError):
    """An array is not a frame of the stated shape and type."""

    default_reason = "frame_shape"


class ProtocolError(InputError):
    """A request is none of the inference protocol, or not one that this model takes."""

    default_reason = "request_malformed"


class RequestTooSlowError(InputError):
    """The body of a request did not come in time."""

    default_reason = "body_too_slow"


class DatasetError(InputError):
    """A dataset cannot be read or is not fit for training."""

    default_reason = "dataset_invalid"


class BundleError(SightloopError):
    """A release's files are not what they must be."""

    default_reason = "bundle_invalid"


class ManifestInvalidError(BundleError):
    """manifest.json is missing, unreadable or says something impossible."""

    default_reason = "manifest_invalid"


class FileSetError(BundleError):
    """A file is missing, unknown, a link, or outside the bundle."""

    default_reason = "file_set"


class DigestMismatchError(BundleError):
    """A file's bytes are not those the manifest names."""

    default_reason = "digest_mismatch"


class SignatureInvalidError(BundleError):
    """The manifest is not signed, wrongly signed, or signed by nobody trusted."""

    default_reason = "signature_invalid"


class DowngradeError(BundleError):
    """The release is older than what the slot has accepted."""

    default_reason = "downgrade"


class BackendError(SightloopError):
    """A network, or what runs it, failed."""

    default_reason = "backend_failed"


class ProviderUnavailableError(BackendError):
    """What shall run networks is not installed, does not start, or does not take this one."""

    default_reason = "provider_not_installed"


class ModelLoadError(BackendError):
    """The weights cannot be loaded."""

    default_reason = "model_unloadable"


class ChampionUnusableError(BackendError):
    """The champion cannot be run beside a candidate: no fault of the latter."""

    default_reason = "champion_unusable"


class ModelContractError(BackendError):
    """Shapes, names or classes are not those the manifest states."""

    default_reason = "model_contract"


class ServingError(SightloopError):
    """A running server cannot do what was asked."""

    default_reason = "serving_failed"


class LineNotFoundError(ServingError):
    """The server has no such model line."""

    default_reason = "line_not_found"


class ReleaseNotFoundError(ServingError):
    """No such release in the store or the slot's history."""

    default_reason = "release_not_found"


class ReleaseNotReadyError(ServingError):
    """No release can answer yet."""

    default_reason = "release_not_ready"
    retryable = True


class UpdateInProgressError(ServingError):
    """Another update of this line is running."""

    default_reason = "update_in_progress"
    retryable = True


class TransitionError(ServingError):
    """A lifecycle step the transition table does not allow."""

    default_reason = "transition_not_allowed"


class WorkerDiedError(ServingError):
    """The worker process ended while it held the request."""

    default_reason = "worker_died"
    retryable = True


class FrameKillsWorkerError(ServingError):
    """This frame has killed two workers and is not tried again."""

    default_reason = "frame_kills_worker"


class OverloadedError(ServingError):
    """The queue is full, or longer than the request's deadline allows; it was refused."""

    default_reason = "overloaded"
    retryable = True


class TooManyBytesError(OverloadedError):
    """The bodies of other requests leave no room for this one's; it was refused, mostly unread."""

    default_reason = "too_many_bytes"


class DeadlineExceededError(ServingError):
    """A worker had the request and did not answer before its deadline."""

    default_reason = "deadline_exceeded"
    retryable = True


class UnsupportedError(ServingError):
    """The client asks for a part of a protocol that this server does not offer."""

    default_reason = "unsupported"


class UnauthenticatedError(ServingError):
    """A call without a token, or with none that is known here."""

    default_reason = "token_missing"


class ForbiddenError(ServingError):
    """Who calls is known, or nobody is asked, and this call is not allowed all the same."""

    default_reason = "role_too_low"


class RateLimitedError(ServingError):
    """Too many calls from one address."""

    default_reason = "rate_limited"
    retryable = True


class RefusedAtStartError(ServingError):
    """A line's first release was refused by a gate.

    Attributes:
        outcome: The order's outcome with its verdicts, as JSON values.
    """

    default_reason = "release_refused"

    def __init__(
        self,
        message: str,
        outcome: dict[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.args = (message, outcome)
        self.outcome = outcome or {}


class RegistryError(SightloopError):
    """Tracking or the model registry failed."""

    default_reason = "registry_failed"


class VersionExistsError(RegistryError):
    """This semver of the line is taken by other content."""

    default_reason = "version_exists"


class PipelineError(SightloopError):
    """A pipeline run failed."""

    default_reason = "pipeline_failed"


class GraphInvalidError(PipelineError):
    """The steps' declaration does not fit together."""

    default_reason = "graph_invalid"


class StepFailedError(PipelineError):
    """A step ended with an error."""

    default_reason = "step_failed"


class TrainerError(PipelineError):
    """The trainer's process failed."""

    default_reason = "trainer_failed"


class ReleaseRefusedError(PipelineError):
    """A gate said no to what the run made; the verdict says why. Nothing was registered."""

    default_reason = "release_refused"


class ClientError(SightloopError):
    """A call to a server failed."""

    default_reason = "client_failed"


class ServerUnreachableError(ClientError):
    """Nobody answers at the address."""

    default_reason = "server_unreachable"
    retryable = True


class ServerRefusedError(ClientError):
    """The server answered with an error.

    Attributes:
        status: HTTP status of the answer.
        body: Decoded JSON body, or an empty dict.
    """

    default_reason = "server_refused"

    def __init__(
        self,
        message: str,
        reason: str | None = None,
        status: int = 500,
        body: dict[str, object] | None = None,
    ) -> None:
        super().__init__(message, reason)
        self.args = (message, reason, status, body)
        self.status = status
        self.body = body or {}
