"""A Label Studio server: its projects, and their tasks, by its HTTP interface (1.23; https://api.labelstud.io)."""

import base64
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cellcount.errors import CellcountError, DataError, NotAvailableError, ParameterError

SECONDS = 120  # that a server may take to answer; it needs a second for a batch
BATCH = 8e6  # bytes of tasks in one request; servers behind a proxy often refuse 10 MB or more
PAGE = 100  # tasks in one answer
LOCAL = ("localhost", "127.0.0.1", "::1")
_WHERE = "Account & Settings of its web page"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST becomes a GET, and the token would go to another address: the user is told instead."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Server:
    """A Label Studio server and a person's access to it.

    Parameters
    ----------
    url : str
        Address of the web page, such as http://localhost:8080.
    token : str
        A personal access token (1.18 and later; sent to get an access token, which holds for minutes), or a legacy
        token.
    seconds : float
        That the server may take for an answer.

    Raises
    ------
    ParameterError
        If the address or the token cannot be one. Every method raises one if the server refuses the token, a
        NotAvailableError if there is no server, a DataError if there is no such project, and another CellcountError if
        the server does not answer as it should.
    """

    def __init__(self, url: str, token: str, seconds: float = SECONDS) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ParameterError(f"--url {url}: give the address of the web page, such as http://localhost:8080.")
        if not token.isascii() or not token.isprintable() or not token or " " in token:
            raise ParameterError(f"This is not a token of Label Studio; copy it from {_WHERE}.")
        self.url, self._token, self._seconds = url.rstrip("/"), token, seconds
        # An environment's proxy does not reach this machine.
        proxies = [urllib.request.ProxyHandler({})] if parts.hostname in LOCAL else []
        self._opener = urllib.request.build_opener(_NoRedirects, *proxies)
        self._access = "" if _kind(token) == "refresh" else f"{'Bearer' if _kind(token) else 'Token'} {token}"

    def project(self, number: int) -> dict[str, Any]:
        """A project by its number."""
        return self._ask("GET", f"/api/projects/{number}/", has=("id", "title"))

    def find_projects(self, title: str) -> list[dict[str, Any]]:
        """The projects with exactly this title."""
        query = urllib.parse.urlencode({"title": title, "page_size": 1000})
        found = self._ask("GET", f"/api/projects/?{query}", has=("results",))["results"]
        return [one for one in found if one["title"] == title]

    def create_project(self, title: str, config: str) -> dict[str, Any]:
        """A new project with this title and labelling configuration."""
        return self._ask("POST", "/api/projects/", {"title": title, "label_config": config}, has=("id", "title"))

    def notes(self, project: int) -> dict[int, dict[str, Any]]:
        """{number of a task: its `meta`} of all tasks of a project, without their images."""
        found: dict[int, dict[str, Any]] = {}
        page, total = 1, 1
        while len(found) < total:
            query = urllib.parse.urlencode({"project": project, "include": "id,meta", "page_size": 500, "page": page})
            answer = self._ask("GET", f"/api/tasks/?{query}", has=("total", "tasks"))
            before, total, page = len(found), int(answer["total"]), page + 1
            found |= {one["id"]: one.get("meta") or {} for one in answer["tasks"]}
            if len(found) == before:
                break  # tasks were deleted meanwhile
        return found

    def send(self, project: int, tasks: Iterable[dict[str, Any]]) -> Iterator[int]:
        """Import tasks in batches; yields the number of tasks in each when the server has it."""
        batch: list[str] = []
        for text in map(json.dumps, tasks):
            if batch and sum(map(len, batch)) + len(text) > BATCH:
                yield self._import(project, batch)
                batch = []
            batch.append(text)
        if batch:
            yield self._import(project, batch)

    def _import(self, project: int, batch: list[str]) -> int:
        self._ask("POST", f"/api/projects/{project}/import", text=f"[{','.join(batch)}]")
        return len(batch)

    def export(self, project: int) -> Iterator[list[dict[str, Any]]]:
        """All tasks of a project with their annotations and drafts, as in its JSON export; some at a time."""
        numbers = sorted(self.notes(project))
        for start in range(0, len(numbers), PAGE):
            ids = [("ids[]", number) for number in numbers[start : start + PAGE]]
            query = urllib.parse.urlencode([("exportType", "JSON"), ("download_all_tasks", "true"), *ids])
            answer = self._ask("GET", f"/api/projects/{project}/export?{query}")
            if not isinstance(answer, list):
                raise self._foreign("no list of tasks")
            yield answer

    def _ask(self, method: str, path: str, body: Any = None, *, text: str = "", has: Sequence[str] = ()) -> Any:
        """The parsed JSON of an answer, an object that `has` these keys if there are any."""
        data = (text or json.dumps(body)).encode() if text or body is not None else None
        for attempt in (1, 2):
            if not self._access:
                self._refresh()
            try:
                return self._send(method, path, data, {"Authorization": self._access}, has)
            except PermissionError as error:
                if attempt == 2 or _kind(self._token) != "refresh":
                    raise self._refused(str(error)) from error
                self._access = ""  # it has expired
        raise AssertionError

    def _refresh(self) -> None:
        """Get an access token for the personal one."""
        data = json.dumps({"refresh": self._token}).encode()
        try:
            answer = self._send("POST", "/api/token/refresh/", data, {}, ("access",))
            self._access = f"Bearer {answer['access']}"
        except PermissionError as error:
            raise self._refused(str(error)) from error

    def _refused(self, detail: str) -> ParameterError:
        return ParameterError(f"{self.url} refuses the token ({detail}). Copy a token from {_WHERE}.")

    def _send(self, method: str, path: str, data: bytes | None, headers: dict[str, str], has: Sequence[str]) -> Any:
        headers = headers | {"Content-Type": "application/json", "Accept": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with self._opener.open(request, timeout=self._seconds) as answer:
                content, kind = answer.read(), answer.headers.get("Content-Type", "")
        except urllib.error.HTTPError as error:
            raise self._failure(error, f"{method} {path.split('?')[0]}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(error, urllib.error.URLError) and not isinstance(reason, TimeoutError):
                there = f"There is no server at {self.url} ({reason}). Start it with `label-studio start`"
                raise NotAvailableError(f"{there}, or correct --url.") from error
            late = f"did not answer within {self._seconds:g} s"
            what = late if isinstance(reason, TimeoutError) else f"broke off its answer ({error!r})"
            raise CellcountError(f"{self.url} {what}. Nothing is lost: give the command again.") from error
        try:
            found = json.loads(content or "null")
        except (ValueError, RecursionError) as error:
            raise self._foreign(f"{kind or 'something'} instead of JSON") from error
        if has and not (isinstance(found, dict) and set(has) <= set(found)):
            raise self._foreign("an answer of another form")
        return found

    def _failure(self, error: urllib.error.HTTPError, request: str) -> Exception:
        """What an answer with an error's status means."""
        with error:
            content = error.read()
        try:
            answer = json.loads(content)
            detail = str(answer.get("validation_errors") or answer.get("detail") or "")
        except (ValueError, AttributeError, RecursionError):
            detail = ""
        if error.code in (401, 403):
            return PermissionError(detail or f"status {error.code}")
        if error.code in range(300, 400):
            return CellcountError(f"{self.url} sends to {error.headers.get('Location')}: give that address with --url.")
        if error.code == 404:
            gone = f"{self.url} has no such project (any more): it was deleted, or belongs to somebody else"
            return (
                DataError(f"{gone}. Push to another one with --project TITLE.") if detail else self._foreign("a page")
            )
        if error.code == 413:
            return CellcountError(f"{self.url} refuses requests of {BATCH / 1e6:g} MB; raise the limit of its proxy.")
        return CellcountError(f"{self.url} failed at {request} (status {error.code}). {' '.join(detail.split())[:300]}")

    def _foreign(self, what: str) -> CellcountError:
        return CellcountError(f"{self.url} sent {what}: it is no Label Studio server, or --url has a wrong path.")


def _kind(token: str) -> str:
    """ "refresh" or "access" of a JSON web token; "" of a legacy token."""
    parts = token.split(".")
    if len(parts) != 3:
        return ""
    try:
        middle = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return str(middle.get("token_type", "refresh"))
    except (ValueError, AttributeError):
        return "refresh"
