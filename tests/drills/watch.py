"""`python -m drills.watch HOST:PORT`: for each number that it reads, what so many calls of the cluster's replicas there told.

A program of its own, since Ray keeps things for as long as a process lives, and a drill's process sees several clusters. Knows
no drill. Invariant: a line that comes in is answered by one line, a JSON array; {} in it is a call that no replica answered.
"""

import json
import sys
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from gigarank.cluster.options import APPLICATION, DEPLOYMENT

_ANSWER_S = 5.0


def main(address: str) -> None:
    ray.init(address=address, log_to_driver=False, configure_logging=False)
    handle = serve.get_deployment_handle(DEPLOYMENT, APPLICATION)
    for line in sys.stdin:
        asked = [handle.described.remote() for _ in range(int(line))]  # at once: one after another could all go to one replica
        print(json.dumps([_told(one) for one in asked]), flush=True)


def _told(response: Any) -> Any:
    try:
        return response.result(timeout_s=_ANSWER_S)
    except (RayError, RayServeException, TimeoutError):
        return {}


if __name__ == "__main__":
    main(sys.argv[1])
