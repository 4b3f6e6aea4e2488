// The device to the kernel of an owned interface, made, taken over with another configuration, and removed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { run } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { createLink } from "../src/lab/netns.js";

const program = fileURLToPath(new URL("./ports/punt-device.js", import.meta.url));

const first = {
  name: "wan0",
  mode: "owned",
  address: ["192.0.2.1/24", "192.0.2.77/24", "2001:db8::1/64"],
  gateway: ["192.0.2.254", "fe80::1"],
};
const second = { ...first, address: ["192.0.2.1/24", "198.51.100.1/30"], gateway: [] };

test("charon's device: addresses, rules and routes are made, changed where they differ, and removed", async () => {
  await withLab("punt", async (lab) => {
    const namespace = await lab.namespace("gw");
    const other = await lab.namespace("wan");
    await createLink({ namespace, device: "wan0" }, { namespace: other, device: "to-gw" }, { mtu: 1400 });
    const ip = async (...words: string[]) => (await run("ip", ["-n", namespace, ...words])).stdout;
    const device = (leaves: object, action = "keep") =>
      run(process.execPath, [program, JSON.stringify(leaves), action], { namespace });
    const there = async () => {
      const own = (text: string) =>
        text
          .split("\n")
          .filter((line) => line.includes("222") || line.includes("suppress"))
          .map((line) => line.trim().replace(/\s+/g, " "));
      const addresses = (await ip("-o", "address", "show", "dev", "vita-ike0"))
        .split("\n")
        .flatMap((line) => /inet6? (\S+)/.exec(line)?.[1] ?? []);
      return {
        addresses,
        rules: [...own(await ip("rule")), ...own(await ip("-6", "rule"))],
        routes: [
          ...(await ip("route", "show", "table", "222")).split(/ ?\n/).filter(Boolean),
          ...(await ip("-6", "route", "show", "table", "222")).split(/ ?\n/).filter(Boolean),
        ].map((line) => line.replace(/ metric.*/, "").replace(" linkdown", "")),
      };
    };
    // Rules of somebody else's are left alone, though they have our number.
    await ip("rule", "add", "pref", "222", "from", "10.9.9.9", "lookup", "99");

    for (let again = 0; again < 2; again++) {
      await device(first);
      assert.deepEqual(await there(), {
        addresses: ["192.0.2.1/32", "192.0.2.77/32", "2001:db8::1/128"],
        rules: [
          "222: from 10.9.9.9 lookup 99",
          "222: from 192.0.2.1 lookup main suppress_prefixlength 0",
          "222: from 192.0.2.1 lookup 222",
          "222: from 192.0.2.77 lookup main suppress_prefixlength 0",
          "222: from 192.0.2.77 lookup 222",
          "32990: from all lookup 222",
          "222: from 2001:db8::1 lookup main suppress_prefixlength 0",
          "222: from 2001:db8::1 lookup 222",
          "32990: from all lookup 222",
        ],
        routes: [
          "default dev vita-ike0 scope link src 192.0.2.1",
          "192.0.2.0/24 dev vita-ike0 scope link src 192.0.2.1",
          "2001:db8::/64 dev vita-ike0 src 2001:db8::1",
          "default dev vita-ike0 src 2001:db8::1",
        ],
      });
      assert.match(await ip("link", "show", "dev", "vita-ike0"), /[<,]UP[,>].* mtu 1400 /);
    }

    await device(second);
    const changed = await there();
    assert.deepEqual(changed.addresses, ["192.0.2.1/32", "198.51.100.1/32"]);
    assert.deepEqual(changed.routes, [
      "192.0.2.0/24 dev vita-ike0 scope link src 192.0.2.1",
      "198.51.100.0/30 dev vita-ike0 scope link src 198.51.100.1",
    ]);
    assert.equal(changed.rules.length, 6);
    assert.ok(!changed.rules.join().includes("192.0.2.77"));

    await device(second, "remove");
    assert.doesNotMatch(await ip("link"), /vita-ike0/);
    const left = (await ip("rule")) + (await ip("-6", "rule"));
    assert.doesNotMatch(left, /lookup 222|suppress/);
    assert.match(left, /10\.9\.9\.9/);
  });
});
