"""Asks event-service for an event, as the service example-caller, and prints the answer.

Usage: DAPR_HTTP_PORT=... caller.py <event-id>. It talks to nothing but its sidecar.
"""
import base64
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.request

APP_ID = "example-caller"
SIDECAR = f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}/v1.0"


def get(path, headers=None):
    with urllib.request.urlopen(urllib.request.Request(SIDECAR + path, headers=headers or {}), timeout=10) as answer:
        return json.load(answer)


def encode(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def service_token(secret):
    """A JWT of one minute that says which service is calling."""
    now = int(time.time())
    claims = {"sub": APP_ID, "type": "SERVICE", "iat": now, "exp": now + 60}
    parts = [encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signature = hmac.new(secret.encode(), b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, encode(signature)]).decode()


try:
    secret = get("/secrets/secretstore/service-auth-secret")["service-auth-secret"]
    headers = {"X-Service-Token": service_token(secret), "X-Service-Name": APP_ID}
    print(json.dumps(get(f"/invoke/event-service/method/api/events/internal/{sys.argv[1]}", headers)))
except urllib.error.HTTPError as refused:
    sys.exit(f"{refused.code} {refused.read().decode()}")
