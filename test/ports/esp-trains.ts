// Sends ESP in UDP of several SAs, and what must not be joined with it, from a packet port on one end of a veth pair to a port on
// the other, in one process and one frame memory, and tells what became of it.
//
//   esp-trains.js packet|xdp

import { Link } from "../../src/engine/link.js";
import { NONE } from "../../src/memory/frames.js";
import { parseAddress } from "../../src/net/address.js";
import { ethernetAddress } from "../../src/ports/device.js";
import { PacketPort } from "../../src/ports/packet.js";
import { faultOf, flowPacket } from "../../src/ports/testing/flow-packets.js";
import { XdpPort } from "../../src/ports/xdp.js";
import { report } from "./child.js";
import { testContext } from "./context.js";

const context = testContext(1024);
const { frames } = context;
const ETHERNET = 14;
const local = ["192.0.2.2", "2001:db8::2"].map((text) => parseAddress(text) as Uint8Array);
const arrived = new Link(frames);
const ignored = new Link(frames);
const from = new PacketPort(context, { name: "x0", role: "public", output: ignored });
const options = { name: "x1", role: "public", local, output: arrived } as const;
const to = process.argv[2] === "xdp" ? new XdpPort(context, options) : new PacketPort(context, options);

/** ESP in UDP as the encapsulating app makes it: without a checksum. */
function espInUdp(version: 4 | 6, spi: number, sequence: number, length: number): Uint8Array {
  const payload = new Uint8Array(length).fill(sequence);
  new DataView(payload.buffer).setUint32(0, spi);
  new DataView(payload.buffer).setUint32(4, sequence);
  const packet = flowPacket({
    version,
    protocol: "udp",
    payload,
    source: version === 4 ? "198.51.100.7" : "2001:db8:f::7",
    destination: version === 4 ? "192.0.2.2" : "2001:db8::2",
    // Peers behind a NAT have ports of their own.
    ports: [4500, 4500],
    id: version === 4 ? sequence : 0,
    fragment: spi === 0x1001 ? 0x4000 : 0,
  });
  packet.fill(0, packet.length - length - 2, packet.length - length);
  return packet;
}

// Three SAs take turns; every tenth packet is shorter, and one is as long as a link with an MTU of 1500 carries.
const sent: Uint8Array[] = [];
for (let i = 1; i <= 120; i++) {
  const length = i % 10 === 0 ? 100 : i % 4 === 0 ? 1440 : 1000;
  sent.push(espInUdp(4, 0x1001, i, length));
  sent.push(espInUdp(6, 0x2002, i, length));
  if (i % 3 === 0) sent.push(espInUdp(4, 0x3003, i, 64));
}

function transmit(packet: Uint8Array): void {
  const frame = frames.allocate();
  if (frame === NONE) throw new Error("no frames left");
  const offset = frames.offset[frame];
  frames.bytes.set(ethernetAddress("x1"), offset);
  frames.bytes.set(ethernetAddress("x0"), offset + 6);
  frames.view.setUint16(offset + 12, packet[0] >>> 4 === 4 ? 0x0800 : 0x86dd);
  frames.bytes.set(packet, offset + ETHERNET);
  frames.length[frame] = ETHERNET + packet.length;
  from.sink.input.transmit(frame);
}

/** SA and sequence number of a packet, and where its UDP header begins. */
function identify(packet: Uint8Array): { key: string; udp: number } {
  const udp = packet[0] >>> 4 === 4 ? 20 : 40;
  const view = new DataView(packet.buffer, packet.byteOffset);
  return { key: `${view.getUint32(udp + 8)} ${view.getUint32(udp + 12)}`, udp };
}

const got: Uint8Array[] = [];
function receive(): void {
  from.source.pull(128);
  to.source.pull(128);
  while (ignored.readable > 0) frames.free(ignored.receive());
  while (arrived.readable > 0) {
    const frame = arrived.receive();
    got.push(frames.copy(frame).slice(ETHERNET));
    frames.free(frame);
  }
}

for (let i = 0; i < sent.length; i += 64) {
  for (const packet of sent.slice(i, i + 64)) transmit(packet);
  from.sink.push();
  for (let n = 0; n < 50; n++) receive();
}
for (const end = Date.now() + 2000; got.length < sent.length && Date.now() < end; ) receive();

const expected = new Map(sent.map((packet) => [identify(packet).key, packet]));
const order: Record<string, number[]> = {};
let changed = 0;
let faults = 0;
for (const packet of got) {
  const { key, udp } = identify(packet);
  const [spi, sequence] = key.split(" ").map(Number);
  order[spi] ??= [];
  order[spi].push(sequence);
  const before = expected.get(key);
  const hasChecksum = packet[udp + 6] !== 0 || packet[udp + 7] !== 0;
  if (hasChecksum && faultOf(packet) !== undefined) faults++;
  // The checksum may be there, and the kernel numbers the packets of a train in its own way; all else is as it was.
  const bare = (bytes: Uint8Array) => {
    const copy = bytes.slice();
    copy.fill(0, udp + 6, udp + 8);
    if (udp === 20) {
      copy.fill(0, 4, 6);
      copy.fill(0, 10, 12);
    }
    return Buffer.from(copy);
  };
  if (!before || !bare(before).equals(bare(packet))) changed++;
}
const inOrder = Object.values(order).every((list) => list.every((n, i) => i === 0 || n > list[i - 1]));
const inFlight = to instanceof XdpPort ? to.inFlight : 0;
const counters = context.read();
from.close();
to.close();
report({
  sent: sent.length,
  got: got.length,
  changed,
  faults,
  inOrder,
  lost: frames.capacity - frames.available - inFlight,
  counters,
});
process.exit(0);
