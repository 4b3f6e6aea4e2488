// Options of swanctl.conf that touch the kernel, with the real charon on both sides: what they do on the wire, and which
// line charon logs when Vita refuses them. docs/strongswan.md tells the same as a table.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Capture } from "../src/lab/capture.js";
import { run, sleep } from "../src/lab/command.js";
import { connectionOf, type Side, type SitesOptions } from "../src/lab/sites.js";
import { ping } from "../src/lab/traffic.js";
import { SIDES, type Sites, withSites } from "./lifecycle/sites.js";

const usual: SitesOptions = {
  family: 4,
  systems: { a: "vita", b: "vita" },
  preSharedKey: "have it your way",
};

interface Options {
  child?: string[];
  /** Of one side only, in place of `child`. */
  b?: string[];
  /** esp_proposals; null for none at all. */
  esp?: string | null;
}

/** Loads a configuration on both sides, with the IKE_SA of the last one gone. */
async function load(sites: Sites, { child = [], b, esp }: Options): Promise<void> {
  for (const side of SIDES) {
    const connection = connectionOf(sites.network, side, usual);
    connection.childExtra = [...(connection.childExtra ?? []), ...(side === "b" ? (b ?? child) : child)];
    if (esp === null) delete connection.espProposals;
    else if (esp !== undefined) connection.espProposals = esp;
    await sites.gateways[side].charon.load(connection);
  }
}

async function end(sites: Sites): Promise<void> {
  await sites.gateways.a.charon.terminate();
  await sites.assertEmpty();
}

const both = (sites: Sites) =>
  Promise.all(
    SIDES.map(async (side) => {
      const to = sites.network.sides[side === "a" ? "b" : "a"].host;
      return (await ping(sites.network.hosts[side], to, 3, 0.01)).received;
    }),
  );

/** The IPv4 packets of ESP that a ping of so many bytes, with these options, makes from A to B and back. */
async function espOf(sites: Sites, args: string[]): Promise<Uint8Array[]> {
  const { lab, network } = sites;
  const capture = await Capture.start(lab, {
    name: `esp-${++captures}`,
    namespace: network.wan,
    device: network.wanPort,
    filter: "esp",
    limit: 2,
  });
  await run("ping", ["-c", "1", "-W", "1", ...args, network.sides.b.host], { namespace: network.hosts.a });
  for (let i = 0; i < 50 && capture.count < 2; i++) await sleep(10);
  await capture.stop();
  const packets = capture.packets().map((frame) => frame.subarray(14));
  assert.equal(packets.length, 2);
  return packets;
}
let captures = 0;

const tos = (packet: Uint8Array) => packet[1];
const dontFragment = (packet: Uint8Array) => (packet[6] & 0x40) !== 0;
const length = (packet: Uint8Array) => (packet[2] << 8) | packet[3];

interface Refusal extends Options {
  name: string;
  /** In the log of charon of this side. */
  side?: Side;
  says: RegExp;
}

const set = /set esp_proposals to aesNgcm16, chacha20poly1305, or aesN with sha256/.source;
const refused: Refusal[] = [
  { name: "AES-CTR", esp: "aes128ctr-sha256", says: new RegExp(`AES-CTR is not supported: ${set}`) },
  { name: "AES-XCBC", esp: "aes128-aesxcbc", says: new RegExp(`AES-XCBC-96 is not supported: ${set}`) },
  {
    name: "HMAC-SHA-256 cut to 96 bits",
    esp: "aes128-sha256",
    child: ["sha256_96 = yes"],
    says: /HMAC-SHA-256 cut to 96 bits is not supported: set sha256_96 = no/,
  },
  { name: "GMAC", esp: "aes128gmac", says: new RegExp(`AES-GMAC is not .*${set}`) },
  { name: "NULL", esp: "null-sha256", says: new RegExp(`NULL encryption is not .*${set}`) },
  { name: "a short ICV", esp: "aes128gcm8", says: new RegExp(`AES-GCM with an 8-byte ICV is not .*${set}`) },
  {
    name: "AH",
    esp: "",
    child: ["ah_proposals = sha256"],
    side: "a",
    says: /AH is not supported: use esp_proposals, not ah_proposals/,
  },
  { name: "hw_offload = yes", child: ["hw_offload = yes"], says: /set hw_offload to no or auto/ },
  { name: "an interface inside", child: ["interface = lan0"], says: /interface = lan0 is not .*\(wan0\)/ },
  { name: "a huge window", child: ["replay_window = 100000"], says: /replay_window 100000 .* set it to \d+/ },
];

