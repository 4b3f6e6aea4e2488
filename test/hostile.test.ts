// A local client that means harm, or is broken, against a Vita whose SAs carry traffic: it gets error answers, the log has a
// line, and neither the SAs nor the traffic notice.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { test } from "node:test";
import { encodeRequest, MessageBuffer } from "../src/charon/encode.js";
import type { Call, Request } from "../src/charon/protocol.js";
import type { Selector } from "../src/ipsec/kernel.js";
import { sleep } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { Flow } from "../src/lab/traffic.js";
import { SystemError } from "../src/native/libc.js";
import { type Answer, CharonClient } from "./charon-client.js";
import { host, policy, sa, saId } from "./charon-messages.js";
import { type Random, randomFrom } from "./esp/random.js";
import { children, farHost, install, naming } from "./load.js";
import { createGateways, type Gateway } from "./load-lab.js";

const MUTATIONS = 4000;
const SEED = Number(process.env["VITA_FUZZ_SEED"] ?? 20261126);

/** Far away from the traffic of the lab: 198.18.0.0/15 (RFC 2544). */
const elsewhere: Selector = {
  from: host("198.18.7.0").address,
  to: host("198.18.7.255").address,
  protocol: 0,
  fromPort: 0,
  toPort: 65535,
};

function foreignPolicy(direction: number) {
  const usual = policy(direction);
  return { ...usual, id: { ...usual.id, srcSelector: elsewhere, dstSelector: elsewhere } };
}

function encode(call: Call, body: Request["body"], id: number): Uint8Array {
  const buffer = new MessageBuffer();
  const length = encodeRequest(buffer, { call, id, deadline: 0n, body } as unknown as Request);
  return buffer.bytes.slice(0, length);
}

/** Well-formed messages of every kind, from which the broken ones are made. */
function samples(gateway: Gateway): Uint8Array[] {
  const foreign = sa(0x30000001);
  const away = { ...foreign, srcSelectors: [elsewhere], dstSelectors: [elsewhere] };
  const living = naming(children(1)[0], gateway.side, false);
  const hosts = { src: host("192.0.2.1"), dst: host("192.0.2.2") };
  const bodies: [Call, unknown][] = [
    ["get_spi", { ...hosts, protocol: 50 }],
    ["get_cpi", hosts],
    ["add_sa", away],
    ["add_sa", { ...away, inbound: true, id: saId(0x30000002) }],
    [
      "update_sa",
      {
        id: living.id,
        newSrc: host("192.0.2.9"),
        newDst: host("192.0.2.8"),
        udpEncapsulation: false,
        newUdpEncapsulation: true,
        newReqid: 0,
        cpi: 0,
      },
    ],
    ["query_sa", living],
    ["del_sa", living],
    ["add_policy", foreignPolicy(0)],
    ["add_policy", foreignPolicy(2)],
    ["query_policy", foreignPolicy(1).id],
    ["del_policy", foreignPolicy(0)],
    ["flush_sas", {}],
    ["flush_policies", {}],
    ["hello", { session: 0xbadn, clock: 1n, pid: 1, software: "hostile" }],
  ];
  return bodies.map(([call, body], i) => encode(call, body as Request["body"], i + 1));
}

/** Bytes changed, cut off, added, or nothing at all. */
function mutate(message: Uint8Array, random: Random): Uint8Array {
  const kind = random(10);
  if (kind === 0) return message.slice(0, random(message.length));
  if (kind === 1)
    return Uint8Array.from([...message, ...Array.from({ length: 1 + random(300) }, () => random(256))]);
  const changed = message.slice();
  const interesting = [0, 1, 0x7f, 0x80, 0xff];
  for (let n = 1 + random(4); n > 0; n--)
    changed[random(changed.length)] = random(2) === 0 ? random(256) : interesting[random(interesting.length)];
  return changed;
}

function connect(gateway: Gateway, session: bigint): CharonClient {
  const client = new CharonClient(gateway.vita.charonSocket, session);
  assert.equal(client.callSync("hello", client.hello()).status, 0);
  return client;
}

/** What the owner of the SAs has, without what traffic changes. */
function holdings(gateway: Gateway): string {
  const { sas, policies } = gateway.vita.state();
  const own = sas.filter(({ srcSelectors }) => srcSelectors.some((text) => /^(10\.1|100\.64)\./.test(text)));
  const lines = own.map(({ spi, state, src, dst, reqid }) => `${spi} ${state} ${src} ${dst} ${reqid}`);
  const entries = policies
    .filter(({ src }) => /^(10\.1|100\.64)\./.test(src))
    .map((entry) => JSON.stringify(entry));
  return [...lines, ...entries].sort().join("\n");
}

const logOf = (gateway: Gateway) => readFileSync(gateway.vita.process.log, "utf8");

