// The engines' ciphers: the vectors of the RFCs, each engine against the other, and what is not authentic.

import assert from "node:assert/strict";
import { createCipheriv, createHmac } from "node:crypto";
import { after, describe, test } from "node:test";
import { MAX_BATCH } from "./aead.js";
import { CipherRig, engineNames, type Packet } from "./testing/cipher-rig.js";
import { suites } from "./testing/suites.js";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const unhex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ""), "hex"));

const rig = new CipherRig();
after(() => rig.close());

/** Numbers that look random and are the same each time. */
function makeRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % below;
  };
}

interface Vector {
  name: string;
  encryption: number;
  /** With its salt. */
  key: string;
  spi: number;
  high?: number;
  low: number;
  iv: string;
  plain: string;
  cipher: string;
  icv: string;
}

const aeads: Vector[] = [
  {
    name: "ChaCha20-Poly1305, RFC 7634, appendix A",
    encryption: 28,
    key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f a0a1a2a3",
    spi: 0x01020304,
    low: 5,
    iv: "1011121314151617",
    plain: `45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec100007362708090a0b0c0d0e0f
      101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363701020204`,
    cipher: `24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95df
      ab4c02f72aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e0`,
    icv: "76aaa8266b7fb0f7b11b369907e1ad43",
  },
  {
    name: "AES-128-GCM with ESN, draft-mcgrew-gcm-test-01",
    encryption: 20,
    key: "4c80cdefbb5d10da906ac73c3613a634 2e443b68",
    spi: 0x4321,
    high: 0x87654321,
    low: 0,
    iv: "4956ed7e3b244cfe",
    plain: `45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000
      00000000045f736970045f756470037369700963796265726369747902646b000021000101020201`,
    cipher: `fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34
      cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce61bc17d768fd9732`,
    icv: "459018148f6cbe722fd04796562dfdb4",
  },
  {
    name: "AES-192-GCM, draft-mcgrew-gcm-test-01",
    encryption: 20,
    key: "feffe9928665731c6d6a8f9467308308feffe9928665731c cafebabe",
    spi: 0xa5f8,
    low: 10,
    iv: "facedbaddecaf888",
    plain: "45000028a4ad4000400678800a01038f0a010612802306b8cb712602dd6bb03e501016d075680001",
    cipher: "a5b1f8066029aea40e598b8122de02420938b3ab33f828e687b8858b5bfbdbd0315b27452144cc77",
    icv: "95457b9652037f5318027b5b4cd7a636",
  },
];

// RFC 3602 §4, case 5: a ping in transport mode. It comes without an ICV, which createHmac makes.
const cbcPacket = {
  key: "90d382b410eeba7ad938c46cec1a82bf",
  spi: 0x4322,
  low: 1,
  iv: "e96e8c08ab465763fd098d45dd3ff893",
  plain: `08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
    202122232425262728292a2b2c2d2e2f30313233343536370102030405060708090a0b0c0d0e0e01`,
  cipher: `f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856a4699e523a55db08
    0b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874aa269add047ad2d5913ac19b7cfbad4a6`,
};

