"""Requests an event from event-service as the service example-caller and prints the response.

Usage: DAPR_HTTP_PORT=... caller.py <event-id>. It connects only to its sidecar.
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
    with urllib.request.urlopen(urllib.request.Request(SIDECAR + path, headers=headers or {}), timeout=10) as response:
        return json.load(response)


def encode(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def service_token(secret):
    """Return a service token: a JWT that identifies the calling service for one minute."""
    now = int(time.time())
    claims = {"sub": APP_ID, "type": "SERVICE", "iat": now, "exp": now + 60}
    parts = [encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signature = hmac.new(secret.encode(), b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, encode(signature)]).decode()


try:
    secret = get("/secrets/secretstore/service-auth-secret")["service-auth-secret"]
    headers = {"X-Service-Token": service_token(secret), "X-Service-Name": APP_ID}
    print(json.dumps(get(f"/invoke/event-service/method/api/events/internal/{sys.argv[1]}", headers)))
except urllib.error.HTTPError as error:
    sys.exit(f"{error.code} {error.read().decode()}")
