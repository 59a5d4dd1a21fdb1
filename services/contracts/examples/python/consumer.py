"""Consumes ticket-events and prints each event once. The subscription is declared in ../components.

The sidecar delivers events to the port APP_PORT. It authenticates itself with the token APP_API_TOKEN.
"""
import hmac
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = os.environ["APP_API_TOKEN"]
seen = set()  # a real consumer stores the ids in its database, in the transaction that applies the event


class Events(BaseHTTPRequestHandler):
    def do_GET(self):  # the sidecar asks for further subscriptions; there are none
        self.respond(404, {"error": "NOT_FOUND", "message": "No such resource"})

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        if not hmac.compare_digest(self.headers.get("dapr-api-token", ""), TOKEN):
            return self.respond(401, {"error": "SIDECAR_ONLY", "message": "Only the sidecar may call this route"})
        try:
            event = json.loads(self.rfile.read(length))
            line = json.dumps({"id": event["id"], **event["data"]})
        except (ValueError, KeyError, TypeError):
            return self.respond(422, {"error": "MALFORMED_EVENT", "message": "The event cannot be read"})
        if event["id"] not in seen:  # events are delivered at least once
            seen.add(event["id"])
            print(line, flush=True)
        self.respond(200, {"status": "SUCCESS"})

    def respond(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):  # do not log requests; print only one line per event
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), Events).serve_forever()