describe("vectors", () => {
  for (const vector of aeads)
    test(vector.name, () => {
      const { spi, high = 0, low, encryption } = vector;
      const sa = rig.addSa({
        spi,
        encryption,
        encryptionKey: unhex(vector.key),
        extendedSequenceNumbers: vector.high !== undefined,
      });
      // Their IVs are no sequence numbers, as ours are: what others have encrypted is decrypted.
      const packet = {
        sa,
        high,
        low,
        iv: unhex(vector.iv),
        text: unhex(vector.cipher),
        icv: unhex(vector.icv),
      };
      for (const engine of engineNames) {
        const [{ text, authentic }] = rig.decrypt(engine, [packet]);
        assert.equal(hex(text), hex(unhex(vector.plain)), engine);
        assert.ok(authentic, engine);
      }
    });

  test("AES-128-CBC, RFC 3602 §4", () => {
    const { spi, low } = cbcPacket;
    const integrityKey = new Uint8Array(32).fill(0x0b);
    const sa = rig.addSa({
      spi,
      encryption: 12,
      encryptionKey: unhex(cbcPacket.key),
      integrity: 12,
      integrityKey,
      extendedSequenceNumbers: false,
    });
    const header = Buffer.alloc(8);
    header.writeUInt32BE(spi);
    header.writeUInt32BE(low, 4);
    const [iv, text] = [unhex(cbcPacket.iv), unhex(cbcPacket.cipher)];
    const icv = createHmac("sha256", integrityKey).update(header).update(iv).update(text).digest();
    for (const engine of engineNames) {
      const [{ text: plain, authentic }] = rig.decrypt(engine, [
        { sa, high: 0, low, iv, text, icv: icv.subarray(0, 16) },
      ]);
      assert.equal(hex(plain), hex(unhex(cbcPacket.plain)), engine);
      assert.ok(authentic, engine);
    }
  });

  // Those texts are no ESP packets: the library is given a job with the states that the engine has made of the key.
  for (const [hash, integrity, length, icv] of [
    ["RFC 2202, HMAC-SHA-1-96", 2, 20, "b617318655057264e28bc0b6"],
    ["RFC 4868, HMAC-SHA-256-128", 12, 32, "198a607eb44bfbc69903a0f1cf2bbdc5"],
    ["RFC 4868, HMAC-SHA-384-192", 13, 48, "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973"],
    [
      "RFC 4868, HMAC-SHA-512-256",
      14,
      64,
      "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8",
    ],
  ] as const)
    test(hash, { skip: engineNames.includes("ipsec-mb") ? false : "needs libIPSec_MB" }, () => {
      const spi = 0x5000 + integrity;
      const integrityKey = new Uint8Array(length).fill(0x0b);
      const sa = rig.addSa({
        spi,
        encryption: 12,
        encryptionKey: new Uint8Array(16),
        integrity,
        integrityKey,
      });
      assert.equal(hex(rig.hmac(sa, Buffer.from("Hi There"))), icv);
    });
});

