// Starts the SNS/SQS emulator: node fauxqs.mjs <node_modules> <data directory>, with its port in FAUXQS_PORT.
// Its own command listens on every interface and logs every request, and waits for the disk at each of its writes, during
// which nobody gets an answer. What is written outlives the process without that, however it dies.
import net from "node:net";
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [packages, dataDir] = process.argv.slice(2);

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (options, ...rest) {
  return listen.call(this, { ...options, host: "127.0.0.1" }, ...rest);
};

const exec = DatabaseSync.prototype.exec;
DatabaseSync.prototype.exec = function (sql) {
  exec.call(this, sql);
  if (sql.startsWith("PRAGMA journal_mode")) exec.call(this, "PRAGMA synchronous = OFF");
};

const { startFauxqs } = await import(pathToFileURL(join(packages, "fauxqs/dist/app.js")).href);
const server = await startFauxqs({ logger: { level: "warn" }, dataDir });
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, async () => {
    await server.stop();
    process.exit(0);
  });
}
