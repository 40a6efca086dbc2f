"""Label Studio in tests: a stand-in of its server in this process, and annotations as its editor stores them."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TOKEN = "0123456789abcdef0123456789abcdef01234567"
REFRESH = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2lnbmF0dXJl"  # {"token_type": "refresh"}


class StandIn:
    """The state of a server with the answers of Label Studio 1.23 that are used; `fault` may answer before it.

    fault : function (method, path, number of the request) -> (status, headers, bytes), or None
    """

    def __init__(self):
        self.projects, self.tasks, self.requests, self.access, self.fault = {}, {}, [], [], None

    def answer(self, method, path, query, body, authorization):
        if path == "/api/token/refresh/":
            if body != {"refresh": REFRESH}:
                return 401, {"detail": "Token is invalid"}
            self.access.append(f"access-{len(self.access)}")
            return 200, {"access": self.access[-1]}
        if authorization not in (f"Token {TOKEN}", f"Bearer {self.access[-1] if self.access else None}"):
            return 401, {"detail": "Invalid token."}
        if path == "/api/projects/":
            if method == "GET":
                return 200, {"results": [p for p in self.projects.values() if query["title"][0] in p["title"]]}
            number = len(self.projects) + 1
            self.projects[number] = {"id": number, **body}
            self.tasks[number] = []
            return 201, self.projects[number]
        number = int(query["project"][0] if "project" in query else path.split("/")[3])
        if number not in self.projects:
            return 404, {"detail": "No Project matches the given query."}
        tasks = self.tasks[number]
        if path == "/api/tasks/":
            start = (int(query["page"][0]) - 1) * int(query["page_size"][0])
            page = tasks[start : start + int(query["page_size"][0])]
            return 200, {"total": len(tasks), "tasks": [{"id": one["id"], "meta": one["meta"]} for one in page]}
        if path.endswith("/import"):
            for one in body:
                tasks.append(one | {"id": len(tasks) + 1, "annotations": [], "drafts": []})
            return 201, {"task_count": len(body)}
        if path.endswith("/export"):
            return 200, [one for one in tasks if str(one["id"]) in query["ids[]"]]
        return 200, self.projects[number]


@contextlib.contextmanager
def stand_in():
    """A `StandIn` and its address."""
    state = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            state.requests.append((self.command, parts.path))
            given = state.fault(self.command, parts.path, len(state.requests)) if state.fault else None
            if given is None:
                body = json.loads(content) if content else None
                query = parse_qs(parts.query)
                status, body = state.answer(self.command, parts.path, query, body, self.headers.get("Authorization"))
                given = status, {"Content-Type": "application/json"}, json.dumps(body).encode()
            status, headers, content = given
            if not status:  # the connection breaks
                return self.close_connection
            self.send_response(status)
            for name, value in ({"Content-Length": len(content)} | headers).items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield state, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def edited(task, *, moved=0, deleted=0, added=(), by=(3.0, -2.0)):
    """The result of an annotation, as the editor stores it: a copy of the prediction, corrected.

    The first points are moved by `by` px (y, x), the last are deleted, and points `added` (y, x) px in the crop.
    """
    predicted = task["predictions"][0]["result"]
    height, width = task["data"]["height"], task["data"]["width"]
    result = [{**one, "origin": "prediction", "value": dict(one["value"])} for one in predicted]
    result = result[: len(result) - deleted]
    for one in result[:moved]:
        one["origin"] = "prediction-changed"
        one["value"]["x"] += by[1] / width * 100
        one["value"]["y"] += by[0] / height * 100
    for number, (y, x) in enumerate(added):
        value = {"x": (x + 0.5) / width * 100, "y": (y + 0.5) / height * 100, "width": 0.33}
        result.append({
            "id": f"m{number}", "from_name": "cells", "to_name": "image", "type": "keypointlabels", "origin": "manual",
            "original_width": width, "original_height": height, "image_rotation": 0,
            "value": value | {"keypointlabels": ["Live Cell"]},
        })  # fmt: skip
    return result
