// An interface that Vita owns, as its neighbours on the link, charon, and the gateway's own programs see it. One lab, in
// which one thing after another happens: gateway A hands everything to its kernel, gateway B only IKE. The WAN's own
// kernel is a host on the link, and the router to all that lies beyond.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  address,
  icmpFrame,
  ipFrame,
  ipOf,
  PEER,
  THIRD,
  udp,
  written,
} from "../src/apps/testing/owned-parts.js";
import { run, runJson, sleep, until } from "../src/lab/command.js";
import { type Lab, withLab } from "../src/lab/lab.js";
import { addAddress, setSysctls } from "../src/lab/netns.js";
import {
  connectionOf,
  createNetwork,
  type Gateway,
  type Network,
  type Side,
  type SitesOptions,
  startGateway,
  startGateways,
} from "../src/lab/sites.js";
import { ping, startIperfServer, tcp } from "../src/lab/traffic.js";
import { Vita, type VitaConfiguration } from "../src/lab/vita.js";
import { writeArpRequest } from "../src/net/arp.js";

const A4 = "192.0.2.1";
const A6 = "2001:db8:ffff::1";
const B4 = "192.0.2.2";
const ROUTER = "192.0.2.254";
const ROUTER6 = "fe80::99";
const BEYOND = "198.51.100.7";
const BEYOND6 = "2001:db8:beef::7";
const DEVICE = "vita-ike0";

/** Sends a frame on a device, as it is. */
async function sendFrame(namespace: string, device: string, frame: Uint8Array): Promise<void> {
  const program = `import socket,sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
s.send(bytes.fromhex(sys.argv[2]))`;
  await run("/usr/bin/python3", ["-c", program, device, Buffer.from(frame).toString("hex")], { namespace });
}

/** What `ip` knows of a device. */
async function linkOf(namespace: string, device: string): Promise<{ address: string; allmulti: number }> {
  const show = ["-d", "-n", namespace, "-j", "link", "show", "dev", device];
  const [link] = await runJson<{ address: string; allmulti: number }[]>("ip", show);
  return link;
}

async function macOf(namespace: string, device: string): Promise<string> {
  return (await linkOf(namespace, device)).address;
}

const macBytes = (text: string) => Uint8Array.from(text.split(":"), (byte) => Number.parseInt(byte, 16));

/** What the WAN's kernel knows about a neighbour. */
async function neighbour(wan: string, ip: string): Promise<string | undefined> {
  const known = await runJson<{ dst: string; lladdr?: string }[]>("ip", ["-n", wan, "-j", "neigh", "show"]);
  return known.find(({ dst }) => dst === ip)?.lladdr;
}

async function indexOf(namespace: string, device: string): Promise<number | undefined> {
  const { stdout } = await run("ip", ["-n", namespace, "-j", "link", "show"]);
  const links = JSON.parse(stdout) as { ifindex: number; ifname: string }[];
  return links.find(({ ifname }) => ifname === device)?.ifindex;
}

/** Rules and routes of an owned interface that are there. */
async function traces(namespace: string): Promise<string> {
  const ask = async (...words: string[]) =>
    (await run("ip", ["-n", namespace, ...words], { tolerate: true })).stdout;
  const rules = (await ask("rule")) + (await ask("-6", "rule"));
  const routes =
    (await ask("route", "show", "table", "222")) + (await ask("-6", "route", "show", "table", "222"));
  return (
    rules
      .split("\n")
      .filter((line) => line.includes("lookup 222"))
      .join("\n") + routes
  );
}

/** Packets that a kernel has put together from fragments. */
async function reassembled(namespace: string): Promise<number> {
  const { stdout } = await run("cat", ["/proc/net/snmp"], { namespace });
  const [names, values] = stdout.split("\n").filter((line) => line.startsWith("Ip:"));
  return Number(values.split(" ")[names.split(" ").indexOf("ReasmOKs")]);
}