test("a hostile local client harms neither the service nor the SAs nor their traffic", async (t) => {
  await withLab("hostile", async (lab) => {
    const gateways = await createGateways(lab);
    const { a, b, hosts } = gateways;
    const all = children(10);
    for (const gateway of [a, b]) gateway.all(install(all, gateway.side));
    const before = holdings(a);
    assert.equal(before.split("\n").length, 50);
    const flow = await Flow.start(lab, {
      name: "flow",
      from: hosts.a,
      to: hosts.b,
      address: farHost(3),
      port: 7000,
      rate: 500,
    });

    await t.test("another user is refused, by the directory, by the file, and by the service", () => {
      const path = a.vita.charonSocket;
      const program = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
try:
    s.connect(sys.argv[1])
    s.settimeout(3)
    print("closed" if s.recv(100) == b"" else "served")
except PermissionError:
    print("forbidden")
except ConnectionResetError:
    print("closed")`;
      const asNobody = () =>
        execFileSync(
          "setpriv",
          ["--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", program, path],
          {
            encoding: "utf8",
          },
        ).trim();
      assert.equal(asNobody(), "forbidden");
      // Somebody may have opened the doors: the service looks by itself.
      const doors = [path, dirname(path), dirname(dirname(path)), lab.directory, dirname(lab.directory)];
      for (const door of doors) chmodSync(door, 0o777);
      try {
        assert.equal(asNobody(), "closed");
      } finally {
        for (const door of doors) chmodSync(door, door === path ? 0o600 : 0o700);
      }
      assert.match(logOf(a), /refused a connection of process \d+, user id 65534/);
    });

    await t.test(
      "another session cannot touch, take over or get in front of SAs that are not its own",
      () => {
        const intruder = connect(a, 0xbadn);
        const refused = (answer: Answer<Call>, reason: RegExp) => {
          assert.equal(answer.status, 1);
          assert.match(answer.reason, reason);
        };
        const [child] = all;
        const others = /belongs to another key manager/;
        for (const inbound of [true, false]) {
          const living = naming(child, "a", inbound);
          refused(intruder.callSync("del_sa", living), others);
          refused(
            intruder.callSync("update_sa", {
              id: living.id,
              newSrc: host("192.0.2.66"),
              newDst: host("192.0.2.67"),
              udpEncapsulation: false,
              newUdpEncapsulation: false,
              newReqid: 0,
              cpi: 0,
            }),
            others,
          );
        }
        for (const { call, body } of install([child], "a")) {
          if (call === "add_sa") refused(intruder.callSync(call, body), /is in use/);
          else if (call === "add_policy") {
            assert.equal(intruder.callSync("del_policy", body).status, 6, "not found among its own");
            if (body.id.direction === 1) refused(intruder.callSync(call, body), others);
          }
        }
        assert.equal(intruder.callSync("flush_sas", {}).status, 0);
        assert.equal(intruder.callSync("flush_policies", {}).status, 0);
        assert.equal(intruder.callSync("del_sa", { id: saId(0x77777777), cpi: 0 }).status, 6);
        intruder.close();
        assert.equal(holdings(a), before);
        // And the owner's own contradictions.
        for (const { call, body } of install([child], "a"))
          if (call === "add_sa") refused(a.client.callSync(call, body), /is in use/);
        assert.equal(holdings(a), before);
      },
    );

    await t.test("calls before hello, and too many, unread and half-open connections", async () => {
      const early = new CharonClient(a.vita.charonSocket, 5n);
      const answer = early.callSync("flush_sas", {});
      assert.equal(answer.status, 1);
      assert.match(answer.reason, /before hello/);
      early.close();

      const silent = Array.from({ length: 60 }, () => new CharonClient(a.vita.charonSocket, 6n));
      await sleep(200);
      const late = connect(a, 7n);
      assert.equal(late.callSync("query_sa", naming(all[0], "a", false)).status, 0);
      for (const client of silent) client.close();

      // It asks and asks and never reads an answer.
      let sent = 0;
      assert.throws(() => {
        for (; sent < 1_000_000; sent++) {
          try {
            late.send("query_sa", naming(all[0], "a", false));
          } catch (error) {
            if (!(error instanceof SystemError) || error.code !== "EAGAIN") throw error;
            // The service has not come to it yet.
            Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
          }
        }
      }, /EPIPE|ECONNRESET/);
      late.close();
      assert.match(logOf(a), /closed: it does not read its answers/);
      assert.match(logOf(a), /closed without a hello, to make room/);
      assert.equal(holdings(a), before);
    });

    await t.test(`${MUTATIONS} broken messages (VITA_FUZZ_SEED=${SEED})`, async () => {
      const random = randomFrom(SEED);
      const valid = samples(a);
      let client = connect(a, 0xbadn);
      let closed = 0;
      for (let i = 0; i < MUTATIONS; i++) {
        const message =
          i % 500 === 499 ? new Uint8Array(70_000) : mutate(valid[random(valid.length)], random);
        try {
          client.sendRaw(message);
          // A message of nothing, or of less than a header's beginning, has nobody to be answered to.
          if (message.length >= 16 && (await client.next(3000)) === undefined) throw new Error("closed");
        } catch (error) {
          if (!/closed|EPIPE|ECONNRESET|refus/.test(String(error))) throw error;
          closed++;
          client.close();
          client = connect(a, 0xbadn);
        }
      }
      client.close();
      t.diagnostic(`closed ${closed} times`);
      assert.ok(closed > 0 && closed < MUTATIONS / 4);
      assert.equal(holdings(a), before);
      assert.match(logOf(a), /closed after 16 malformed messages/);
      a.vita.process.assertRunning();
    });

    await sleep(500);
    const totals = await flow.stop();
    t.diagnostic(`${totals.sent} datagrams sent, ${totals.received} received`);
    assert.equal(totals.damaged, 0);
    assert.equal(totals.duplicates, 0);
    assert.equal(totals.received, totals.sent, "traffic was lost");
    const [{ packets }] = a.vita.state().sas.filter(({ spi }) => spi === all[3].toB.toString(16));
    assert.equal(packets, totals.sent);
    // The owner goes on as if nothing had been.
    assert.equal(a.client.callSync("query_sa", naming(all[3], "a", false)).packets, BigInt(totals.sent));
    assert.doesNotMatch(logOf(a), /\bbroke\b|TypeError|RangeError/);
    a.client.close();
    b.client.close();
  });
});
