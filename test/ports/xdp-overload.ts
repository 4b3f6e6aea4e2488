// Too many packets for an XDP port, and packets for a device that is down: nothing hangs, every frame is accounted for.

import { spawnSync } from "node:child_process";
import { Link } from "../../src/engine/link.js";
import { NONE } from "../../src/memory/frames.js";
import { POLLIN } from "../../src/native/libc.js";
import { XdpPort } from "../../src/ports/xdp.js";
import { report } from "./child.js";
import { testContext } from "./context.js";

const context = testContext(1024);
const { frames } = context;
const output = new Link(frames);
const port = new XdpPort(context, { name: "x0", role: "private", output, ringSize: 128 });
const account = () => frames.available + port.inFlight;

function offer(count: number, length = 60): void {
  for (let i = 0; i < count; i++) {
    const frame = frames.allocate();
    if (frame === NONE) break;
    frames.length[frame] = length;
    frames.bytes.fill(0, frames.offset[frame], frames.offset[frame] + 60);
    port.sink.input.transmit(frame);
  }
  port.sink.push();
}

const down = () => {
  const { status } = spawnSync("ip", ["link", "set", "x0", "down"]);
  if (status !== 0) throw new Error("the device does not go down");
};
const results: Record<string, unknown> = { share: port.inFlight };
offer(10, 0);
results["empty"] = account();
for (let i = 0; i < 100; i++) offer(500);
results["overload"] = account();
down();
offer(500);
offer(500);
results["down"] = account();
results["waitsForRoom"] = port.waiting()[0].events !== POLLIN;
spawnSync("ip", ["link", "set", "x0", "up"]);
for (let i = 0; i < 1000 && port.inFlight > 128; i++) {
  port.sink.push();
  port.source.pull(64);
  while (output.readable > 0) frames.free(output.receive());
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
}
results["afterwards"] = account();
results["inFlight"] = port.inFlight;
port.close();
report({ ...results, capacity: frames.capacity, counters: context.read() });
