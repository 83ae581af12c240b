"""How requests for one model may run together: what a user declares, and what a node is told."""

from pydantic import ConfigDict, Field

from fleetfit_api.base import ApiModel, cel, maximum_message

# Defaults are not there yet when the API server checks the default of the whole.
_NO_WAIT = "!has(self.maxWaitMilliseconds) || self.maxWaitMilliseconds == 0.0"


class Batching(ApiModel):
    """How requests run together. Only models whose items were proven to be independent of each other ever do."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                f"!has(self.enabled) || self.enabled || {_NO_WAIT}",
                "a wait for others needs batching: with enabled false, maxWaitMilliseconds must be 0",
            ),
            (
                f"!has(self.maxItems) || self.maxItems > 1 || {_NO_WAIT}",
                "a wait for others needs room for them: with maxWaitMilliseconds, maxItems must be at least 2",
            ),
        )
    )

    enabled: bool = Field(
        default=True, description="Whether requests that are ready together run as one batch."
    )
    max_items: int | None = Field(
        default=None,
        ge=1,
        description="Most items of a batch; as many as the node has seen to gain time, up to 16, when absent.",
        json_schema_extra=cel(("self <= 16", "maxItems is at most 16: nodes try no larger batch")),
    )
    max_wait_milliseconds: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        description="Longest time in milliseconds that a request waits for others to run with; without it requests "
        "that are there already run together, and none waits.",
        json_schema_extra=maximum_message("maxWaitMilliseconds is at most 1000, which is a second"),
    )

    @property
    def max_wait_s(self) -> float:
        """Longest wait in seconds."""
        return self.max_wait_milliseconds / 1000
