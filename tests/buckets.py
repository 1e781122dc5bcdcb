"""A real S3 server for tests: moto's, in a process of its own, with the bucket `rows`."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyarrow import fs

_CODE = "import sys; from moto.server import main; main(['-p', '0'])"


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """The environment in which s3:// means this server."""
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-u", "-c", _CODE], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = ""
    while not (found := re.search(r"http://(127\.0\.0\.1:\d+)", line)):
        line = process.stderr.readline()
        assert process.poll() is None
    filesystem: Any = fs.S3FileSystem(
        access_key="a",
        secret_key="b",
        region="us-east-1",
        endpoint_override=found[1],
        scheme="http",
        allow_bucket_creation=True,
    )
    filesystem.create_dir("rows")
    values = {"ENDPOINT_URL": found[0], "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1"}
    yield {f"AWS_{name}": value for name, value in values.items()}
    process.kill()
    process.wait(10)
    process.stderr.close()
