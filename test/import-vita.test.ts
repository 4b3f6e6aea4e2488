// Two gateways that had the Vita in Lua: their configurations are imported at both ends, as its documentation spells them, and
// the first packet makes charons negotiate with the key that was Vita's own.

import assert from "node:assert/strict";
import { test } from "node:test";
import { importVita } from "../src/cli/import-vita.js";
import { run } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { createNetwork, type Network, otherSide, type Side, startGateway } from "../src/lab/sites.js";
import { ping } from "../src/lab/traffic.js";
import type { VitaConfiguration } from "../src/lab/vita.js";

function former({ sides }: Network, side: Side): string {
  const own = sides[side];
  const other = sides[otherSide[side]];
  return `
    private_interface { macaddr 52:54:00:00:00:00; pciaddr 0c:00.0; }
    public_interface { macaddr 52:54:00:00:00:FF; pciaddr 0c:00.1; }
    private_ip4 ${own.gateway};
    public_ip4 ${own.wan};
    private_nexthop_ip4 ${own.host};
    public_nexthop_ip4 ${other.wan};
    route {
      id other;
      net_cidr4 ${other.lan};
      gw_ip4 ${other.wan};
      preshared_key 91440DA06376A668AC4959A840A125D75FB544E8AA25A08B813E49F0A4B2E270;
      spi 1001;
    }
    private_mtu 1280;
    sa_ttl 86400;`;
}

test("two imported gateways negotiate and carry traffic", async () => {
  await withLab("imported", async (lab) => {
    const network = await createNetwork(lab, 4);
    const options = { private: "lan0", public: "wan0", deviceOf: () => undefined };
    const start = (side: Side) =>
      startGateway(lab, network, side, {
        family: 4,
        systems: { a: "vita", b: "vita" },
        preSharedKey: "",
        connectionInModel: true,
        vita: ({ node, charon }) => {
          const { configuration } = importVita(former(network, side), { ...options, node });
          return { ...(configuration as unknown as VitaConfiguration), charon };
        },
      });
    const a = await start("a");
    await start("b");
    const { hosts, sides } = network;
    await run("ping", ["-n", "-c", "1", "-W", "8", sides.b.host], { namespace: hosts.a });
    for (const side of ["a", "b"] as const) {
      const counted = await ping(hosts[side], sides[otherSide[side]].host, 5, 0.02);
      assert.deepEqual(counted, { sent: 5, received: 5 });
    }
    const policies = a.vita?.state().policies.map(({ src, dst }) => `${src} ${dst}`);
    assert.ok(policies?.includes(`${sides.a.lan} ${sides.b.lan}`), `narrowed to what both have: ${policies}`);
  });
});