const workerPid = ({ vita }: Gateway): number => vita?.state().workers.find(({ alive }) => alive)?.pid ?? 0;
const counter = ({ vita }: Gateway, name: string): number => vita?.state().counters[name] ?? 0;

/** A changes its addresses and gateway, and what it hands to the kernel. */
function configuration(usual: VitaConfiguration, side: Side): VitaConfiguration {
  const [leaves] = usual["public-interface"];
  if (side === "b") return { ...usual, "public-interface": [leaves] };
  const more = {
    address: [`${A4}/24`, `${A6}/64`],
    gateway: [ROUTER, ROUTER6],
    punt: { traffic: "all" as const },
  };
  return { ...usual, "public-interface": [{ ...leaves, ...more }] };
}

/** Identities that make IKE_AUTH longer than the path carries; and charon is told not to cut it itself (RFC 7383). */
function longConnection(
  network: Network,
  side: Side,
  options: SitesOptions,
): Parameters<Gateway["charon"]["load"]>[0] {
  const usual = connectionOf(network, side, options);
  const long = (id: string) => `${id}.${"long-".repeat(40)}example`;
  return {
    ...usual,
    // charon finds the address to speak from by the kernel's routes.
    ...(side === "a" ? { localAddress: "%any" } : {}),
    localId: long(usual.localId),
    remoteId: long(usual.remoteId),
    extra: [...(usual.extra ?? []), "fragmentation = no"],
  };
}

const options: SitesOptions = {
  family: 4,
  systems: { a: "vita", b: "vita" },
  modes: { a: "owned", b: "owned" },
  preSharedKey: "mine alone",
  vita: configuration,
};

async function refusal(lab: Lab, network: Network): Promise<void> {
  const usual: VitaConfiguration = {
    node: "refused",
    "public-interface": [{ name: "wan0", mode: "owned", address: [`${A4}/24`] }],
    "private-interface": [{ name: "lan0" }],
  };
  await assert.rejects(
    Vita.start(lab, network.gateways.a, usual),
    /public-interface\[name="wan0"\]\/mode: "owned" needs wan0 without addresses in the kernel, and it has 192\.0\.2\.1\/24: .*"ip address del 192\.0\.2\.1\/24 dev wan0"/,
  );
  assert.equal(await indexOf(network.gateways.a, DEVICE), undefined);
}

