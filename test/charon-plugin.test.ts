// Real charons on the real plugin: two of them, in namespaces joined by a link, each with a service of ours beneath it
// whose Kernel only takes note of what it is asked. No packet is protected here; what matters is what charon asks for,
// that events reach it, and what it does and logs while Vita is away or hangs.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { CharonService } from "../src/charon/service.js";
import { KernelFeature, Status } from "../src/ipsec/kernel.js";
import { Charon, type Connection } from "../src/lab/charon.js";
import { run, until } from "../src/lab/command.js";
import { Lab } from "../src/lab/lab.js";
import { createLink } from "../src/lab/netns.js";
import { formatAddress } from "../src/net/address.js";
import { host, RecordingKernel, RecordingLogger, selector } from "./charon-messages.js";

const root = process.getuid?.() === 0;

/** A side: charon, and the service that it talks to. */
interface Side {
  charon: Charon;
  service: CharonService;
  kernel: RecordingKernel;
  logger: RecordingLogger;
}

const connection: Connection = {
  localId: "a.test",
  remoteId: "b.test",
  localAddress: "192.0.2.1",
  remoteAddress: "192.0.2.2",
  localSelectors: ["10.1.0.0/24"],
  remoteSelectors: ["10.2.0.0/24"],
  preSharedKey: "not a secret",
  ikeProposals: "aes128-sha256-ecp256",
  espProposals: "aes128gcm16-ecp256-esn,aes128-sha256-esn",
};
const mirrored: Connection = {
  ...connection,
  localId: connection.remoteId,
  remoteId: connection.localId,
  localAddress: connection.remoteAddress,
  remoteAddress: connection.localAddress,
  localSelectors: connection.remoteSelectors,
  remoteSelectors: connection.localSelectors,
};

