import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { ipFrame } from "../src/apps/testing/owned-parts.js";
import { address } from "../src/ipsec/testing/requests.js";
import { LINKTYPE_ETHERNET, LINKTYPE_RAW, parsePcap, pcapHeader, pcapRecord } from "../src/net/pcap.js";
import { replay } from "./pcap.js";

const folder = mkdtempSync(join(tmpdir(), "vita-bench-pcap-"));
after(() => rmSync(folder, { recursive: true }));

function write(name: string, linkType: number, packets: readonly Uint8Array[]): string {
  const file = join(folder, name);
  writeFileSync(
    file,
    Buffer.concat([pcapHeader(linkType), ...packets.map((packet) => pcapRecord(packet, 1))]),
  );
  return file;
}

const payload = Array.from({ length: 600 }, (_, i) => i & 0xff);
const v4 = ipFrame({ from: address("203.0.113.5"), to: address("198.51.100.9"), protocol: 17, payload });
const v6 = ipFrame({ from: address("2001:db8:1::1"), to: address("2001:db8:2::2"), protocol: 17, payload });
const arp = new Uint8Array(60).fill(0xff, 0, 6);
arp.set([8, 6], 12);

test("a capture goes through the tunnel and comes back; what is no IP is counted", () => {
  const packets = Array.from({ length: 300 }, (_, i) => (i % 3 === 0 ? v4 : i % 3 === 1 ? v6 : arp));
  const back = join(folder, "back.pcap");
  const result = replay(write("in.pcap", LINKTYPE_ETHERNET, packets), 2, back);
  assert.equal(result.packets, 600);
  assert.equal(result.arrived, 400);
  assert.deepEqual(result.drops, { "ip-input.drop.not_ip": 200 });
  assert.ok(result.nsPerPacket > 0);
  const written = parsePcap(readFileSync(back)).packets;
  assert.equal(written.length, 400);
  for (const { bytes } of written) {
    const isIpv4 = bytes[12] === 8;
    const sent = isIpv4 ? v4 : v6;
    assert.equal(bytes.length, sent.length);
    // TTL or hop limit is two lower: two gateways.
    const ttl = isIpv4 ? 22 : 21;
    assert.equal(bytes[ttl], sent[ttl] - 2);
    const header = isIpv4 ? 34 : 54;
    assert.deepEqual([...bytes.subarray(header)], [...sent.subarray(header)]);
  }
});

test("raw IP is replayed too, and a file that is no capture is named", () => {
  const result = replay(write("raw.pcap", LINKTYPE_RAW, [v4.slice(14), v6.slice(14)]), 1);
  assert.deepEqual([result.packets, result.arrived, result.drops], [2, 2, {}]);
  const broken = join(folder, "broken.pcap");
  writeFileSync(broken, "not a capture, but long enough to be one");
  assert.throws(() => replay(broken, 1), /broken\.pcap: not a pcap file/);
});
