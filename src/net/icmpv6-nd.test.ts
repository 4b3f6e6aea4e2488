import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type IpAddress, parseAddress } from "./address.js";
import { fold, pseudoHeader6, sum16 } from "./checksum.js";
import { ETHERNET_HEADER } from "./ethernet.js";
import {
  isNeighbourMessage,
  ND_SOURCE_OPTION,
  ND_TARGET_OPTION,
  stationOption,
  writeAdvertisement,
  writeSolicitation,
} from "./icmpv6-nd.js";
import { ICMPV6, IPV6_HEADER, linkLocal, UNSPECIFIED } from "./ipv6.js";
import { writeMldReport } from "./mld.js";

const mac = Uint8Array.of(2, 0, 0, 0, 0, 1);
const other = Uint8Array.of(2, 0, 0, 0, 0, 2);
const address = (text: string) => parseAddress(text) as IpAddress;
const ours = address("2001:db8::1");
const theirs = address("2001:db8::a:b");

const ip = ETHERNET_HEADER;
const icmp = ip + IPV6_HEADER;

/** A written frame, cut to its length. */
function written(write: (view: DataView, bytes: Uint8Array) => number): {
  bytes: Uint8Array;
  view: DataView;
} {
  const buffer = new Uint8Array(512).fill(0xee);
  const length = write(new DataView(buffer.buffer), buffer);
  const bytes = buffer.slice(0, length);
  return { bytes, view: new DataView(bytes.buffer) };
}

const valid = ({ bytes, view }: { bytes: Uint8Array; view: DataView }) =>
  isNeighbourMessage(view, ip, icmp, bytes.length);

/** The frame with something changed and a checksum that fits again. */
function changed(frame: { bytes: Uint8Array }, change: (bytes: Uint8Array) => void): boolean {
  const bytes = frame.bytes.slice();
  const view = new DataView(bytes.buffer);
  change(bytes);
  view.setUint16(icmp + 2, 0);
  const length = bytes.length - icmp;
  view.setUint16(icmp + 2, fold(sum16(view, icmp, length, pseudoHeader6(view, ip, ICMPV6, length))));
  return isNeighbourMessage(view, ip, icmp, bytes.length);
}

test("a solicitation goes to the group of its target, or to the station that had the address", () => {
  const asked = written((view, bytes) => writeSolicitation(view, bytes, 0, mac, ours, theirs));
  assert.ok(valid(asked));
  assert.equal(Buffer.from(asked.bytes.subarray(0, 6)).toString("hex"), "3333ff0a000b");
  assert.deepEqual(asked.bytes.subarray(ip + 24, ip + 40), address("ff02::1:ff0a:b"));
  assert.equal(stationOption(asked.view, asked.bytes, icmp, asked.bytes.length, ND_SOURCE_OPTION), icmp + 26);
  const probe = written((view, bytes) => writeSolicitation(view, bytes, 0, mac, ours, theirs, other));
  assert.ok(valid(probe));
  assert.deepEqual(probe.bytes.subarray(0, 6), other);
  assert.deepEqual(probe.bytes.subarray(ip + 24, ip + 40), theirs);
});

test("duplicate address detection has no sender and no address to tell", () => {
  const dad = written((view, bytes) => writeSolicitation(view, bytes, 0, mac, UNSPECIFIED, ours));
  assert.ok(valid(dad));
  assert.equal(dad.bytes.length, icmp + 24);
});

test("an advertisement is solicited, or for everybody", () => {
  const answer = written((view, bytes) =>
    writeAdvertisement(view, bytes, 0, mac, ours, { destination: theirs, station: other }),
  );
  assert.ok(valid(answer));
  assert.equal(answer.view.getUint32(icmp + 4), 0x60000000);
  assert.equal(
    stationOption(answer.view, answer.bytes, icmp, answer.bytes.length, ND_TARGET_OPTION),
    icmp + 26,
  );
  const all = written((view, bytes) => writeAdvertisement(view, bytes, 0, mac, ours));
  assert.ok(valid(all));
  assert.equal(Buffer.from(all.bytes.subarray(0, 6)).toString("hex"), "333300000001");
  assert.equal(all.view.getUint32(icmp + 4), 0x20000000);
});

test("what RFC 4861 §7.1 calls invalid is", () => {
  const asked = written((view, bytes) => writeSolicitation(view, bytes, 0, mac, ours, theirs));
  const all = written((view, bytes) => writeAdvertisement(view, bytes, 0, mac, ours));
  assert.ok(changed(asked, () => {}));
  const wrong: [string, (bytes: Uint8Array) => void][] = [
    ["hop limit", (bytes) => bytes.fill(254, ip + 7, ip + 8)],
    ["code", (bytes) => bytes.fill(1, icmp + 1, icmp + 2)],
    ["multicast target", (bytes) => bytes.fill(0xff, icmp + 8, icmp + 9)],
    ["option of no length", (bytes) => bytes.fill(0, icmp + 25, icmp + 26)],
    ["option beyond the end", (bytes) => bytes.fill(2, icmp + 25, icmp + 26)],
    ["from nobody with an address", (bytes) => bytes.fill(0, ip + 8, ip + 24)],
  ];
  for (const [what, change] of wrong) assert.equal(changed(asked, change), false, what);
  assert.equal(
    changed(all, (bytes) => bytes.fill(0x60, icmp + 4, icmp + 5)),
    false,
    "solicited by all",
  );
  const damaged = written((view, bytes) => writeSolicitation(view, bytes, 0, mac, ours, theirs));
  damaged.bytes[icmp + 20] ^= 1;
  assert.equal(valid(damaged), false, "checksum");
});

test("whatever arrives, nothing is read behind its end, and options end", () => {
  const asked = written((view, bytes) => writeSolicitation(view, bytes, 0, mac, ours, theirs)).bytes;
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(79), (noise, at) => {
      const bytes = new Uint8Array(icmp + noise.length);
      bytes.set(asked.subarray(0, icmp));
      bytes.set(noise, icmp);
      if (at < noise.length) bytes[icmp] = 135;
      const view = new DataView(bytes.buffer);
      isNeighbourMessage(view, ip, icmp, bytes.length);
      stationOption(view, bytes, icmp, bytes.length, ND_SOURCE_OPTION);
    }),
  );
});

test("a multicast report names its groups behind a router alert", () => {
  const groups = [address("ff02::1:ff00:1"), address("ff02::1:ff0a:b")];
  const report = written((view, bytes) => writeMldReport(view, bytes, 0, mac, linkLocal(mac), groups));
  const { view, bytes } = report;
  assert.equal(bytes.length, ip + 40 + 8 + 8 + 40);
  assert.equal(view.getUint16(ip + 4), bytes.length - icmp);
  assert.equal(Buffer.from(bytes.subarray(icmp, icmp + 8)).toString("hex"), "3a00050200000100");
  const length = bytes.length - icmp - 8;
  assert.equal(fold(sum16(view, icmp + 8, length, pseudoHeader6(view, ip, ICMPV6, length))), 0);
  assert.deepEqual(bytes.subarray(icmp + 20, icmp + 36), groups[0]);
  assert.deepEqual(linkLocal(mac), address("fe80::ff:fe00:1"));
});
