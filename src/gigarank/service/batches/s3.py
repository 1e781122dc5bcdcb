"""A bucket of any store that speaks S3, through boto3. Address and keys come from where boto3 takes them: AWS_ENDPOINT_URL,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, a profile, or the machine's role.

Knows no database. Invariant: an object is written by one upload, which S3 shows whole or not at all.
"""

from pathlib import Path

from gigarank.errors import InvalidInput, MissingFile, StorageUnavailable

try:
    import boto3
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError as missing:
    raise InvalidInput(
        f"files_url: {missing.name} is not installed: pip install 'gigarank[s3]'", param="files_url", limit="gigarank[s3]"
    ) from missing

_FAILURES = (Boto3Error, BotoCoreError, ClientError)
_BEYOND = ("InvalidRange", "416")
_MISSING = ("NoSuchKey", "404")


class BucketStore:
    def __init__(self, bucket: str, prefix: str = "") -> None:
        self._bucket, self._prefix = bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        try:
            self._client = boto3.client("s3")
        except _FAILURES as error:
            raise _unavailable(error) from error

    def put(self, name: str, source: Path) -> None:
        try:
            self._client.upload_file(str(source), self._bucket, self._prefix + name)
        except _FAILURES as error:
            raise _unavailable(error) from error
        source.unlink(missing_ok=True)

    def read(self, name: str, offset: int, size: int) -> bytes:
        wanted = f"bytes={offset}-{offset + size - 1}"
        try:
            found = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name, Range=wanted)
            content: bytes = found["Body"].read()
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            if code in _BEYOND:
                return b""
            if code in _MISSING:
                raise MissingFile(_unavailable(error).message, retry_after=5.0) from error
            raise _unavailable(error) from error
        except _FAILURES as error:
            raise _unavailable(error) from error
        return content

    def delete(self, name: str) -> None:
        try:
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)
        except _FAILURES as error:
            raise _unavailable(error) from error


def _unavailable(error: Exception) -> StorageUnavailable:
    return StorageUnavailable(f"files cannot be kept or read: the bucket says {type(error).__name__}", retry_after=5.0)
