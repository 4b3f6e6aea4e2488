// What the ports on devices take, and what they leave to the kernel: XDP and packet ports, public and private.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { run } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { addAddress, addRoute, createLink } from "../src/lab/netns.js";
import { runInside } from "./ports/child.js";

interface PortResult {
  packets: string[];
  tcp: { packets: number; faults: number };
  misplaced: number;
  lost: number;
  counters: Record<string, number>;
}

const expected = {
  public: ["198.51.100.7 192.0.2.2 192.0.2.1", "2001:db8:f::7 2001:db8::2 2001:db8::1"].flatMap((line) => {
    const [foreign, peer, local] = line.split(" ");
    return [
      `${foreign} > ${local} 50 take: ESP`,
      `${foreign} > ${local} udp 4500 good take: ESP in UDP`,
      `${foreign} > ${local} udp 4500 good \xff`,
      `${peer} > ${local} udp 4500 good take: by the kernel`,
    ];
  }),
  private: [
    ...["198.51.100.7 192.0.2.2 10.30.0.9", "2001:db8:f::7 2001:db8::2 2001:db8:30::9"].flatMap((line) => {
      const [foreign, peer, behind] = line.split(" ");
      return [
        `${foreign} > ${behind} 50 take: anything`,
        `${foreign} > ${behind} udp 9 good take: UDP`,
        `${peer} > ${behind} udp 9 good take: by the kernel`,
      ];
    }),
    "198.51.100.7 > 203.0.113.99 udp 9 good take: not local any more",
  ],
};

for (const type of ["xdp", "packet"] as const)
  for (const role of ["public", "private"] as const)
    test(`${type} port, ${role}: takes its packets and no others`, async () => {
      await withLab("devices", async (lab) => {
        const [gateway, host] = [await lab.namespace("gateway"), await lab.namespace("host")];
        await createLink(
          { namespace: gateway, device: "p0", addresses: ["192.0.2.1/24", "2001:db8::1/64"] },
          { namespace: host, device: "p1", addresses: ["192.0.2.2/24", "2001:db8::2/64"] },
          { mtu: 3000 },
        );
        await addAddress(gateway, "lo", "10.30.0.9/32");
        for (const prefix of ["10.30.0.0/16", "203.0.113.0/24"]) await addRoute(host, prefix, "192.0.2.1");
        await addRoute(host, "2001:db8:30::/48", "2001:db8::1");
        await addRoute(gateway, "198.51.100.0/24", "192.0.2.2");
        await addRoute(gateway, "2001:db8:f::/48", "2001:db8::2");
        // What the host sends by TCP fits into frames once it is cut.
        const short = ["route", "replace", "192.0.2.0/24", "dev", "p0", "src", "192.0.2.1", "advmss", "1400"];
        await run("ip", ["-n", gateway, ...short]);
        // The sender leaves checksums to a network card; the ports make up for what is missing, but XDP where only ESP comes.
        if (type === "packet" || role === "private")
          await run("ethtool", ["-K", "p1", "tx", "on", "tso", "on", "gso", "on"], { namespace: host });
        await run("ping", ["-c", "1", "-W", "5", "192.0.2.1"], { namespace: host });
        await run("ping", ["-c", "1", "-W", "5", "2001:db8::1"], { namespace: host });

        const ready = lab.path("ready");
        const receiving = runInside<PortResult>(gateway, "device-port", [type, role, ready]);
        while (!existsSync(ready)) await new Promise((resolve) => setTimeout(resolve, 10));
        await runInside(host, "device-send", [role]);
        const { packets, tcp, misplaced, lost, counters } = await receiving;

        assert.deepEqual(packets.sort(), [...expected[role]].sort());
        assert.equal(misplaced, 0);
        assert.equal(lost, 0, "frames that nobody has");
        const nstat = await run("nstat", ["-az"], { namespace: host });
        const unreachable = /IcmpMsgInType3\s+(\d+)/.exec(nstat.stdout)?.[1] ?? "0";
        if (type === "packet" && role === "public") {
          assert.equal(counters["port.rx.checksums"], 2);
          // Port 4500 has no listener here: the kernel complains about UDP, IKE or not, but never about ESP.
          const { stdout } = await run("nstat", ["-az", "Ip6InUnknownProtos", "IpInUnknownProtos"], {
            namespace: gateway,
          });
          assert.match(stdout, /IpInUnknownProtos\s+0 /);
          assert.match(stdout, /Ip6InUnknownProtos\s+0 /);
        }
        if (type === "xdp" && role === "private")
          assert.equal(unreachable, "1", "port 9 of the gateway alone");
        if (role === "private") {
          assert.equal(counters["port.drop.oversize"] ?? counters["port.kernel.dropped"], 2);
          assert.equal(counters["port.drop.malformed"], undefined);
          assert.equal(tcp.faults, 0);
          if (type === "packet") {
            assert.ok(counters["port.rx.joined"] > 5, "joined TCP segments");
            assert.ok(tcp.packets >= 500_000 / 1400);
          }
        }
      });
    });
