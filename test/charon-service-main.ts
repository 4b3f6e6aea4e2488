// A service of its own process, for synchronous clients and for load: `node charon-service-main.js SOCKET`. Its Kernel
// says yes to everything. Prints "ready" when it listens, ends when its standard input does.

import { CharonService } from "../src/charon/service.js";
import { KernelFeature } from "../src/ipsec/kernel.js";
import { RecordingKernel } from "./charon-messages.js";

const [path] = process.argv.slice(2);
if (path === undefined) throw new Error("usage: charon-service-main SOCKET");

const kernel = new RecordingKernel();
// Notes would pile up under load.
kernel.notes.push = () => 0;
const print = (text: string) => process.stderr.write(`${text}\n`);
const service = CharonService.listen({
  path,
  kernel,
  features: KernelFeature.espV3Tfc | KernelFeature.policySpi,
  bootId: 1n,
  logger: { info: () => {}, warn: print },
});
process.stdout.write("ready\n");
process.stdin.resume().once("end", () => void service.stop());
