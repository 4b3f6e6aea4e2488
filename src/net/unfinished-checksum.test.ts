import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type FlowPacket, faultOf, flowPacket, internetChecksum } from "../ports/testing/flow-packets.js";
import { finishUnfinished } from "./unfinished-checksum.js";

const packets: fc.Arbitrary<FlowPacket> = fc.record({
  version: fc.constantFrom<4 | 6>(4, 6),
  protocol: fc.constantFrom<"tcp" | "udp">("tcp", "udp"),
  payload: fc.uint8Array({ maxLength: 99 }),
  sequence: fc.nat(),
  tos: fc.nat(255),
});

/** Runs it over a packet with `padding` bytes behind it. */
function finish(packet: Uint8Array, padding = 0): { did: boolean; packet: Uint8Array } {
  const bytes = new Uint8Array(packet.length + padding);
  bytes.set(packet);
  bytes.fill(0x55, packet.length);
  const did = finishUnfinished(new DataView(bytes.buffer), 0, bytes.length);
  assert.ok(bytes.subarray(packet.length).every((byte) => byte === 0x55));
  return { did, packet: bytes.subarray(0, packet.length) };
}

/** As the sender's kernel leaves it to the network card (linux/skbuff.h, CHECKSUM_PARTIAL). */
function unfinished({ protocol, ...rest }: FlowPacket): Uint8Array {
  const packet = flowPacket({ protocol, ...rest });
  const is4 = rest.version === 4;
  const transport = is4 ? 20 : 40;
  const length = packet.length - transport;
  const addresses = packet.subarray(is4 ? 12 : 8, is4 ? 20 : 40);
  const pseudo = [...addresses, 0, 0, length >>> 8, length & 0xff, 0, protocol === "tcp" ? 6 : 17];
  const sum = ~internetChecksum(pseudo) & 0xffff;
  packet.set([sum >>> 8, sum & 0xff], transport + (protocol === "tcp" ? 16 : 6));
  return packet;
}

test("what the sender left unfinished is finished, with whatever Ethernet padding", () => {
  fc.assert(
    fc.property(packets, fc.nat(20), (packet, padding) => {
      const result = finish(unfinished(packet), padding);
      assert.ok(result.did);
      assert.equal(faultOf(result.packet), undefined);
      assert.deepEqual(result.packet, flowPacket(packet));
    }),
  );
});

test("what is finished stays as it is, and what is damaged stays damaged", () => {
  fc.assert(
    fc.property(packets, fc.nat(7), (packet, bit) => {
      const whole = flowPacket(packet);
      assert.deepEqual(finish(whole).packet, whole);
      whole[whole.length - 1] ^= 1 << bit;
      const { did, packet: after } = finish(whole);
      if (!did) assert.deepEqual(after, whole);
    }),
  );
  const noChecksum = flowPacket({ version: 4, protocol: "udp", payload: new Uint8Array(9) });
  noChecksum.fill(0, 26, 28);
  assert.equal(finish(noChecksum).did, false);
  const fragment = unfinished({ version: 4, protocol: "udp", payload: new Uint8Array(9), fragment: 0x2000 });
  assert.equal(finish(fragment).did, false);
});

test("no bytes make it look or write beyond the packet", () => {
  const edits = fc.array(fc.tuple(fc.nat(50), fc.nat(255)), { maxLength: 4 });
  fc.assert(
    fc.property(packets, edits, fc.nat(80), (packet, changes, end) => {
      const bytes = unfinished(packet);
      for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte;
      finish(bytes.slice(0, end));
    }),
    { numRuns: 500 },
  );
});
