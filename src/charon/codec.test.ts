// encode.ts against decode.ts: whatever one side can say, the other understands, and nothing else.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { host, policy, sa, saId, selector } from "../../test/charon-messages.js";
import { compareAddresses } from "../net/address.js";
import { DecodeError, decodeFromDaemon, decodeRequest, VersionError } from "./decode.js";
import {
  encodeAnswer,
  encodeEvent,
  encodeHelloAnswer,
  encodeRefusal,
  encodeRequest,
  MessageBuffer,
} from "./encode.js";
import {
  AddSaLayout,
  type Bodies,
  type Call,
  type CallAnswer,
  CallType,
  type Event,
  HeaderLayout,
  PolicyIdLayout,
  PolicyLayout,
  type Request,
  SaIdLayout,
  SelectorLayout,
  WireStatus,
} from "./protocol.js";

const BODY = HeaderLayout.size;
const buffer = new MessageBuffer();

function encoded(request: Request): Uint8Array {
  return buffer.bytes.slice(0, encodeRequest(buffer, request));
}

function requestOf<C extends Call>(call: C, body: Bodies[C]): Request {
  return { call, id: 7, deadline: 0n, body } as unknown as Request;
}

// ---- arbitrary messages -------------------------------------------------------------------------------------------

/** Plain objects, as the decoder makes them: deepEqual looks at prototypes. */
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
const u8 = fc.integer({ min: 0, max: 0xff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const address = fc
  .constantFrom(4, 16)
  .chain((length) => fc.uint8Array({ minLength: length, maxLength: length }));
const anyHost = record({ address, port: u16 });
const anySelector = fc
  .constantFrom(4, 16)
  .chain((length) => {
    const bytes = fc.uint8Array({ minLength: length, maxLength: length });
    return record({ a: bytes, b: bytes, protocol: u8, fromPort: u16, toPort: u16 });
  })
  .map(({ a, b, ...rest }) => {
    const [from, to] = compareAddresses(a, b) <= 0 ? [a, b] : [b, a];
    return { from, to, ...rest };
  });
const anyMark = record({ value: u32, mask: u32 });
const protocol = fc.constantFrom(50, 51);
const anyId = record({
  src: anyHost,
  dst: anyHost,
  spi: u32,
  protocol,
  mark: anyMark,
  interfaceId: u32,
});
const printable = (maxLength: number) => fc.stringMatching(new RegExp(`^[!-.0-~]{0,${maxLength}}$`));
const limit = record({ rekey: u64, life: u64 });
const key = fc.uint8Array({ maxLength: 128 });
const bool = fc.boolean();
const anyPolicyId = record({
  direction: fc.integer({ min: 0, max: 2 }),
  srcSelector: anySelector,
  dstSelector: anySelector,
  mark: anyMark,
  interfaceId: u32,
  interface: printable(15),
  labelled: bool,
});
const anyPolicy = fc
  .record({
    id: anyPolicyId,
    type: fc.integer({ min: 1, max: 3 }),
    priorityClass: fc.integer({ min: 0, max: 3 }),
    manualPriority: u32,
    src: anyHost,
    dst: anyHost,
    mode: fc.integer({ min: 0, max: 6 }),
    reqid: u32,
    espSpi: u32,
    usesEsp: bool,
    usesAh: bool,
    ipcomp: u16,
    policyCount: u32,
    ahSpi: u32,
    cpi: u16,
    perCpuAcquires: bool,
  })
  .map((p) => ({ ...p, espSpi: p.usesEsp ? p.espSpi : 0, ahSpi: p.usesAh ? p.ahSpi : 0 }));
const anySa = record({
  id: anyId,
  inbound: bool,
  update: bool,
  initiator: bool,
  reqid: u32,
  mode: fc.integer({ min: 0, max: 6 }),
  srcSelectors: fc.array(anySelector, { maxLength: 5 }),
  dstSelectors: fc.array(anySelector, { maxLength: 5 }),
  encryption: u16,
  encryptionKey: key,
  integrity: u16,
  integrityKey: key,
  extendedSequenceNumbers: bool,
  replayWindow: u32,
  udpEncapsulation: bool,
  lifetime: record({ time: limit, bytes: limit, packets: limit }),
  tfc: u32,
  ipcomp: u16,
  cpi: u16,
  copyDf: bool,
  copyEcn: bool,
  copyDscp: fc.integer({ min: 0, max: 3 }),
  hardwareOffload: fc.constantFrom("no", "yes", "auto", "crypto", "packet"),
  setMark: anyMark,
  interface: printable(15),
  labelled: bool,
  acquireSequence: u32,
  cpu: fc.option(fc.integer({ min: 0, max: 0xfffffffe }), { nil: undefined }),
  iptfsDontFragment: bool,
});

const bodies: { [C in Call]: fc.Arbitrary<Bodies[C]> } = {
  hello: record({ session: u64.filter((n) => n !== 0n), clock: u64, pid: u32, software: printable(63) }),
  get_spi: record({ src: anyHost, dst: anyHost, protocol }),
  get_cpi: record({ src: anyHost, dst: anyHost }),
  add_sa: anySa as fc.Arbitrary<Bodies["add_sa"]>,
  update_sa: record({
    id: anyId,
    newSrc: anyHost,
    newDst: anyHost,
    udpEncapsulation: bool,
    newUdpEncapsulation: bool,
    newReqid: u32,
    cpi: u16,
  }),
  query_sa: record({ id: anyId, cpi: u16 }),
  del_sa: record({ id: anyId, cpi: u16 }),
  flush_sas: fc.constant({}),
  add_policy: anyPolicy,
  query_policy: anyPolicyId,
  del_policy: anyPolicy,
  flush_policies: fc.constant({}),
};

const anyRequest = fc
  .constantFrom(...(Object.keys(CallType) as Call[]))
  .chain((call) =>
    record({
      call: fc.constant(call),
      id: u32,
      deadline: u64,
      body: bodies[call] as fc.Arbitrary<object>,
    }),
  )
  .map((request) => request as unknown as Request);

const anyStatus = fc.constantFrom(...Object.values(WireStatus));
const anyReason = fc.string({ unit: "grapheme", maxLength: 60 });

describe("round trips", () => {
  test("every call", () => {
    fc.assert(
      fc.property(anyRequest, (request) => {
        assert.deepEqual(decodeRequest(encoded(request)), request);
      }),
      { numRuns: 1000 },
    );
  });

  test("every answer", () => {
    const calls = (Object.keys(CallType) as Call[]).filter(
      (call) => call !== "hello",
    ) as CallAnswer["call"][];
    const answers = record({
      call: fc.constantFrom(...calls),
      id: u32,
      status: anyStatus,
      reason: anyReason,
      value: u32,
      bytes: u64,
      packets: u64,
      idle: fc.option(fc.integer({ min: 0, max: 0xfffffffe }), { nil: undefined }),
    });
    fc.assert(
      fc.property(answers, (answer) => {
        const bytes = buffer.bytes.slice(0, encodeAnswer(buffer, answer));
        assert.deepEqual(decodeFromDaemon(bytes), { kind: "answer", answer });
      }),
    );
  });

  test("the answer to hello, and a refusal of what is no call", () => {
    fc.assert(
      fc.property(u64, u32, u32, anyStatus, anyReason, (bootId, features, id, status, reason) => {
        const answer = { call: "hello", id, status, bootId, features, reason } as const;
        const bytes = buffer.bytes.slice(0, encodeHelloAnswer(buffer, answer));
        assert.deepEqual(decodeFromDaemon(bytes), { kind: "hello", answer });
        const refused = buffer.bytes.slice(0, encodeRefusal(buffer, 999, id, status, reason));
        assert.deepEqual(decodeFromDaemon(refused), { kind: "refusal", type: 999, id, status, reason });
      }),
    );
  });

  test("every event", () => {
    const optional = fc.option(anySelector, { nil: undefined });
    const events: fc.Arbitrary<Event> = fc.oneof(
      record({ event: fc.constant("expire" as const), protocol, spi: u32, dst: anyHost, hard: bool }),
      record({ event: fc.constant("acquire" as const), reqid: u32, src: optional, dst: optional }),
      record({
        event: fc.constant("mapping" as const),
        protocol,
        spi: u32,
        dst: anyHost,
        remote: anyHost,
      }),
    );
    fc.assert(
      fc.property(events, (event) => {
        const bytes = buffer.bytes.slice(0, encodeEvent(buffer, event));
        assert.deepEqual(decodeFromDaemon(bytes), { kind: "event", event });
      }),
    );
  });

  test("255 selectors in each list fit", () => {
    const list = Array.from({ length: 255 }, (_, i) => selector(`10.0.${i}.0`, `10.0.${i}.255`));
    const request = requestOf("add_sa", { ...sa(1), srcSelectors: list, dstSelectors: list });
    assert.deepEqual(decodeRequest(encoded(request)), request);
  });

  test("a long reason is cut where a character ends", () => {
    const length = encodeRefusal(buffer, 1000, 1, 1, `x${"ä".repeat(400)}`);
    const message = decodeFromDaemon(buffer.bytes.slice(0, length));
    assert.equal(message.kind === "refusal" && message.reason, `x${"ä".repeat(255)}`);
  });

  test("an idle time that does not fit is the longest one, not never", () => {
    const answer = {
      call: "query_sa",
      id: 1,
      status: 0,
      reason: "",
      value: 0,
      bytes: 0n,
      packets: 0n,
    } as const;
    const length = encodeAnswer(buffer, { ...answer, idle: 2 ** 40 });
    const message = decodeFromDaemon(buffer.bytes.slice(0, length));
    assert.equal(message.kind === "answer" && message.answer.idle, 0xfffffffe);
  });
});

describe("hostile messages", () => {
  const view = (bytes: Uint8Array) => new DataView(bytes.buffer);
  /** An add_sa with one thing changed. */
  const spoiled = (change: (view: DataView) => void, request = requestOf("add_sa", sa(1))) => {
    const bytes = encoded(request);
    change(view(bytes));
    return bytes;
  };
  const fails = (bytes: Uint8Array, message: RegExp) =>
    assert.throws(
      () => decodeRequest(bytes),
      (error: Error) => {
        assert.ok(error instanceof DecodeError, String(error));
        assert.match(error.message, message);
        return true;
      },
    );
  const addSa = AddSaLayout.offset;
  const policyAt = PolicyLayout.offset;

  test("any bytes that nobody encoded", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
        assert.throws(() => decodeRequest(bytes), DecodeError);
        assert.throws(() => decodeFromDaemon(bytes), DecodeError);
      }),
    );
  });

  test("a good message with some bytes changed: a DecodeError, or exactly what the bytes say", () => {
    const change = record({ at: fc.nat(), value: u8 });
    fc.assert(
      fc.property(anyRequest, fc.array(change, { minLength: 1, maxLength: 4 }), (request, changes) => {
        const bytes = encoded(request);
        for (const { at, value } of changes) bytes[at % bytes.length] = value;
        let read: Request;
        try {
          read = decodeRequest(bytes);
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
          return;
        }
        assert.deepEqual(encoded(read), bytes);
      }),
      { numRuns: 2000 },
    );
  });

  test("a message cut short, or with a tail", () => {
    for (const call of Object.keys(CallType) as Call[]) {
      const [body] = fc.sample(bodies[call] as fc.Arbitrary<Bodies[Call]>, 1);
      const bytes = encoded(requestOf(call, body));
      for (let length = 0; length < bytes.length; length++) {
        const cut = bytes.slice(0, length);
        assert.throws(() => decodeRequest(cut), DecodeError);
        if (length < BODY) continue;
        view(cut).setUint32(HeaderLayout.offset.length, length, true);
        assert.throws(() => decodeRequest(cut), DecodeError);
      }
      const longer = new Uint8Array(bytes.length + 40);
      longer.set(bytes);
      view(longer).setUint32(HeaderLayout.offset.length, longer.length, true);
      assert.throws(() => decodeRequest(longer), DecodeError);
    }
  });

  test("errors name the field and the value", () => {
    const header = HeaderLayout.offset;
    fails(new Uint8Array(3), /^header: length of 3 bytes is too short$/);
    fails(
      spoiled((v) => v.setUint32(header.magic, 1, true)),
      /^header: magic 0x1 is not 0x41544956$/,
    );
    fails(
      spoiled((v) => v.setUint32(header.length, 9, true)),
      /^header: length 9 is not the \d+ bytes sent$/,
    );
    fails(
      spoiled((v) => v.setUint16(header.type, 77, true)),
      /^message type 0x4d is no call$/,
    );
    fails(
      spoiled((v) => v.setUint16(BODY + addSa.src_selectors, 256, true)),
      /^add_sa: src_selectors 256 is not within 0 to 255$/,
    );
    fails(
      spoiled((v) => v.setUint16(BODY + addSa.dst_selectors, 2, true)),
      /^add_sa: body of \d+ bytes is not \d+ bytes long$/,
    );
    fails(
      spoiled((v) => v.setUint16(BODY + addSa.encryption_key_length, 129, true)),
      /^add_sa: encryption key length 129 is not within 0 to 128$/,
    );
    fails(
      spoiled((v) => v.setUint8(BODY + addSa.mode, 7)),
      /^add_sa: mode 7 is not within 0 to 6$/,
    );
    fails(
      spoiled((v) => v.setUint8(BODY + addSa.copy_dscp, 4)),
      /^add_sa: copy_dscp 4 /,
    );
    fails(
      spoiled((v) => v.setUint8(BODY + addSa.offload, 5)),
      /^add_sa: offload 5 /,
    );
    fails(
      spoiled((v) => v.setUint32(BODY + addSa.flags, 0x8000, true)),
      /^add_sa: flags 0x8000 has bits that are not known$/,
    );
    fails(
      spoiled((v) => v.setUint16(BODY + addSa.id, 5, true)),
      /^add_sa: src family 5 is neither 4 nor 6$/,
    );
    fails(
      spoiled((v) => v.setUint8(BODY + addSa.id + SaIdLayout.offset.protocol, 17)),
      /^add_sa: protocol 17 is neither 50 \(ESP\) nor 51 \(AH\)$/,
    );
    fails(
      spoiled((v) => v.setUint8(BODY + addSa.reserved, 1)),
      /^add_sa: reserved is not zero$/,
    );
    fails(
      spoiled((v) => v.setUint8(BODY + addSa.interface, 0x0a)),
      /^add_sa: interface has byte 0xa$/,
    );
    fails(
      spoiled((v) => {
        for (let i = 0; i < 16; i++) v.setUint8(BODY + addSa.interface + i, 0x61);
      }),
      /^add_sa: interface does not end with a zero$/,
    );
    fails(
      spoiled((v) => v.setUint8(BODY + addSa.interface, 0x2f)),
      /^add_sa: interface "\/" has a slash or a space$/,
    );
    fails(
      spoiled((v) => v.setUint8(BODY + AddSaLayout.size + SelectorLayout.offset.from, 11)),
      /^add_sa: source selector 0 begins at 11\.1\.0\.0, behind its end 10\.1\.0\.255$/,
    );
    fails(
      spoiled((v) => v.setUint8(BODY + AddSaLayout.size + SelectorLayout.size, 0)),
      /^add_sa: destination selector 0 family 0 is neither 4 nor 6$/,
    );
    const policyRequest = () => requestOf("add_policy", policy(0));
    fails(
      spoiled((v) => v.setUint8(BODY + policyAt.type, 0), policyRequest()),
      /^add_policy: type 0 is not within 1 to 3$/,
    );
    fails(
      spoiled((v) => v.setUint8(BODY + policyAt.priority, 4), policyRequest()),
      /^add_policy: priority 4 /,
    );
    fails(
      spoiled((v) => v.setUint8(BODY + PolicyIdLayout.offset.direction, 3), policyRequest()),
      /^add_policy: direction 3 is not within 0 to 2$/,
    );
    fails(
      spoiled((v) => v.setUint32(BODY + policyAt.ah_spi, 3, true), policyRequest()),
      /^add_policy: ah_spi is set for a protocol that is not used$/,
    );
    const hello = { session: 0n, clock: 0n, pid: 1, software: "x" };
    fails(encoded(requestOf("hello", hello)), /^hello: session is 0$/);
  });

  test("an error carries what could be read of the header", () => {
    const bytes = encoded(requestOf("del_sa", { id: saId(1), cpi: 0 })).slice(0, 60);
    assert.throws(
      () => decodeRequest(bytes),
      (error: Error) => error instanceof DecodeError && error.id === 7 && error.type === CallType.del_sa,
    );
  });

  test("another version is told apart, whatever is behind its header", () => {
    const bytes = spoiled((v) => v.setUint16(HeaderLayout.offset.version, 2, true)).slice(0, 40);
    assert.throws(
      () => decodeRequest(bytes),
      (error: Error) => error instanceof VersionError && error.version === 2,
    );
  });

  test("keys are in no error, whatever is wrong", () => {
    const request = requestOf("add_sa", {
      ...sa(1),
      encryptionKey: new Uint8Array(36).fill(0x5a),
      integrityKey: new Uint8Array(64).fill(0x5a),
    });
    for (let at = 0; at < BODY + AddSaLayout.size; at++) {
      const bytes = spoiled((v) => v.setUint8(at, v.getUint8(at) ^ 0xff), request);
      try {
        decodeRequest(bytes);
      } catch (error) {
        assert.doesNotMatch((error as Error).message, /5a5a|ZZ|90,? ?90/);
      }
    }
    // A length that is too short leaves a key's end behind it.
    fails(
      spoiled((v) => v.setUint16(BODY + addSa.encryption_key_length, 10, true), request),
      /^add_sa: encryption key behind its end is not zero$/,
    );
  });

  test("a window on a larger buffer is read in its own bounds", () => {
    const bytes = encoded(requestOf("get_cpi", { src: host("192.0.2.1"), dst: host("2001:db8::1") }));
    const larger = new Uint8Array(bytes.length + 100).fill(0xee);
    larger.set(bytes, 50);
    const read = decodeRequest(larger.subarray(50, 50 + bytes.length));
    larger.fill(0);
    assert.deepEqual(read.body, { src: host("192.0.2.1"), dst: host("2001:db8::1") });
  });
});

describe("what does not fit is refused by the encoder", () => {
  test("keys, selectors, names", () => {
    const refuses = (change: Partial<Bodies["add_sa"]>) =>
      assert.throws(() => encodeRequest(buffer, requestOf("add_sa", { ...sa(1), ...change })), RangeError);
    refuses({ encryptionKey: new Uint8Array(129) });
    refuses({ integrityKey: new Uint8Array(129) });
    refuses({ srcSelectors: new Array(256).fill(selector("10.0.0.0", "10.0.0.1")) });
    refuses({ interface: "sixteen-letters!" });
  });
});
