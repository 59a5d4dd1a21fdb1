// Starts the SNS/SQS emulator: node fauxqs.mjs <node_modules> <data directory>, with its port in FAUXQS_PORT.
//
// The emulator's own command listens on all interfaces, logs every request, and waits for the disk after each write. This
// script listens on loopback only, logs warnings, and turns off that wait, which blocks all requests. Written data still
// survives a crash of the process, but not a crash of the machine.
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
