// Sends packets from an XDP port on one end of a veth pair to an XDP port on the other, in one process and one frame
// memory, and accounts for every frame.
//
//   xdp-loop.js PACKETS MODE SIZE

import { Link } from "../../src/engine/link.js";
import { ETHERNET_START, NONE } from "../../src/memory/frames.js";
import { ethernetAddress } from "../../src/ports/device.js";
import { type XdpMode, XdpPort } from "../../src/ports/xdp.js";
import { report } from "./child.js";
import { testContext } from "./context.js";

const [packets, mode, size] = [Number(process.argv[2]), process.argv[3] as XdpMode, Number(process.argv[4])];
const BATCH = 64;
/** Packets that may be on their way: veth's ring holds 256 and drops the rest. */
const WINDOW = 192;

const context = testContext(4096);
const { frames } = context;
const arrived = new Link(frames);
const unexpected = new Link(frames);
const from = new XdpPort(context, { name: "x0", role: "private", mode, output: unexpected });
const to = new XdpPort(context, { name: "x1", role: "private", mode, output: arrived });

const header = Uint8Array.from([
  ...ethernetAddress("x1"),
  ...ethernetAddress("x0"),
  ...[0x08, 0, 0x45, 0, (size - 14) >>> 8, (size - 14) & 0xff, 0, 0, 0x40, 0, 64, 17, 0, 0],
  ...[10, 0, 0, 1, 10, 9, 9, 9],
]);

let sent = 0;
let got = 0;
let wrong = 0;
let idle = 0;
const start = process.hrtime.bigint();
while (got < packets && idle < 200_000) {
  const burst = Math.min(BATCH, packets - sent, WINDOW - (sent - got));
  for (let i = 0; i < burst; i++) {
    const frame = frames.allocate();
    if (frame === NONE) break;
    const offset = frames.offset[frame];
    frames.bytes.set(header, offset);
    frames.view.setUint32(offset + 34, sent);
    frames.length[frame] = size;
    from.sink.input.transmit(frame);
    sent++;
  }
  from.sink.push();
  from.source.pull(BATCH);
  idle = to.source.pull(BATCH) === 0 ? idle + 1 : 0;
  while (arrived.readable > 0) {
    const frame = arrived.receive();
    const offset = frames.offset[frame];
    const good =
      frames.view.getUint32(offset + 34) === got &&
      frames.length[frame] === size &&
      offset % 2048 >= ETHERNET_START &&
      (offset + 14) % 4 === 0;
    if (!good) wrong++;
    got++;
    frames.free(frame);
  }
}
const nanoseconds = Number(process.hrtime.bigint() - start);
while (unexpected.readable > 0) frames.free(unexpected.receive());
from.waiting();
to.waiting();
const result = {
  sent,
  got,
  wrong,
  nsPerPacket: Math.round(nanoseconds / got),
  mode: to.mode,
  zeroCopy: to.zeroCopy,
  capacity: frames.capacity,
  available: frames.available,
  inFlight: from.inFlight + to.inFlight,
  counters: context.read(),
};
from.close();
to.close();
report(result);
