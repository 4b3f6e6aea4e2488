// Opens an XDP port on the device x0, says what came of it in one line, and holds it until it is killed.
//
//   xdp-hold.js [UID]     as another user, who may do nothing

import { setTimeout as sleep } from "node:timers/promises";
import { Link } from "../../src/engine/link.js";
import { XdpPort } from "../../src/ports/xdp.js";
import { testContext } from "./context.js";

if (process.argv[2]) process.setuid?.(Number(process.argv[2]));
const context = testContext(256);
const output = new Link(context.frames);
const start = performance.now();
try {
  const port = new XdpPort(context, { name: "x0", role: "public", output });
  process.stdout.write(`open after ${Math.round(performance.now() - start)} ms in ${port.mode} mode\n`);
} catch (error) {
  process.stdout.write(`${(error as Error).message}\n`);
  process.exit(1);
}
for (;;) await sleep(1000);