test("an interface that Vita owns, from its first packet to its last", async (t) => {
  await withLab("owned", async (lab) => {
    const network = await createNetwork(lab, 4);
    const { wan, gateways, hosts, sides } = network;
    await t.test("is refused while the kernel has addresses on it", () => refusal(lab, network));

    const { a, b } = await startGateways(lab, network, options);
    await addAddress(wan, "switch", "192.0.2.9/24");
    await addAddress(wan, "switch", "2001:db8:ffff::9/64");
    await addAddress(wan, "lo", `${BEYOND}/32`);
    await addAddress(wan, "lo", `${BEYOND6}/128`);
    const wan0 = await macOf(gateways.a, "wan0");

    await t.test("is found and answers, with nothing known before, over IPv4 and IPv6", async () => {
      await run("ip", ["-n", wan, "neigh", "flush", "dev", "switch"]);
      for (const ip of [A4, A6]) {
        assert.deepEqual(await ping(wan, ip, 3, 0.05), { sent: 3, received: 3 });
        assert.equal(await neighbour(wan, ip), wan0);
      }
      assert.deepEqual(await ping(wan, B4, 3, 0.05), { sent: 3, received: 3 });
      // The kernel has the address too, for those on the private side: its answers go back there.
      assert.deepEqual(await ping(hosts.a, A4, 2, 0.05), { sent: 2, received: 2 });
      assert.equal(counter(a, "icmp-echo.answered"), 6);
      const { allmulti } = await linkOf(gateways.a, "wan0");
      assert.equal(allmulti, 1, "groups of neighbour discovery must get in");
    });

    await t.test("keeps looking for a gateway that is not there, and uses it once it is", async () => {
      assert.equal((await ping(gateways.a, BEYOND, 1, 0.1)).received, 0);
      await addAddress(wan, "switch", `${ROUTER}/24`);
      await addAddress(wan, "switch", `${ROUTER6}/64`);
      for (const beyond of [BEYOND, BEYOND6])
        await until("the gateway", async () => (await ping(gateways.a, beyond, 1, 0.1)).received === 1, 8000);
    });

    await t.test("follows a neighbour that changes its Ethernet address", async () => {
      await setSysctls(wan, { "net.ipv4.conf.switch.arp_notify": 1 });
      // A neighbour that has just been found stays what it is for a second: whoever answers first, as in Linux.
      await sleep(1500);
      await run("ip", ["-n", wan, "link", "set", "dev", "switch", "address", "02:00:00:00:00:77"]);
      assert.deepEqual(await ping(gateways.a, BEYOND, 5, 0.05), { sent: 5, received: 5 });
    });

    await t.test("tells charon's kernel about the path MTU of IKE", async () => {
      const quoted = ipOf(
        ipFrame({ from: address(A4), to: address(B4), protocol: 17, payload: udp(500, 500, [1]) }),
      );
      const message = [3, 4, 0, 0, 0, 0, 600 >>> 8, 600 & 255, ...quoted.subarray(0, 28)];
      await sendFrame(
        wan,
        "to-a",
        icmpFrame({
          to: address(A4),
          from: address(ROUTER),
          station: macBytes(wan0),
          sender: PEER,
          payload: message,
        }),
      );
      await until(
        "the path MTU in gateway A's kernel",
        async () =>
          (await run("ip", ["-n", gateways.a, "route", "get", B4, "from", A4])).stdout.includes("mtu 600"),
        3000,
      );
    });

    await t.test("carries IKE in fragments between two charons", async () => {
      await a.charon.load(longConnection(network, "a", options));
      await b.charon.load(longConnection(network, "b", options));
      await a.charon.initiate();
      assert.deepEqual(await ping(hosts.a, sides.b.host, 3, 0.05), { sent: 3, received: 3 });
      assert.ok((await reassembled(gateways.b)) >= 1, "IKE_AUTH was to come in pieces");
    });

    await t.test(
      "lets a TCP server be reached in traffic `all`, with checksums left unfinished; not in `ike`",
      async () => {
        for (const device of ["to-a", "switch"])
          await run("ethtool", ["-K", device, "tx", "on", "tso", "off", "gso", "off"], {
            namespace: wan,
            tolerate: true,
          });
        const server = await startIperfServer(lab, gateways.a);
        assert.ok((await tcp(wan, A4, { seconds: 1 })) > 10e6);
        await server.stop();
        assert.ok(counter(a, "punt.checksums") > 100, "this was to be about unfinished checksums");
        await run("ethtool", ["-K", "to-a", "tx", "off"], { namespace: wan });
        const inPieces = ["-n", "-c", "1", "-W", "1", "-s", "3000", A4];
        assert.match((await run("ping", inPieces, { namespace: wan })).stdout, / 1 received/);
        const before = counter(b, "owned-input.drop.not_punted");
        const knock = ["0.5", "bash", "-c", `</dev/tcp/${B4}/22`];
        const { status } = await run("timeout", knock, { namespace: wan, tolerate: true });
        assert.equal(status, 124, "neither accepted nor refused");
        assert.ok(counter(b, "owned-input.drop.not_punted") > before);
      },
    );

    await t.test("logs and defends an address that somebody else claims", async () => {
      const claim = written((view, bytes) =>
        writeArpRequest(view, bytes, 0, THIRD, address(A4), address(A4)),
      );
      await sendFrame(wan, "to-a", claim);
      const log = lab.path("run", "gw-a", "worker-0.log");
      await until(
        "a line in the log",
        () => readFileSync(log, "utf8").includes(`02:00:00:00:00:03 claims ${A4} too`),
        3000,
      );
      assert.ok(counter(a, "arp.conflicts") >= 1);
      assert.deepEqual(await ping(wan, A4, 2, 0.05), { sent: 2, received: 2 });
    });

    await t.test(
      "outlives its worker, which keeps charon's device, and all of Vita being killed",
      async () => {
        const index = await indexOf(gateways.a, DEVICE);
        assert.ok(index);
        const works = async () => {
          await until("an answer", async () => (await ping(wan, A4, 1, 0.1)).received === 1, 5000);
          await until(
            "the tunnel",
            async () => (await ping(hosts.a, sides.b.host, 1, 0.1)).received === 1,
            5000,
          );
          await until(
            "a rekey",
            () =>
              a.charon.rekeyChild().then(
                () => true,
                () => false,
              ),
            20_000,
          );
          assert.equal(await indexOf(gateways.a, DEVICE), index);
          for (const ip of [BEYOND, BEYOND6])
            assert.deepEqual(await ping(gateways.a, ip, 2, 0.05), { sent: 2, received: 2 });
        };
        const first = workerPid(a);
        process.kill(first, "SIGKILL");
        await until("another worker", () => ![0, first].includes(workerPid(a)), 5000, 20);
        await works();
        const second = workerPid(a);
        assert.ok(a.vita);
        await a.vita.process.stop("SIGKILL");
        process.kill(second, "SIGKILL");
        a.vita = await Vita.start(lab, gateways.a, a.vita.configuration, "again");
        await works();
      },
    );

    await t.test("leaves nothing behind when it ends", async () => {
      assert.notEqual(await traces(gateways.a), "");
      await a.charon.process.stop();
      await a.vita?.process.stop();
      assert.equal(await indexOf(gateways.a, DEVICE), undefined);
      assert.equal(await traces(gateways.a), "");
      const { allmulti } = await linkOf(gateways.a, "wan0");
      assert.equal(allmulti, 0);
    });
  });
});

