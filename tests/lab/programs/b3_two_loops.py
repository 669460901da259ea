"""Two TestClients open at once

runs: 12
cause: Two live loops share one pool. A connection's callbacks then run on one loop while another waits for it: with asyncpg that ends in "attached to a different loop", or in a crash of the interpreter. (Run twelve times; each way to fail that was ever seen is listed.)
"""

import service
from fastapi.testclient import TestClient


def test_one():
    with TestClient(service.app) as first, TestClient(service.app) as second:
        for number in range(20):
            assert first.post(f"/providers/first-{number}").status_code == 200
            assert second.post(f"/providers/second-{number}").status_code == 200
