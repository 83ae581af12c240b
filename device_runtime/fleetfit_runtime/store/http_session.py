"""The process's one HTTP session, made at its first use: a node with its models on disk serves before it needs one."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp


class HttpSession:
    """Gives the session to whoever fetches; proxies come from the environment."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def get(self) -> "aiohttp.ClientSession":
        """Return the session; called on the event loop."""
        if self._session is None:
            # Takes a tenth of a second, which nobody waits for who fetches nothing.
            import aiohttp

            self._session = aiohttp.ClientSession(trust_env=True)
        return self._session

    async def close(self) -> None:
        """Close it, if there was one."""
        if self._session is not None:
            await self._session.close()
