"""Hears ticket-events and prints each event once. The subscription is declared in ../components.

APP_PORT is where the sidecar delivers; APP_API_TOKEN is what it shows, so that nobody else can.
"""
import hmac
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = os.environ["APP_API_TOKEN"]
seen = set()  # a real consumer keeps these in its database, in the transaction of what the event changes


class Events(BaseHTTPRequestHandler):
    def do_GET(self):  # the sidecar asks what this app subscribes to: nothing beyond what is declared
        self.answer(404, {"error": "NOT_FOUND", "message": "No such resource"})

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        if not hmac.compare_digest(self.headers.get("dapr-api-token", ""), TOKEN):
            return self.answer(401, {"error": "SIDECAR_ONLY", "message": "Only the sidecar may call this route"})
        try:
            event = json.loads(self.rfile.read(length))
            line = json.dumps({"id": event["id"], **event["data"]})
        except (ValueError, KeyError, TypeError):
            return self.answer(422, {"error": "MALFORMED_EVENT", "message": "The event cannot be read"})
        if event["id"] not in seen:  # the same event may come again
            seen.add(event["id"])
            print(line, flush=True)
        self.answer(200, {"status": "SUCCESS"})

    def answer(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):  # one line per event, and no other
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), Events).serve_forever()