test("options that touch the kernel", async (t) => {
  await withSites("options", usual, async (sites) => {
    const { gateways, network } = sites;
    const { a, b } = gateways;

    for (const { name, side = "b", says, ...options } of refused)
      await t.test(`refused: ${name}`, async () => {
        await load(sites, options);
        const marks = sites.marks();
        await assert.rejects(a.charon.initiate(5));
        const line = await sites.logged(side, new RegExp(`KNL.*kernel-vita: .*${says.source}`), marks[side]);
        t.diagnostic(line.slice(line.indexOf("kernel-vita")));
        await a.charon.terminate().catch(() => {});
        await sites.assertEmpty();
      });

    /** Sets a CHILD_SA up with the options, lets `look` look, and ends it. */
    const accepted = (name: string, options: Options, look: (marks: Record<Side, number>) => Promise<void>) =>
      t.test(name, async () => {
        await load(sites, options);
        const marks = sites.marks();
        await a.charon.initiate();
        // A failure of one option is none of the next one's.
        try {
          await look(marks);
        } finally {
          await end(sites);
        }
      });

    const pass = async () => assert.deepEqual(await both(sites), [3, 3]);

    // charon's own proposals come first. What is named is what `vita sa` shows, with what charon calls it.
    for (const [esp, algorithm, charons] of [
      [null, "aes128gcm16", "AES_GCM_16-128"],
      ["default", "aes128-sha256", "AES_CBC-128-HMAC_SHA2_256_128"],
      ["aes256gcm16-esn", "aes256gcm16", "AES_GCM_16-256"],
      ["chacha20poly1305-esn", "chacha20poly1305", "CHACHA20_POLY1305"],
      ["aes256-sha512-esn", "aes256-sha512", "AES_CBC-256-HMAC_SHA2_512_256"],
      ["aes192-sha384-esn", "aes192-sha384", "AES_CBC-192-HMAC_SHA2_384_192"],
      ["aes128-sha1", "aes128-sha1", "AES_CBC-128-HMAC_SHA1_96"],
    ] as const)
      await accepted(esp === null ? "no esp_proposals" : `esp_proposals = ${esp}`, { esp }, async () => {
        await pass();
        const child = await a.charon.installed();
        assert.equal(child?.algorithm, charons);
        for (const { vita } of [a, b])
          assert.deepEqual(
            vita!.state().sas.map((sa) => [sa.algorithm, sa.esn, sa.packets]),
            [0, 1].map(() => [algorithm, esp?.endsWith("-esn") ?? false, 6]),
          );
      });

    await accepted("ipcomp = yes: charon goes on without it", { child: ["ipcomp = yes"] }, async (marks) => {
      await sites.logged(
        "a",
        /IPComp is not supported, the CHILD_SA goes without it: set ipcomp = no/,
        marks.a,
      );
      await pass();
    });

    await accepted(
      "priority, interface, policies_fwd_out, hw_offload = auto, replay_window = 1024",
      {
        child: [
          ...["priority = 7", "interface = wan0", "policies_fwd_out = yes", "hw_offload = auto"],
          ...["replay_window = 1024", "sha256_96 = yes"],
        ],
      },
      async () => {
        await pass();
        const { sas, policies } = a.vita!.state();
        assert.equal(sas.find(({ direction }) => direction === "in")?.replayWindow, 1024);
        const negotiated = policies.filter(({ reqid }) => reqid !== 0);
        assert.deepEqual(
          negotiated.map(({ rank }) => rank),
          [7, 7, 7],
        );
        assert.equal(policies.filter(({ direction }) => direction === "forward").length, 2);
      },
    );

    await accepted("replay_window = 0: no check", { child: ["replay_window = 0"] }, async () => {
      await pass();
      assert.deepEqual(
        b.vita!.state().sas.map(({ replayWindow }) => replayWindow),
        [0, 0],
      );
    });

    await accepted(
      "policies = no: SAs alone let nothing out",
      { child: ["policies = no"], b: [] },
      async () => {
        const before = a.vita!.drops()["protect.drop.no_policy"] ?? 0;
        assert.deepEqual(await both(sites), [0, 0]);
        // Requests from A's side, and A's answers to those from B's side, which did come in.
        assert.equal(a.vita!.drops()["protect.drop.no_policy"] - before, 6);
        assert.equal(a.vita!.state().policies.length, 0);
        assert.equal(a.vita!.state().sas.find(({ direction }) => direction === "in")?.packets, 3);
      },
    );

    await accepted(
      "tfc_padding = 600: all are 600 bytes long",
      { child: ["tfc_padding = 600"] },
      async () => {
        for (const size of [0, 100, 500])
          assert.deepEqual(
            (await espOf(sites, ["-s", String(size)])).map(length),
            // Outer header, ESP header, IV, padded text, ICV.
            [20 + 16 + 604 + 16, 20 + 16 + 604 + 16],
          );
        const [large] = await espOf(sites, ["-s", "1000"]);
        assert.equal(length(large), 20 + 16 + 1032 + 16, "a longer one is as long as it is");
        await pass();
      },
    );

    await accepted("tfc_padding = mtu: all fill the way", { child: ["tfc_padding = mtu"] }, async () => {
      for (const size of [0, 1000]) {
        const lengths = (await espOf(sites, ["-s", String(size)])).map(length);
        assert.ok(
          lengths.every((bytes) => bytes > 1490 && bytes <= 1500),
          `${lengths}`,
        );
      }
      await pass();
    });

    // DSCP 46, ECT(1); the answers carry the same.
    const marked = ["-Q", "0xb9"];
    await accepted("DF, ECN and DSCP are copied out by default", {}, async () => {
      for (const packet of await espOf(sites, [...marked, "-M", "do"])) assert.equal(tos(packet), 0xb9);
      assert.equal(dontFragment((await espOf(sites, ["-M", "do"]))[0]), true);
      assert.equal(dontFragment((await espOf(sites, ["-M", "dont"]))[0]), false);
    });

    await accepted(
      "copy_df, copy_ecn, copy_dscp = no",
      { child: ["copy_df = no", "copy_ecn = no", "copy_dscp = no"] },
      async () => {
        const packets = await espOf(sites, [...marked, "-M", "do"]);
        assert.deepEqual(packets.map(tos), [0, 0]);
        assert.deepEqual(packets.map(dontFragment), [false, false]);
      },
    );

    await accepted(
      "copy_dscp = in on one side: what comes in takes the outer value",
      { child: ["copy_dscp = in"], b: ["copy_dscp = no"] },
      async () => {
        const inside = await Capture.start(sites.lab, {
          name: "inside",
          namespace: network.hosts.a,
          device: "lan0",
          filter: "icmp",
        });
        const packets = await espOf(sites, marked);
        assert.deepEqual(
          packets.map((packet) => tos(packet) >>> 2),
          [0, 0],
          "neither side copies out",
        );
        await inside.stop();
        assert.deepEqual(
          inside.packets().map((frame) => frame[15] >>> 2),
          [46, 0],
          "the answer has lost its DSCP on its way in, as asked",
        );
      },
    );

    t.diagnostic(`drops: ${JSON.stringify([a.vita!.drops(), b.vita!.drops()])}`);
  });
});
