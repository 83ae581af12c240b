"""How a registry wants to be asked: with nothing, a user, or a token that another server gives."""

import base64
import re
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.credentials import Login
from fleetfit_runtime.store.oci_reference import OciReference

_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')
_TIMEOUT_S: Final = 30.0


async def authorization_for(
    http: aiohttp.ClientSession, challenge: str, reference: OciReference, login: Login | None, *, plain: bool
) -> dict[str, str]:
    """Return the headers that answer a registry's challenge.

    Args:
        http: the session.
        challenge: the registry's WWW-Authenticate header.
        reference: what is pulled.
        login: the user for the registry, if there is one.
        plain: whether the registry speaks http, so that its server of tokens may.

    Raises:
        ModelFailure: it cannot be answered.
        aiohttp.ClientError, TimeoutError: the server of tokens does not answer.
    """
    scheme, _, rest = challenge.partition(" ")
    if scheme.lower() == "basic" and login is not None:
        return {"Authorization": _basic(login)}
    parameters = dict(_PARAMETER.findall(rest))
    if scheme.lower() == "bearer" and "realm" in parameters:
        if login is not None and not plain and urlsplit(parameters["realm"]).scheme != "https":
            message = f"the registry {reference.registry} wants the password sent without encryption"
            raise ModelFailure(Reason.UNREACHABLE_SOURCE, message)
        return {"Authorization": f"Bearer {await _token(http, parameters, reference, login)}"}
    raise _refused(reference, login)


async def _token(
    http: aiohttp.ClientSession, parameters: dict[str, str], reference: OciReference, login: Login | None
) -> str:
    query = {"scope": f"repository:{reference.repository}:pull"}
    if "service" in parameters:
        query["service"] = parameters["service"]
    headers = {"Authorization": _basic(login)} if login is not None else {}
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with http.get(parameters["realm"], params=query, headers=headers, timeout=timeout) as response:
        if response.status != 200:
            raise _refused(reference, login)
        answer: Any = await response.json(content_type=None)
    token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
    if not isinstance(token, str):
        raise _refused(reference, login)
    return token


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()


def _refused(reference: OciReference, login: Login | None) -> ModelFailure:
    who = "this node's user for it" if login is not None else "anyone; it needs a user in a .dockerconfigjson"
    message = f"the registry {reference.registry} does not let {reference.repository} be pulled by {who}"
    # Secrets are renewed under a running node.
    return ModelFailure(Reason.UNREACHABLE_SOURCE, message, transient=True)
