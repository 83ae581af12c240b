"""Takes infer requests over REST: finds the model and lets the engine run them.

A quick model runs small requests here on the event loop, all of one turn of the loop together; anything else goes
through the model's own thread, so that health checks are answered while it runs.
"""

import math
import time
import weakref
from typing import Final

from fleetfit_runtime.engine.lane import LaneFull
from fleetfit_runtime.engine.run_watch import RunRefused
from fleetfit_runtime.engine.served_model import INLINE_S, ServedModel
from fleetfit_runtime.serve.errors import RequestError
from fleetfit_runtime.serve.failure_reason import FailureReason
from fleetfit_runtime.serve.http_message import HttpRequest
from fleetfit_runtime.serve.infer_job import InferJob, InferTools
from fleetfit_runtime.serve.infer_ledger import InferLedger
from fleetfit_runtime.serve.infer_plan import PlanCache
from fleetfit_runtime.serve.model_finder import ModelFinder
from fleetfit_runtime.serve.reading_pace import ReadingPace
from fleetfit_runtime.serve.response import Response, error_response
from fleetfit_runtime.serve.routes import Route

RETRY: Final = b"Retry-After: 1\r\n"


class InferCalls:
    """Answers infer requests.

    Args:
        finder: finds models by name and version.
        ledger: counts them.
        max_body_bytes: largest body after decompression.
    """

    def __init__(
        self,
        finder: ModelFinder,
        ledger: InferLedger,
        max_body_bytes: int,
    ) -> None:
        self._finder = finder
        self._ledger = ledger
        self._pace = ReadingPace(INLINE_S)
        self._tools = InferTools(ledger, max_body_bytes, self._pace)
        # The plans of a model go with it: another variant may have other tensors.
        self._plans: weakref.WeakKeyDictionary[ServedModel, PlanCache] = weakref.WeakKeyDictionary()
        self._latest: tuple[weakref.ref[ServedModel] | None, PlanCache] = (None, PlanCache())

    def begin(self, route: Route, request: HttpRequest) -> Response | None:
        """Take a request; return its answer if it cannot be run, else None: the request is answered later.

        Raises:
            RequestError: there is no such model.
        """
        begun_s = time.perf_counter()
        model = self._finder.find(route.model, route.version)
        try:
            job = InferJob(model, request, self._plans_of(model), self._tools, begun_s)
            self._read_if_quick(job)
            model.submit(job)
        except RequestError as error:
            self._ledger.refused(model, error.status, begun_s, request)
            return error_response(error.status, error.message)
        except RunRefused as refused:
            self._ledger.refused(model, refused.status, begun_s, request, FailureReason.UNAVAILABLE)
            return error_response(refused.status, str(refused), RETRY)
        except LaneFull:
            return self._overloaded(model, begun_s, request)
        return None

    def refuse(self, route: Route, request: HttpRequest) -> Response | None:
        """Answer a request at its head if its model has no place for it; None for all others."""
        begun_s = time.perf_counter()
        try:
            model = self._finder.find(route.model, route.version)
        except RequestError:
            return None  # Said when the request is there.
        return self._overloaded(model, begun_s, request) if model.full else None

    def _overloaded(self, model: ServedModel, begun_s: float, request: HttpRequest) -> Response:
        self._ledger.refused(model, 503, begun_s, request, FailureReason.OVERLOADED)
        retry = b"Retry-After: %d\r\n" % max(1, math.ceil(model.wait_s))
        return error_response(503, f"too many requests wait for model {model.name!r}", retry)

    def _plans_of(self, model: ServedModel) -> PlanCache:
        known, plans = self._latest
        if known is not None and known() is model:
            return plans
        found = self._plans.get(model)
        if found is None:
            found = self._plans[model] = PlanCache()
        self._latest = (weakref.ref(model), found)
        return found

    def _read_if_quick(self, job: InferJob) -> None:
        if not self._quick_to_read(job.request):
            return
        if job.request.head.inference_header_length is None and job.model.full:
            raise LaneFull  # Before its numbers are read for nothing.
        job.read()

    def _quick_to_read(self, request: HttpRequest) -> bool:
        """Tell whether reading a request holds up the loop for no longer than a run may; views of tensors are free."""
        if request.head.content_encoding is not None:
            return False
        length = request.head.inference_header_length
        return self._pace.is_quick(len(request.body) if length is None else length)
