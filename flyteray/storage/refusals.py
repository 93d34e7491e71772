"""An object store's refusal in plain words: what was refused and why, and what to do. No effects here."""

from __future__ import annotations

import re

from flyteray.errors import StorageError

# What obstore adds for those who debug it may hold signatures and tokens, and so is shown to nobody.
_DETAILS = "\n\nDebug source:"
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([\w.]+)</Code>|\(code: ([\w.]+)\)|\"code\": *\"([\w.]+)\"")
_SERVER = re.compile(r"https?://(?:[^/\s?@]*@)?([^/\s?]+)")
_RETRIES = re.compile(r"in ([\d.]+)(m?s), after (\d+) retries")
_SYSTEM = re.compile(r"(?:message|error): \"([^\"]+)\"")  # the operating system's words, in the details
_METADATA = ("169.254.", "metadata.google.internal", "fd00:ec2::254")  # where machines ask for their roles

_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (the files in ~/.aws are not read)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_ADDRESS = {"s3": "AWS_ENDPOINT_URL", "gs": "GOOGLE_BASE_URL", "az": "AZURE_STORAGE_ENDPOINT"}
_NOT_KNOWN = (
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
    "AuthenticationFailed",
)
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "InvalidBucketName", "ContainerBeingDeleted")
_ELSEWHERE = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")


def explained(url: str, verb: str, key: str, error: BaseException) -> StorageError:
    """An error of obstore's while ``verb``, such as ``"write"``, was done to a key of the storage at ``url``."""
    what = f" {key!r}" if key else ""
    return StorageError(f"Storage {url} did not let us {verb}{what}: {reason(url, verb, str(error))}")


def is_of_bucket(error: BaseException) -> bool:
    """Whether what is missing is the bucket."""
    return _code(str(error)) in _NO_BUCKET


def reason(url: str, verb: str, problem: str) -> str:
    """Why, and what to do, without anything that is secret; ``problem`` is obstore's text."""
    told, _, details = problem.partition(_DETAILS)
    kind = _kind(url)
    variables = _CREDENTIALS.get(kind, "the variables that this kind of storage has")
    where = (
        f"{variables}, where the cluster's nodes are started (a local cluster: `flyteray down`, then again)"
    )
    code, status = _code(told), _found(_STATUS, told)
    answer = " ".join(each for each in (status, code) if each)
    server = _found(_SERVER, told) or "the server"
    if any(each in told for each in _METADATA) or "Missing" in told:
        return f"this process has no credentials for it. Set {where}."
    if code in _NOT_KNOWN or status == "401":
        return f"{server} does not take this process's credentials ({answer}). Set the right ones: {where}."
    if code in _NO_BUCKET:
        return f"there is no such bucket on {server} ({answer}). Create it, or name another one in the URL."
    if status == "403":
        return (
            f"{server} forbids it ({answer}): this process's credentials are wrong, or may not {verb} there. Give them "
            "that right, or others to the process."
        )
    if code in _ELSEWHERE or status in ("301", "307"):
        return f"the bucket is in another region ({answer}). Set AWS_REGION to the bucket's."
    if "BadScheme" in details:
        return f"{server} is asked without encryption, which has to be allowed: set AWS_ALLOW_HTTP=true."
    often = _repeated(told)
    if status is not None and (status == "429" or status >= "500"):
        return f"{server} failed{often} ({answer}). Try again when it is well."
    if "HTTP error" in told or "HttpError" in details:
        system = _found(_SYSTEM, details) or told.rpartition("HTTP error: ")[2].partition("\n")[0]
        address = _ADDRESS.get(kind, "the URL")
        return f"{server} can't be reached{often} ({system}). Check {address}, the network, and that the server runs."
    first = told.partition("\n")[0]
    return f"{first}. Check the URL, the network, and the credentials in this process's environment."


def _kind(url: str) -> str:
    scheme = url.partition("://")[0]
    return "az" if scheme.startswith(("az", "abfs")) else scheme


def _code(told: str) -> str | None:
    return _found(_CODE, told)


def _found(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return next(filter(None, found.groups()), None) if found else None


def _repeated(told: str) -> str:
    found = _RETRIES.search(told)
    if found is None:
        return ""
    seconds = float(found[1]) / (1000 if found[2] == "ms" else 1)
    return f", asked {int(found[3]) + 1} times in {seconds:.1f} s"
