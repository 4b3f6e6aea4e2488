// Road warriors: hosts that are gateways of nobody but themselves get virtual addresses, IPv4 and IPv6, from the pools of a
// hub and reach its network with them. One has its address where charon puts it by itself, the other on Vita's device
// (charon.install_virtual_ip_on).

import assert from "node:assert/strict";
import { test } from "node:test";
import { Charon } from "../src/lab/charon.js";
import { run, runJson, sleep, until } from "../src/lab/command.js";
import { addAddress, createLink } from "../src/lab/netns.js";
import { ikeProposals } from "../src/lab/sites.js";
import { Flow, ping } from "../src/lab/traffic.js";
import { Vita } from "../src/lab/vita.js";
import { withSites } from "./lifecycle/sites.js";

const HUB = "192.0.2.2";
const inside = { 4: "10.2.0.2", 6: "2001:db8:b::2" };
const secrets = `secrets {
  ike-all {
    secret = "come as you are"
  }
}
`;
const proposals = `proposals = ${ikeProposals}
    mobike = no`;

const hub = `connections {
  warriors {
    version = 2
    local_addrs = ${HUB}
    pools = four, six
    ${proposals}
    local {
      auth = psk
      id = hub
    }
    remote {
      auth = psk
    }
    children {
      net {
        local_ts = 10.2.0.0/24, 2001:db8:b::/64
        esp_proposals = aes128gcm16-x25519-esn
      }
    }
  }
}
pools {
  four {
    addrs = 10.9.0.0/24
  }
  six {
    addrs = 2001:db8:9::/120
  }
}
${secrets}`;

/** `everything`: all of the client's traffic is to go to the hub, which narrows that to its own network. */
const warrior = (name: string, address: string, remote: string) => `connections {
  hub {
    version = 2
    local_addrs = ${address}
    remote_addrs = ${HUB}
    vips = 0.0.0.0, ::
    ${proposals}
    local {
      auth = psk
      id = ${name}
    }
    remote {
      auth = psk
      id = hub
    }
    children {
      net {
        remote_ts = ${remote}
        esp_proposals = aes128gcm16-x25519-esn
      }
    }
  }
}
${secrets}`;

interface Device {
  ifname: string;
  addr_info: { local: string }[];
}

/** Where an address of a namespace is. */
async function deviceOf(namespace: string, address: string): Promise<string | undefined> {
  const devices = await runJson<Device[]>("ip", ["-j", "address"], { namespace });
  return devices.find(({ addr_info }) => addr_info.some(({ local }) => local === address))?.ifname;
}

async function routes(namespace: string): Promise<string> {
  const table = (family: string) =>
    run("ip", [family, "route", "show", "table", "221"], { namespace, tolerate: true });
  return (await table("-4")).stdout + (await table("-6")).stdout;
}

test("two road warriors with virtual addresses from a hub's pools", async (t) => {
  const a = "192.0.2.1";
  const c = "192.0.2.3";
  const tun = { "private-interface": [{ name: "vita0", driver: "tun" as const }] };
  await withSites(
    "virtual",
    {
      settings: ["install_virtual_ip = yes"],
      swanctl: { a: warrior("client-a", a, "10.2.0.0/24, 2001:db8:b::/64"), b: hub },
      vita: (usual, side) => (side === "a" ? { ...usual, ...tun } : usual),
    },
    async ({ lab, network, gateways, leaks }) => {
      await addAddress(network.gateways.b, "lan0", "2001:db8:b::1/64");
      await addAddress(network.hosts.b, "lan0", `${inside[6]}/64`);
      await run("ip", ["-6", "route", "add", "default", "via", "2001:db8:b::1"], {
        namespace: network.hosts.b,
      });
      const namespace = await lab.namespace("client-c");
      await createLink(
        { namespace, device: "wan0", addresses: [`${c}/24`] },
        { namespace: network.wan, device: "to-c" },
      );
      await run("ip", ["link", "set", "to-c", "master", "switch"], { namespace: network.wan });
      const vita = await Vita.start(lab, namespace, {
        node: "client-c",
        "public-interface": [{ name: "wan0" }],
        ...tun,
      });
      const charon = await Charon.start(lab, {
        name: "client-c",
        namespace,
        system: "vita",
        vitaSocket: vita.charonSocket,
        connection: warrior("client-c", c, "0.0.0.0/0, ::/0"),
        settings: ["install_virtual_ip = yes", "install_virtual_ip_on = vita0"],
      });
      const clients = [
        { namespace: network.gateways.a, charon: gateways.a.charon, vita: gateways.a.vita!, on: "wan0" },
        { namespace, charon, vita, on: "vita0" },
      ];
      for (const [i, client] of clients.entries()) {
        await client.charon.initiate();
        const virtual = { 4: `10.9.0.${i + 1}`, 6: `2001:db8:9::${i + 1}` };
        for (const family of [4, 6] as const) {
          assert.equal(await deviceOf(client.namespace, virtual[family]), client.on);
          const there = await ping(client.namespace, inside[family], 3, 0.05);
          assert.equal(there.received, 3, `client ${i}, IPv${family}, to the network`);
          const back = await ping(network.hosts.b, virtual[family], 3, 0.05);
          assert.equal(back.received, 3, `client ${i}, IPv${family}, from the network`);
        }
      }
      const flows = await Promise.all(
        clients.map(({ namespace: from }, i) =>
          Flow.start(lab, {
            name: `flow-${i}`,
            from,
            to: network.hosts.b,
            address: inside[4],
            port: 7000 + i,
            rate: 1500,
          }),
        ),
      );
      await clients[1].charon.rekeyChild();
      await sleep(500);
      for (const flow of flows) {
        const { sent, received } = await flow.stop();
        t.diagnostic(`${received} of ${sent} arrived`);
        assert.equal(received, sent);
      }
      for (const { namespace: host, charon: client, vita: mine } of clients) {
        await client.swanctl("--terminate", ["--ike", "hub"]);
        await until(
          "no SAs",
          () => mine.state().sas.length === 0 && mine.state().policies.length === 0,
          3000,
        );
        assert.equal(await routes(host), "", "routes into the tunnel are gone");
        for (const virtual of ["10.9.0.1", "10.9.0.2", "2001:db8:9::1", "2001:db8:9::2"])
          assert.equal(await deviceOf(host, virtual), undefined);
      }
      await leaks.stop();
      assert.equal(leaks.count, 0, "packets in the clear");
    },
  );
});
