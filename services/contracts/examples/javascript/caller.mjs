// Requests an event from event-service as the service example-caller and prints the response.
//
// Usage: DAPR_HTTP_PORT=... node caller.mjs <event-id>. It connects only to its sidecar.
import { createHmac } from "node:crypto";

const appID = "example-caller";
const sidecar = `http://127.0.0.1:${process.env.DAPR_HTTP_PORT}/v1.0`;

async function get(path, headers = {}) {
  const response = await fetch(sidecar + path, { headers, signal: AbortSignal.timeout(10_000) });
  const body = await response.text();
  if (!response.ok) throw new Error(`${response.status} ${body}`);
  return JSON.parse(body);
}

// Returns a service token: a JWT that identifies the calling service for one minute.
function serviceToken(secret) {
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: appID, type: "SERVICE", iat: now, exp: now + 60 };
  const signed = [{ alg: "HS256", typ: "JWT" }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

try {
  const { "service-auth-secret": secret } = await get("/secrets/secretstore/service-auth-secret");
  const headers = { "X-Service-Token": serviceToken(secret), "X-Service-Name": appID };
  console.log(JSON.stringify(await get(`/invoke/event-service/method/api/events/internal/${process.argv[2]}`, headers)));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