describe("the engines and each other", () => {
  const slots = [...rig.addSuites(true, 0x1000), ...rig.addSuites(false, 0x2000)];

  /** As many packets as a batch takes, of all SAs in turn, of lengths from one block to a full packet. */
  function makePackets(seed: number, count = MAX_BATCH): Packet[] {
    const random = makeRandom(seed);
    return Array.from({ length: count }, (_, i) => {
      const sa = slots[(i * 7 + seed) % slots.length];
      const isCbc = rig.isCbc(sa);
      const unit = isCbc ? 16 : 4;
      const [high, low] = [random(0xffffff), seed * 1000 + i];
      const iv = new Uint8Array(isCbc ? 16 : 8);
      const view = new DataView(iv.buffer);
      view.setUint32(iv.length - 8, high);
      view.setUint32(iv.length - 4, low);
      const length = unit * (1 + random(i % 3 === 0 ? 4 : Math.floor(1472 / unit)));
      return { sa, high, low, iv, text: Uint8Array.from({ length }, () => random(256)) };
    });
  }

  for (const seed of [1, 2, 3, 4])
    test(`what one encrypts the other decrypts, batch ${seed}`, () => {
      // Batches of all lengths: full lanes and lanes with one job.
      const packets = makePackets(seed, [MAX_BATCH, 61, 17, 3][seed - 1]);
      const [first, second] = engineNames.map((engine) => rig.encrypt(engine, packets));
      assert.deepEqual(second ?? first, first, "byte for byte the same");
      packets.forEach((packet, i) => {
        assert.notDeepEqual(first[i].text, packet.text);
      });
      for (const engine of engineNames)
        rig.decrypt(engine, first).forEach((opened, i) => {
          assert.deepEqual(opened, { text: packets[i].text, authentic: true }, `${engine}, packet ${i}`);
        });
    });

  test("one bit that is another, anywhere: that packet alone is not authentic", () => {
    const sealed = rig.encrypt(engineNames[0], makePackets(9));
    const random = makeRandom(99);
    const flip = (bytes: Uint8Array) => {
      const copy = bytes.slice();
      copy[random(copy.length)] ^= 1 << random(8);
      return copy;
    };
    const changes: ((packet: Packet) => Partial<Packet>)[] = [
      ({ icv }) => ({ icv: flip(icv!) }),
      ({ text }) => ({ text: flip(text) }),
      ({ iv }) => ({ iv: flip(iv) }),
      ({ low }) => ({ low: low ^ 1 }),
      // Without extended sequence numbers the high half is not authenticated.
      ({ high, sa }) => (slots.indexOf(sa) < suites.length ? { high: high ^ 0x80 } : {}),
      // The first and the last byte of the ICV, which the high half stands on, and which a short comparison would miss.
      ({ icv }) => ({ icv: icv!.with(0, icv![0] ^ 1) }),
      ({ icv }) => ({ icv: icv!.with(-1, icv!.at(-1)! ^ 0x80) }),
    ];
    const changed = sealed.map((packet, i) => {
      const change = i % 2 === 1 ? changes[(i >>> 1) % changes.length](packet) : {};
      return { packet: { ...packet, ...change }, authentic: Object.keys(change).length === 0 };
    });
    assert.ok(changed.filter(({ authentic }) => !authentic).length > 50);
    for (const engine of engineNames)
      rig
        .decrypt(
          engine,
          changed.map(({ packet }) => packet),
        )
        .forEach(({ authentic }, i) => {
          assert.equal(authentic, changed[i].authentic, `${engine}, packet ${i}`);
        });
  });

  test("AES-CBC's IVs are the encryption of what stood in their place", () => {
    const sa = slots[suites.findIndex(({ name }) => name === "aes256-sha512")];
    const key = rig.sad.region.bytes.slice(...rig.cipherKey(sa));
    const packets = makePackets(5).map((packet) => ({
      ...packet,
      sa,
      iv: new Uint8Array(16),
      text: new Uint8Array(32),
    }));
    for (const { iv, low } of packets) new DataView(iv.buffer).setUint32(12, low);
    for (const engine of engineNames) {
      const sent = rig.encrypt(engine, packets);
      sent.forEach(({ iv }, i) => {
        const block = createCipheriv("aes-256-ecb", key, null).update(packets[i].iv);
        assert.equal(hex(iv), hex(block));
      });
      assert.equal(new Set(sent.map(({ iv }) => hex(iv))).size, packets.length);
      // Equal texts of one SA have nothing in common.
      assert.equal(
        new Set(sent.flatMap(({ text }) => [hex(text.slice(0, 16)), hex(text.slice(16))])).size,
        256,
      );
    }
  });
});

test("a freed slot has no key left, whatever the cipher", () => {
  const sa = rig.addSa({ spi: 0x3000, ...suiteKeys() });
  const base = rig.sad.offset(sa);
  const bytes = () => rig.sad.region.bytes.slice(base, rig.sad.offset(sa + 1));
  assert.ok(bytes().filter((byte) => byte !== 0).length > 500);
  rig.sad.release(sa);
  assert.equal(rig.sad.reclaim(), 0);
  // State, generation and version count on.
  assert.ok(bytes().filter((byte) => byte !== 0).length <= 12);
});

function suiteKeys() {
  return {
    encryption: 12,
    encryptionKey: new Uint8Array(32).fill(0xaa),
    integrity: 14,
    integrityKey: new Uint8Array(64).fill(0xbb),
  };
}

test("a batch of which the library leaves jobs undone is no batch to send", {
  skip: engineNames.length < 2,
}, () => {
  const broken = new CipherRig();
  try {
    const sa = broken.addSa({ spi: 0x4000, ...suiteKeys() });
    // One job alone waits in its lane until it is flushed.
    const { cbc } = broken.encryptors.get("ipsec-mb")!;
    Object.assign(cbc, { flush: () => 0 });
    const packet = { sa, high: 0, low: 1, iv: new Uint8Array(16), text: new Uint8Array(64) };
    assert.throws(() => broken.encrypt("ipsec-mb", [packet]), /libIPSec_MB has not completed/);
  } finally {
    broken.close();
  }
});
