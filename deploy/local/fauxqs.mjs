// Starts the SNS/SQS emulator: node fauxqs.mjs <node_modules> <data directory>, with its port in FAUXQS_PORT.
// Its own command listens on every interface and logs every request.
import net from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [packages, dataDir] = process.argv.slice(2);

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (options, ...rest) {
  return listen.call(this, { ...options, host: "127.0.0.1" }, ...rest);
};

const { startFauxqs } = await import(pathToFileURL(join(packages, "fauxqs/dist/app.js")).href);
const server = await startFauxqs({ logger: { level: "warn" }, dataDir });
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, async () => {
    await server.stop();
    process.exit(0);
  });
}
