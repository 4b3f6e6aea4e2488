// Answers pings that the kernel routes into a TUN device, until the pings of this very namespace have ended.
//
//   tun-echo.js DEVICE

import { spawn, spawnSync } from "node:child_process";
import { Link } from "../../src/engine/link.js";
import { close, ioctl, open } from "../../src/native/libc.js";
import { fold, pseudoHeader6, sum16, update16 } from "../../src/net/checksum.js";
import { interfaceRequest } from "../../src/ports/device.js";
import { createTun, deleteTun } from "../../src/ports/tun.js";
import { TunPort } from "../../src/ports/tun-port.js";
import { report } from "./child.js";
import { testContext } from "./context.js";

const device = process.argv[2];
const ip = (...args: string[]) => {
  const { status, stderr } = spawnSync("ip", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr}`);
};

/** Leaves the device with longer headers, as the program that made it may have. */
function lengthenHeaders(): void {
  const TUNSETIFF = 0x400454ca;
  const TUNSETVNETHDRSZ = 0x400454d8;
  const fd = open("/dev/net/tun", 2);
  const ifreq = interfaceRequest(device);
  new DataView(ifreq.buffer).setUint16(16, 0x5001, true); // IFF_TUN, IFF_NO_PI, IFF_VNET_HDR
  ioctl(fd, TUNSETIFF, ifreq, device);
  ioctl(fd, TUNSETVNETHDRSZ, new Uint8Array(Int32Array.of(12).buffer), device);
  close(fd);
}

createTun(device, 1400, false);
lengthenHeaders();
createTun(device, 1500, false); // adopts
ip("address", "add", "10.77.0.1/24", "dev", device);
ip("address", "add", "2001:db8:77::1/64", "dev", device, "nodad");
ip("link", "set", device, "up");

const context = testContext(64);
const { frames } = context;
const output = new Link(frames);
const port = new TunPort(context, { name: "tun", device, output });
createTun(device, 1500, false); // adopts while it is in use

let invalid = 0;
function swap(offset: number, length: number): void {
  const first = frames.bytes.slice(offset, offset + length);
  frames.bytes.copyWithin(offset, offset + length, offset + 2 * length);
  frames.bytes.set(first, offset + length);
}

/** Turns an echo request around; false for anything else. */
function answer(frame: number): boolean {
  const { view } = frames;
  const at = frames.offset[frame];
  const version = view.getUint8(at) >>> 4;
  const icmp = at + (version === 4 ? 20 : 40);
  const [request, reply] = version === 4 ? [8, 0] : [128, 129];
  const protocol = view.getUint8(at + (version === 4 ? 9 : 6));
  if (protocol !== (version === 4 ? 1 : 58) || view.getUint8(icmp) !== request) return false;
  const length = at + frames.length[frame] - icmp;
  const pseudo = version === 4 ? 0 : pseudoHeader6(view, at, 58, length);
  if (fold(sum16(view, icmp, length, pseudo)) !== 0) invalid++;
  if (version === 4) swap(at + 12, 4);
  else swap(at + 8, 16);
  view.setUint16(icmp + 2, update16(view.getUint16(icmp + 2), request << 8, reply << 8));
  view.setUint8(icmp, reply);
  return true;
}

const pings = [
  ["-c", "200", "-f", "-s", "56", "10.77.0.9"],
  ["-c", "200", "-f", "-s", "1400", "2001:db8:77::9"],
].map((args) => {
  const child = spawn("ping", ["-q", "-W", "2", ...args]);
  return new Promise<string>((resolve) => {
    let text = "";
    child.stdout.on("data", (data) => {
      text += data;
    });
    child.once("close", () => resolve(text));
  });
});
let done = false;
const answers = Promise.all(pings).then((texts) => {
  done = true;
  return texts;
});
while (!done) {
  for (let i = 0; i < 100; i++) {
    port.source.pull(64);
    while (output.readable > 0) {
      const frame = output.receive();
      if (answer(frame)) port.sink.input.transmit(frame);
      else frames.free(frame);
    }
    port.sink.push();
  }
  await new Promise((resolve) => setImmediate(resolve));
}

// A packet that is not IP is refused, one after the device went down too.
const refuse = () => {
  const frame = frames.from(new Uint8Array(40));
  port.sink.input.transmit(frame);
  port.sink.push();
};
refuse();
ip("link", "set", device, "down");
refuse();
const received = (await answers).map((text) => Number(/(\d+) received/.exec(text)?.[1]));
const heldBySpare = frames.capacity - frames.available;
port.close();
const persists = spawnSync("ip", ["link", "show", "dev", device]).status === 0;
deleteTun(device);
deleteTun(device);
const gone = spawnSync("ip", ["link", "show", "dev", device]).status !== 0;
let foreign = "";
ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1");
try {
  createTun("veth0", 1500, false);
} catch (error) {
  foreign = (error as Error).message;
}
report({
  received,
  invalid,
  heldBySpare,
  available: frames.available,
  capacity: frames.capacity,
  persists,
  gone,
  foreign,
  counters: context.read(),
});
