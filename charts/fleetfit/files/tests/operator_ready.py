"""Exits with 0 when the operator at OPERATOR_URL is ready and shows its metrics; run by `helm test`."""

import os
import urllib.request

url = os.environ["OPERATOR_URL"]
with urllib.request.urlopen(f"{url}/readyz", timeout=10) as answer:  # noqa: S310 - the chart sets an http address
    print(f"/readyz: {answer.status}")  # noqa: T201 - the log of a test pod
with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310 - as above
    metrics = answer.read().decode()
if "fleetfit_leader" not in metrics:
    raise SystemExit("/metrics does not show fleetfit_leader")
print("/metrics: ok")  # noqa: T201 - as above
