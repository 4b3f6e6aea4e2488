// Every cipher that strongSwan's own ESP in user space (libipsec) knows too, between a Vita and one of those: an independent
// implementation, in the key exchange as on the wire. libipsec has no extended sequence numbers; the tests with scapy do.

import assert from "node:assert/strict";
import { test } from "node:test";
import { withLab } from "../src/lab/lab.js";
import { connectionOf, createNetwork, type SitesOptions, startGateways } from "../src/lab/sites.js";
import { ping } from "../src/lab/traffic.js";

const options: SitesOptions = {
  family: 4,
  systems: { a: "vita", b: "libipsec" },
  preSharedKey: "an independent opinion",
};

/** What is configured, and what comes of it; null for no proposals at all. */
const proposals: [esp: string | null, algorithm: string][] = [
  [null, "aes128gcm16"],
  ["default", "aes128-sha256"],
  ["aes256gcm16", "aes256gcm16"],
  ["chacha20poly1305", "chacha20poly1305"],
  ["aes256-sha256", "aes256-sha256"],
  ["aes192-sha384", "aes192-sha384"],
  ["aes256-sha512", "aes256-sha512"],
  ["aes128-sha1", "aes128-sha1"],
];

test("Vita and libipsec understand each other with every cipher", async (t) => {
  await withLab("libipsec", async (lab) => {
    const network = await createNetwork(lab, 4);
    const { a, b } = await startGateways(lab, network, options);
    for (const [esp, algorithm] of proposals)
      await t.test(esp === null ? "no esp_proposals" : `esp_proposals = ${esp}`, async () => {
        for (const gateway of [a, b]) {
          const connection = connectionOf(network, gateway.side, options);
          if (esp === null) delete connection.espProposals;
          else connection.espProposals = esp;
          await gateway.charon.load(connection);
        }
        await a.charon.initiate();
        try {
          // Four lengths of padding, the last in packets that fill the way.
          for (const size of [16, 21, 26, 1372])
            assert.equal((await ping(network.hosts.a, network.sides.b.host, 1, 0.01, size)).received, 1);
          assert.equal((await ping(network.hosts.b, network.sides.a.host, 3, 0.01)).received, 3);
          // Those that were deleted before linger for a while.
          const sas = a.vita!.state().sas.filter(({ state }) => state === "active");
          assert.deepEqual(
            sas.map((sa) => [sa.algorithm, sa.packets]),
            [0, 1].map(() => [algorithm, 7]),
          );
          assert.deepEqual(a.vita!.drops(), {});
        } finally {
          await a.charon.terminate();
        }
      });
  });
});
