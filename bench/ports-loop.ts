// Sends ESP from a port on one end of a veth pair to a port on the other, in one process, and tells what a packet costs:
// `ports-loop DRIVER PACKETS SIZE MILLISECONDS x ADDRESS`, in a namespace with both ends, x0 and x1, of which x1 has the address.
// Everything that the kernel does for a packet is done on this process' account, so that the time for each packet is all
// that it costs.

import { Link } from "../src/engine/link.js";
import { KernelDeafness } from "../src/gateway/kernel-deafness.js";
import { NONE } from "../src/memory/frames.js";
import { parseAddress } from "../src/net/address.js";
import { fold, sum16 } from "../src/net/checksum.js";
import { ethernetAddress } from "../src/ports/device.js";
import { PacketPort } from "../src/ports/packet.js";
import type { DevicePort } from "../src/ports/port.js";
import { XdpPort } from "../src/ports/xdp.js";
import { testContext } from "../test/ports/context.js";
import type { Driver, Looped, Packets } from "./ports.js";

const FROM = "198.51.100.7";
const BATCH = 128;
/** veth's ring holds 256 packets, and drops the rest. */
const WINDOW = 128;
const ETHERNET = 14;
const IPV4 = ETHERNET + 20;
const SPI = 0x1001;
/** Turns without a packet after which those that are on their way count as lost. */
const LOST = 1000;

const [driver, packets, sizeText, timeText, prefix, address = ""] = process.argv.slice(2) as [
  Driver,
  Packets,
  ...string[],
];
const size = Number(sizeText);
const to4 = parseAddress(address) as Uint8Array;

const context = testContext(4096);
const { frames } = context;

function open(name: string, output: Link): DevicePort {
  const options = { name, role: "public", output, local: [to4] } as const;
  if (driver === "packet") return new PacketPort(context, options);
  return new XdpPort(context, { ...options, mode: driver === "xdp native" ? "native" : "generic" });
}

const ESP = packets === "ESP" ? IPV4 : IPV4 + 8;

/** Ethernet, IPv4 and UDP header of a packet of `size` bytes, and the first word of ESP. */
function headers(): Uint8Array {
  const bytes = new Uint8Array(ESP + 4);
  const view = new DataView(bytes.buffer);
  bytes.set(ethernetAddress(`${prefix}1`), 0);
  bytes.set(ethernetAddress(`${prefix}0`), 6);
  view.setUint16(12, 0x0800);
  view.setUint16(14, 0x4500);
  view.setUint16(16, size - ETHERNET);
  view.setUint16(20, 0x4000);
  view.setUint16(22, (64 << 8) | (packets === "ESP" ? 50 : 17));
  bytes.set(parseAddress(FROM) as Uint8Array, 26);
  bytes.set(to4, 30);
  view.setUint16(24, fold(sum16(view, ETHERNET, 20, 0)));
  view.setUint16(34, 4500);
  view.setUint16(36, 4500);
  if (ESP > IPV4) view.setUint16(38, size - IPV4);
  view.setUint32(ESP, SPI);
  return bytes;
}

const arrived = new Link(frames);
const ignored = new Link(frames);
const from = open(`${prefix}0`, ignored);
const to = open(`${prefix}1`, arrived);
const header = headers();
// As on a gateway: the kernel does not look at what is Vita's.
if (driver === "packet") new KernelDeafness(`${prefix}1`, "public");

let sent = 0;
let got = 0;

/** One batch in, and what has arrived out. @returns whether anything arrived */
function turn(): boolean {
  for (let n = Math.min(BATCH, WINDOW - (sent - got)); n > 0; n--) {
    const frame = frames.allocate();
    if (frame === NONE) break;
    frames.bytes.set(header, frames.offset[frame]);
    frames.view.setUint32(frames.offset[frame] + ESP + 4, sent);
    frames.length[frame] = size;
    from.sink.input.transmit(frame);
    sent++;
  }
  from.sink.push();
  from.source.pull(BATCH);
  to.source.pull(BATCH);
  const before = got;
  for (; arrived.readable > 0; got++) frames.free(arrived.receive());
  while (ignored.readable > 0) frames.free(ignored.receive());
  return got > before;
}

function run(milliseconds: number): Looped {
  let idle = 0;
  const before = got;
  const start = performance.now();
  const end = start + milliseconds;
  while (performance.now() < end) {
    idle = turn() ? 0 : idle + 1;
    if (idle > LOST) sent = got;
  }
  return { nanoseconds: Math.round((performance.now() - start) * 1e6), packets: got - before };
}

// The first part compiles the code.
run(Number(timeText) / 2);
process.stdout.write(`${JSON.stringify(run(Number(timeText)))}\n`);
process.exit(0);
