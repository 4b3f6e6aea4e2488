// Prints what arrives at an XDP port with several queues, until nothing came for a second and a half.
//
//   xdp-queues.js READY-FILE [QUEUE...]      all queues of the device without a list

import { writeFileSync } from "node:fs";
import { Link } from "../../src/engine/link.js";
import { parseAddress } from "../../src/net/address.js";
import { receiveQueues } from "../../src/ports/device.js";
import { XdpPort } from "../../src/ports/xdp.js";
import { report } from "./child.js";
import { testContext } from "./context.js";

const context = testContext(512);
const { frames } = context;
const output = new Link(frames);
const local = [parseAddress("192.0.2.1") as Uint8Array];
const chosen = process.argv.slice(3).map(Number);
const queues = chosen.length > 0 ? { queues: chosen } : {};
const port = new XdpPort(context, { name: "p0", role: "private", output, local, ...queues });
writeFileSync(process.argv[2], "");
const payloads: string[] = [];
let last = Date.now() + 8000;
while (Date.now() < last) {
  port.source.pull(64);
  while (output.readable > 0) {
    const frame = output.receive();
    payloads.push(Buffer.from(frames.copy(frame).subarray(42)).toString("latin1"));
    frames.free(frame);
    last = Date.now() + 1500;
  }
  await new Promise((resolve) => setTimeout(resolve, 2));
}
port.close();
report({ payloads, queues: receiveQueues("p0") });
