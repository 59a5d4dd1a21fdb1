// Hears ticket-events and prints each event once. The subscription is declared in ../components.
//
// APP_PORT is where the sidecar delivers; APP_API_TOKEN is what it shows, so that nobody else can.
import { createHash, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const digest = (text) => createHash("sha256").update(text).digest(); // of equal length, as comparing asks for
const token = process.env.APP_API_TOKEN;
if (!token) throw new Error("APP_API_TOKEN is not set");
const seen = new Set(); // a real consumer keeps these in its database, in the transaction of what the event changes

createServer(async (request, response) => {
  const answer = (status, body) => {
    response.writeHead(status, { "Content-Type": "application/json" });
    response.end(JSON.stringify(body));
  };
  if (request.method !== "POST") { // the sidecar asks what this app subscribes to: nothing beyond what is declared
    return answer(404, { error: "NOT_FOUND", message: "No such resource" });
  }
  if (!timingSafeEqual(digest(request.headers["dapr-api-token"] ?? ""), digest(token))) {
    return answer(401, { error: "SIDECAR_ONLY", message: "Only the sidecar may call this route" });
  }
  try {
    const chunks = await request.toArray();
    const event = JSON.parse(Buffer.concat(chunks).toString());
    if (!seen.has(event.id)) { // the same event may come again
      seen.add(event.id);
      console.log(JSON.stringify({ id: event.id, ...event.data }));
    }
    answer(200, { status: "SUCCESS" });
  } catch (error) {
    console.error(error.message);
    answer(422, { error: "MALFORMED_EVENT", message: "The event cannot be read" });
  }
}).listen(Number(process.env.APP_PORT), "127.0.0.1");
