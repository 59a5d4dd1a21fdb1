// Asks event-service for an event, as the service example-caller, and prints the answer.
//
// Usage: DAPR_HTTP_PORT=... node caller.mjs <event-id>. It talks to nothing but its sidecar.
import { createHmac } from "node:crypto";

const appID = "example-caller";
const sidecar = `http://127.0.0.1:${process.env.DAPR_HTTP_PORT}/v1.0`;

async function get(path, headers = {}) {
  const answer = await fetch(sidecar + path, { headers, signal: AbortSignal.timeout(10_000) });
  const body = await answer.text();
  if (!answer.ok) throw new Error(`${answer.status} ${body}`);
  return JSON.parse(body);
}

// A JWT of one minute that says which service is calling.
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
