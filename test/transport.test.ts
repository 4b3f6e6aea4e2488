// Transport mode between two hosts, each with Vita's TUN device: everything between them, then one protocol and port, with
// two real charons. What is protected leaves as ESP alone; what is not leaves by the kernel as ever.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Capture } from "../src/lab/capture.js";
import { run, sleep } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { addAddress } from "../src/lab/netns.js";
import { createNetwork, ikeProposals, otherSide, type Side, startGateways } from "../src/lab/sites.js";
import { connectionSection, swanctlFile } from "../src/lab/swanctl.js";
import { Flow, ping, startIperfServer, tcp } from "../src/lab/traffic.js";
import { Vita } from "../src/lab/vita.js";

const addresses = {
  four: { a: "192.0.2.1", b: "192.0.2.2" },
  six: { a: "2001:db8:ffff::1", b: "2001:db8:ffff::2" },
};

/** A connection for each family, in UDP for IPv6; `local` and `remote` are the brackets of the selectors. */
function swanctl(side: Side, local = "", remote = ""): string {
  const there = otherSide[side];
  const connection = (name: "four" | "six") =>
    connectionSection({
      name,
      local: { address: addresses[name][side], id: `${name}-${side}` },
      remote: { address: addresses[name][there], id: `${name}-${there}` },
      proposals: ikeProposals,
      lines: ["rekey_time = 0", "mobike = no", `encap = ${name === "six" ? "yes" : "no"}`],
      children: {
        [name]: [
          "mode = transport",
          `local_ts = dynamic${local}`,
          `remote_ts = dynamic${remote}`,
          "esp_proposals = aes128gcm16-x25519-esn",
          "rekey_time = 0",
        ],
      },
    });
  return swanctlFile([connection("four"), connection("six")], "host to host");
}

test("two hosts in transport mode: pings, TCP and UDP, rekeyed under traffic; then one port alone", async () => {
  await withLab("transport", async (lab) => {
    const network = await createNetwork(lab, 4);
    for (const side of ["a", "b"] as const)
      await addAddress(network.gateways[side], "wan0", `${addresses.six[side]}/64`);
    const { a: hostA, b: hostB } = network.gateways;
    const { a, b } = await startGateways(lab, network, {
      family: 4,
      systems: { a: "vita", b: "vita" },
      preSharedKey: "",
      swanctl: { a: swanctl("a"), b: swanctl("b") },
      vita: (usual) => ({ ...usual, "private-interface": [{ name: "vita0", driver: "tun" }] }),
    });
    const watch = (name: string, filter: string) =>
      Capture.start(lab, { name, namespace: network.wan, device: network.wanPort, filter });
    const end = async (capture: Capture) => {
      assert.equal(await capture.stop(), 0, "the capture dropped packets: it proves nothing");
      return capture.count;
    };
    const rules = async () =>
      (await run("ip", ["rule"], { namespace: hostA })).stdout.split("\n").filter(Boolean).length;
    const before = await rules();

    assert.equal((await ping(hostA, addresses.four.b, 2, 0.1)).received, 2, "without policies");
    for (const name of ["four", "six"]) await a.charon.initiate(15, name);
    const esp = await watch("esp", "esp or udp port 4500 or ip6[6] = 17 and ip6[42:2] = 4500");
    const clear = await watch("clear", "icmp or tcp or udp port 7000 or icmp6[0] = 128 or icmp6[0] = 129");
    for (const name of ["four", "six"] as const) {
      assert.equal((await ping(hostA, addresses[name].b, 5, 0.05)).received, 5, name);
      assert.equal((await ping(hostB, addresses[name].a, 5, 0.05)).received, 5, name);
    }
    await startIperfServer(lab, hostB);
    assert.ok((await tcp(hostA, addresses.four.b, { seconds: 1 })) > 1e6);
    assert.ok((await tcp(hostA, addresses.six.b, { seconds: 1, reverse: true })) > 1e6);

    const flow = await Flow.start(lab, {
      name: "flow",
      from: hostA,
      to: hostB,
      address: addresses.four.b,
      port: 7000,
      rate: 1000,
    });
    for (const { charon } of [a, b, a]) {
      const children = await charon.childSas();
      const old = children.find(({ name, state }) => name === "four" && state === "INSTALLED");
      await charon.swanctl("--rekey", ["--child-id", old!.uniqueId]);
      await sleep(700);
    }
    // Nor is anything lost, or sent in the clear, when the supervisor dies and another one takes over.
    await a.vita!.process.stop("SIGKILL");
    await sleep(300);
    a.vita = await Vita.start(lab, hostA, a.vita!.configuration, "again");
    await sleep(300);
    const totals = await flow.stop();
    assert.ok(totals.sent > 1500);
    assert.equal(totals.received, totals.sent, `${totals.sent - totals.received} datagrams were lost`);
    assert.equal(totals.duplicates, 0);
    // What comes in the clear all the same is not taken: here from a host that has lost the rule for its policy.
    await run("ip", ["rule", "del", "pref", "221", "lookup", "223"], { namespace: hostB });
    assert.equal(
      (await ping(hostB, addresses.four.a, 2, 0.1)).received,
      0,
      "a ping in the clear was answered",
    );
    assert.equal(
      (await ping(hostA, addresses.four.b, 1, 0.1)).received,
      0,
      "an answer in the clear was taken",
    );
    assert.equal(await end(clear), 3, "something left in the clear");
    assert.ok((await end(esp)) > totals.sent);
    const { sas } = a.vita!.state();
    assert.ok(sas.length >= 4 && sas.every(({ mode }) => mode === "transport"));
    assert.ok(sas.every(({ src, udpEncapsulation }) => src.includes(":") === udpEncapsulation));

    // One port of b alone, for IPv4; the rest is not Vita's business any more.
    for (const name of ["four", "six"]) await a.charon.swanctl("--terminate", ["--ike", name]);
    await sleep(200);
    assert.equal(await rules(), before, "rules of policies that are gone");
    const tables = await run("nft", ["list", "tables"], { namespace: hostA });
    assert.equal(tables.stdout, "");
    await a.charon.load(swanctl("a", "[tcp]", "[tcp/5201]"));
    await b.charon.load(swanctl("b", "[tcp/5201]", "[tcp]"));
    await a.charon.initiate(15, "four");
    const protectedTcp = await watch("protected", "esp");
    const clearTcp = await watch("clear-tcp", "tcp");
    const clearPings = await watch("clear-pings", "icmp");
    assert.ok((await tcp(hostA, addresses.four.b, { seconds: 1 })) > 1e6);
    assert.equal((await ping(hostA, addresses.four.b, 3, 0.05)).received, 3);
    assert.equal(await end(clearTcp), 0, "TCP to port 5201 left in the clear");
    assert.ok((await end(protectedTcp)) > 100);
    assert.equal(await end(clearPings), 6, "pings are not what the policy is for");
  });
});
