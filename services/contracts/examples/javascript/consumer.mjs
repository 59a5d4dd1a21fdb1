// Consumes ticket-events and prints each event once. The subscription is declared in ../components.
//
// The sidecar delivers events to the port APP_PORT. It authenticates itself with the token APP_API_TOKEN.
import { createHash, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const digest = (text) => createHash("sha256").update(text).digest(); // timingSafeEqual requires equal lengths
const token = process.env.APP_API_TOKEN;
if (!token) throw new Error("APP_API_TOKEN is not set");
const seen = new Set(); // a real consumer stores the ids in its database, in the transaction that applies the event

createServer(async (request, response) => {
  const respond = (status, body) => {
    response.writeHead(status, { "Content-Type": "application/json" });
    response.end(JSON.stringify(body));
  };
  if (request.method !== "POST") { // the sidecar asks for further subscriptions; there are none
    return respond(404, { error: "NOT_FOUND", message: "No such resource" });
  }
  if (!timingSafeEqual(digest(request.headers["dapr-api-token"] ?? ""), digest(token))) {
    return respond(401, { error: "SIDECAR_ONLY", message: "Only the sidecar may call this route" });
  }
  try {
    const chunks = await request.toArray();
    const event = JSON.parse(Buffer.concat(chunks).toString());
    if (!seen.has(event.id)) { // events are delivered at least once
      seen.add(event.id);
      console.log(JSON.stringify({ id: event.id, ...event.data }));
    }
    respond(200, { status: "SUCCESS" });
  } catch (error) {
    console.error(error.message);
    respond(422, { error: "MALFORMED_EVENT", message: "The event cannot be read" });
  }
}).listen(Number(process.env.APP_PORT), "127.0.0.1");