test("an owned interface without XDP: the kernel hears nothing, and nothing is answered twice", async () => {
  await withLab("owned", async (lab) => {
    const network = await createNetwork(lab, 4);
    const { wan, gateways, hosts, sides } = network;
    await addAddress(wan, "switch", "192.0.2.9/24");
    const packet = (usual: VitaConfiguration, side: Side): VitaConfiguration => {
      const [leaves] = configuration(usual, side)["public-interface"];
      return { ...usual, "public-interface": [{ ...leaves, driver: "packet" }] };
    };
    const a = await startGateway(lab, network, "a", { ...options, modes: { a: "owned" }, vita: packet });
    await startGateway(lab, network, "b", { ...options, modes: {}, vita: (usual) => usual });
    const { stdout } = await run("ping", ["-n", "-c", "3", "-i", "0.1", A4], { namespace: wan });
    assert.match(stdout, /3 received/);
    assert.doesNotMatch(stdout, /DUP/);
    await a.charon.initiate();
    assert.deepEqual(await ping(hosts.a, sides.b.host, 3, 0.05), { sent: 3, received: 3 });
    const listing = () => run("nft", ["list", "tables"], { namespace: gateways.a });
    assert.match((await listing()).stdout, /netdev vita_/);

    // Killed, and started again as if the interface were the kernel's as ever: nothing of the past is in the way.
    assert.ok(a.vita);
    const worker = workerPid(a);
    await a.vita.process.stop("SIGKILL");
    process.kill(worker, "SIGKILL");
    await addAddress(gateways.a, "wan0", `${A4}/24`);
    const { node, "private-interface": lan } = a.vita.configuration;
    const shared = { node, "public-interface": [{ name: "wan0" }], "private-interface": lan };
    a.vita = await Vita.start(lab, gateways.a, shared, "again");
    assert.equal((await listing()).stdout, "");
    assert.equal(await indexOf(gateways.a, DEVICE), undefined);
    assert.equal(await traces(gateways.a), "");
    assert.deepEqual(await ping(wan, A4, 3, 0.05), { sent: 3, received: 3 });
  });
});