describe("charon with kernel-vita", { skip: root ? false : "needs root" }, () => {
  let lab: Lab;
  let a: Side;
  let b: Side;

  function serve(name: string, bootId: bigint): Omit<Side, "charon"> {
    const kernel = new RecordingKernel();
    const logger = new RecordingLogger();
    const features = KernelFeature.espV3Tfc | KernelFeature.policySpi;
    const path = lab.path(`${name}.sock`);
    return { kernel, logger, service: CharonService.listen({ path, kernel, features, bootId, logger }) };
  }

  async function start(name: string, ours: Connection): Promise<Side> {
    const served = serve(name, 1n);
    const charon = await Charon.start(lab, {
      name,
      namespace: lab.name(name),
      system: "vita",
      vitaSocket: lab.path(`${name}.sock`),
      connection: ours,
    });
    return { charon, ...served };
  }

  const logLines = (side: Side, pattern: RegExp) =>
    readFileSync(side.charon.process.log, "utf8")
      .split("\n")
      .filter((line) => pattern.test(line));

  before(async () => {
    lab = await Lab.open("plugin");
    const namespaces = { a: await lab.namespace("a"), b: await lab.namespace("b") };
    await createLink(
      { namespace: namespaces.a, device: "wan", addresses: ["192.0.2.1/24"] },
      { namespace: namespaces.b, device: "wan", addresses: ["192.0.2.2/24"] },
    );
    a = await start("a", connection);
    b = await start("b", mirrored);
  });

  after(async () => {
    await a?.charon.process.stop();
    await b?.charon.process.stop();
    await a?.service.stop();
    await b?.service.stop();
    await lab?.close();
  });

  test("charon says hello before it is asked for anything", async () => {
    for (const side of [a, b]) {
      await until("a hello", () => side.kernel.notesOf("sessionOpened").length === 1, 5000);
    }
    assert.notEqual(
      a.kernel.notesOf("sessionOpened")[0].session,
      b.kernel.notesOf("sessionOpened")[0].session,
    );
    assert.match(a.logger.lines.join("\n"), /charon-systemd \d+\.\d+.* connected, session [0-9a-f]{16}/);
  });

  test("a CHILD_SA is set up: SAs with whole keys, policies for each direction", async () => {
    await a.charon.initiate();
    for (const [side, inbound, outbound] of [
      [a, "192.0.2.1", "192.0.2.2"],
      [b, "192.0.2.2", "192.0.2.1"],
    ] as const) {
      const added = side.kernel.notesOf("addSa").map(({ request }) => request);
      assert.equal(added.length, 2);
      for (const sa of added) {
        assert.equal(sa.encryption, 20);
        assert.equal(sa.encryptionKey.length, 16 + 4);
        assert.equal(sa.integrityKey.length, 0);
        assert.equal(sa.id.protocol, 50);
        assert.equal(sa.mode, 2);
        assert.equal(sa.extendedSequenceNumbers, true);
        assert.equal(sa.hardwareOffload, "no");
        assert.equal(sa.labelled, false);
        assert.equal(sa.cpu, undefined);
        assert.equal(sa.inbound, sa.update);
        assert.equal(formatAddress(sa.id.dst.address), sa.inbound ? inbound : outbound);
      }
      const [first] = side.kernel.notesOf("addPolicy").map(({ request }) => request);
      const directions = side.kernel.notesOf("addPolicy").map(({ request }) => request.id.direction);
      assert.deepEqual(directions.toSorted(), [0, 1, 2]);
      assert.equal(first.reqid, added[0].reqid);
      assert.equal(first.type, 1);
    }
    // The inbound SPI is the one that our kernel gave, and the peer's outbound SPI.
    const inboundAt = (side: Side) => side.kernel.notesOf("addSa").find(({ request }) => request.inbound);
    const outboundAt = (side: Side) => side.kernel.notesOf("addSa").find(({ request }) => !request.inbound);
    assert.equal(inboundAt(a)?.request.id.spi, 0xc0000001);
    assert.equal(inboundAt(a)?.request.id.spi, outboundAt(b)?.request.id.spi);
    assert.equal(inboundAt(b)?.request.id.spi, outboundAt(a)?.request.id.spi);
    const out = a.kernel.notesOf("addPolicy").find(({ request }) => request.id.direction === 1)!.request;
    assert.equal(out.espSpi, outboundAt(a)?.request.id.spi);
    assert.deepEqual(out.id.srcSelector, selector("10.1.0.0", "10.1.0.255"));
    assert.deepEqual(out.id.dstSelector, selector("10.2.0.0", "10.2.0.255"));
  });

  test("counters and times of use reach charon", async () => {
    const child = await a.charon.installed();
    assert.equal(child?.bytesIn, 1000);
    assert.equal(child?.packetsOut, 10);
  });

  test("a soft expire makes charon rekey, a hard one makes it delete", async () => {
    const inbound = a.kernel.notesOf("addSa").find(({ request }) => request.inbound)!.request.id;
    const expire = { event: "expire", protocol: 50, spi: inbound.spi, dst: inbound.dst } as const;
    assert.equal(a.service.sendEvent({ ...expire, hard: false }), 1);
    await until("the rekeyed SAs", () => a.kernel.notesOf("addSa").length === 4, 5000);
    assert.equal(a.service.sendEvent({ ...expire, hard: true }), 1);
    await until(
      "the deletion of the old SA",
      () => a.kernel.notesOf("deleteSa").some(({ id }) => id.spi === inbound.spi),
      5000,
    );
  });

  test("acquire and mapping events are taken", async () => {
    const refused = () => logLines(a, /malformed event/).length;
    a.service.sendEvent({ event: "acquire", reqid: 4711, src: undefined, dst: undefined });
    const inbound = a.kernel.notesOf("addSa").findLast(({ request }) => request.inbound)!.request.id;
    const remote = host("192.0.2.2", 4711);
    a.service.sendEvent({ event: "mapping", protocol: 50, spi: inbound.spi, dst: inbound.dst, remote });
    const src = selector("10.1.0.9", "10.1.0.9");
    const dst = selector("10.2.0.9", "10.2.0.9");
    a.service.sendEvent({ event: "acquire", reqid: 4712, src, dst });
    // charon says so when it knows no trap of that number, and it has read all events before then.
    await until("charon's answer to the acquire", () => logLines(a, /reqid \{4712\}/).length > 0, 5000);
    assert.equal(refused(), 0);
    await a.charon.terminate();
  });

  test("ESP in UDP never gets to charon's socket, IKE does", async () => {
    const drops = async () => {
      const { stdout } = await run("cat", ["/proc/net/udp"], { namespace: lab.name("a") });
      const line = stdout.split("\n").find((text) => text.includes(":1194 "));
      return Number(line?.trim().split(/\s+/).at(-1));
    };
    const send = async (payload: string) =>
      run("bash", ["-c", `printf '${payload}' > /dev/udp/192.0.2.1/4500`], { namespace: lab.name("b") });
    const before = await drops();
    await send("\\xc0\\x00\\x00\\x01\\x00\\x00\\x00\\x01esp");
    await send("\\xff");
    await until("two dropped datagrams", async () => (await drops()) === before + 2, 2000);
    await send("\\x00\\x00\\x00\\x00no IKE, but marked as such");
    await until(
      "the one that is let through",
      () => logLines(a, /invalid IKE header|too short/).length > 0,
      2000,
    );
    assert.equal(await drops(), before + 2);
  });

  test("Vita down: the call fails at once with one clear line, and works when Vita is back", async () => {
    await a.service.stop();
    await until(
      "the line about the lost connection",
      () => logLines(a, /closed the connection/).length === 1,
      2000,
    );
    const begun = performance.now();
    await assert.rejects(a.charon.initiate());
    assert.ok(performance.now() - begun < 2000);
    const told = logLines(a, /get_spi failed/);
    assert.equal(told.length, 1);
    assert.match(
      told[0],
      /no Vita at .*a\.sock \(.*\): start it \(vita run\), or correct .*kernel-vita\.socket/,
    );
    // And nothing about each of the attempts that go on in the background.
    assert.equal(logLines(a, /no Vita at/).length, 1);

    Object.assign(a, serve("a", 2n));
    await a.charon.initiate();
    assert.equal(a.kernel.notesOf("addSa").length, 2);
    assert.equal(logLines(a, /is back, but has lost all SAs and policies/).length, 1);
    await a.charon.terminate();
  });

  test("Vita hangs: the call fails after its time limit, and is not served late", async () => {
    const { kernel } = a;
    const flush = kernel.notes.length;
    const getSpi = kernel.getSpi.bind(kernel);
    kernel.getSpi = () => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000);
      return getSpi();
    };
    await assert.rejects(a.charon.initiate());
    kernel.getSpi = getSpi;
    const lines = logLines(a, /get_spi failed: Vita at .* did not answer within 2000 ms/);
    assert.equal(lines.length, 1);
    assert.equal(kernel.notes.slice(flush).filter(({ call }) => call === "addSa").length, 0);
    await a.charon.initiate();
    assert.equal(kernel.notes.slice(flush).filter(({ call }) => call === "addSa").length, 2);
  });

  test("a refusal is logged with Vita's reason, and undone by charon", async () => {
    await a.charon.terminate();
    a.kernel.answers.set("addSa", { status: Status.failed, reason: "the moon is in the wrong quarter" });
    await assert.rejects(a.charon.initiate());
    a.kernel.answers.clear();
    const lines = logLines(a, /Vita answered add_sa with FAILED: the moon is in the wrong quarter/);
    assert.ok(lines.length >= 1);
    assert.match(a.logger.lines.join("\n"), /add_sa failed: the moon/);
  });

  test("charon ends in order", async () => {
    a.charon.process.signal("SIGTERM");
    assert.equal(await a.charon.process.wait(5000), true);
    assert.equal(a.charon.process.ended, "exit code 0");
    await until("the end of the session", () => a.kernel.notesOf("sessionClosed").length === 1, 2000);
  });
});
