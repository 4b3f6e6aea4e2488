import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { Counters, CounterTexts } from "../engine/app.js";
import { Link } from "../engine/link.js";
import { Frames } from "../memory/frames.js";
import { LINKTYPE_RAW, parsePcap, pcapHeader, pcapRecord } from "../net/pcap.js";
import { PcapPort } from "./pcap.js";

const folder = mkdtempSync(join(tmpdir(), "vita-pcap-"));
after(() => rmSync(folder, { recursive: true }));

test("packets go from one file to the other; what does not fit or is cut stays behind", () => {
  const [input, transmit] = [join(folder, "in.pcap"), join(folder, "out.pcap")];
  const cut = pcapRecord(new Uint8Array(40), 3000);
  new DataView(cut.buffer).setUint32(12, 60, true);
  const packets = [Uint8Array.of(0x45, 1, 2), Uint8Array.of(0x60, 3)];
  writeFileSync(
    input,
    Buffer.concat([
      pcapHeader(LINKTYPE_RAW),
      pcapRecord(packets[0], 1000),
      cut,
      pcapRecord(new Uint8Array(1800), 2000),
      pcapRecord(packets[1], 2000),
    ]),
  );
  const frames = new Frames(1);
  const output = new Link(frames);
  const counted: Record<string, Counters> = {};
  const counters = (_: string, texts: CounterTexts) => {
    const values = new Float64Array(Object.keys(texts).length);
    Object.keys(texts).forEach((name, i) => {
      counted[name] = values.subarray(i, i + 1);
    });
    return values;
  };
  const port = new PcapPort(
    { frames, counters },
    { name: "pcap", output, input, transmit, clock: () => 1234.5 },
  );
  assert.equal(port.kind, "ip");
  for (let breath = 0; breath < 5; breath++) {
    port.source.pull(10); // One frame: the second packet has to wait for it.
    while (output.readable > 0) port.sink.input.transmit(output.receive());
    port.sink.push();
  }
  assert.equal(port.done, true);
  port.close();
  const written = parsePcap(readFileSync(transmit));
  assert.equal(written.linkType, LINKTYPE_RAW);
  assert.deepEqual(
    written.packets.map(({ bytes, seconds, nanoseconds }) => [[...bytes], seconds, nanoseconds]),
    packets.map((bytes) => [[...bytes], 1, 234_500_000]),
  );
  assert.deepEqual(
    Object.entries(counted).map(([name, values]) => `${name} ${values[0]}`),
    ["rx.packets 2", "rx.bytes 5", "tx.packets 2", "tx.bytes 5", "drop.oversize 1", "drop.cut 1"],
  );
  assert.equal(frames.available, 1);
  const options = { name: "pcap", output, input, kind: "ethernet" } as const;
  assert.throws(() => new PcapPort({ frames, counters }, options), /in\.pcap holds ip packets/);
  assert.throws(
    () => new PcapPort({ frames, counters }, { ...options, input: import.meta.filename }),
    /pcap\.test\.js: not a pcap file/,
  );
});
