// charon 6 of a later Debian, with the plugin built from the same source against its headers, on one side; this machine's
// charon on the other; a Vita under each. The suites are `trixie`, or what VITA_STRONGSWAN_SUITES names (`trixie sid`).
// A mirror that cannot be reached is a failure: nothing would have been tested.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { ViciConnection } from "../src/charon/vici-connection.js";
import { run, runJson, sleep, until } from "../src/lab/command.js";
import { connectionOf } from "../src/lab/sites.js";
import {
  activeSas,
  assertAgreement,
  assertWhole,
  loseVita,
  startFlows,
  startVita,
  stopFlows,
  untilTraffic,
  withSites,
} from "./restart-sites.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const suites = (process.env["VITA_STRONGSWAN_SUITES"] ?? "trixie").split(/\s+/).filter(Boolean);

interface Suite {
  version: string;
  root: string;
}

/** What ike-loader.ts counts on: a `load-conn` loads all its sections, up to the first that is refused. */
async function takesManyAtOnce(uri: string): Promise<void> {
  const vici = await ViciConnection.open(uri);
  const section = (proposals: string[]) => ({
    version: "2",
    proposals,
    local: { auth: "psk" },
    remote: { auth: "psk" },
  });
  const good = section(["aes128gcm16-prfsha256-x25519"]);
  const names = async () =>
    (await vici.request("get-conns")).texts("conns").filter((name) => /^many/.test(name));
  await vici.request("load-conn", { "many-1": good, "many-2": good, "many-3": good });
  assert.deepEqual((await names()).sort(), ["many-1", "many-2", "many-3"]);
  await assert.rejects(
    vici.request("load-conn", { "many-4": good, "many-5": section(["none-such"]), "many-6": good }),
    { message: "invalid value for: proposals, config discarded" },
  );
  assert.deepEqual((await names()).sort(), ["many-1", "many-2", "many-3", "many-4"]);
  for (const name of await names()) await vici.request("unload-conn", { name });
  vici.close();
}

for (const suite of suites)
  test(`strongSwan of ${suite} and of this machine: set up, traffic, rekeys, a lifetime, an end`, async (t) => {
    const begun = performance.now();
    const made = await runJson<Suite>(process.execPath, [join(root, "scripts/strongswan-suite.mjs"), suite], {
      timeout: 180_000,
    });
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    t.diagnostic(`strongSwan ${made.version} of ${suite}, there after ${seconds} s`);
    assert.match(made.version, /^6\./);

    const changes = {
      roots: { a: made.root },
      childExtra: ["rekey_time = 0", "life_time = 0", "rekey_packets = 4000", "rand_packets = 0"],
    };
    await withSites(changes, async (sites) => {
      const { a, b } = sites.gateways;
      const log = () => readFileSync(a.charon.process.log, "utf8");
      const upstream = made.version.replace(/-.*/, "");
      assert.match(
        readFileSync(sites.lab.path("gw-a-vita.log"), "utf8"),
        new RegExp(`charon-systemd ${upstream}`),
      );

      for (const { charon } of [a, b]) await takesManyAtOnce(charon.uri);

      // Limits on our side only, so that it is this charon that is told.
      const { network, options } = sites;
      const withoutLimits = { ...options, childExtra: ["rekey_time = 0", "life_time = 0"] };
      await b.charon.load(connectionOf(network, "b", withoutLimits));
      await a.charon.terminate();
      await a.charon.initiate();

      // Rekeyed by either side, and by a limit that Vita tells of; nothing is lost.
      const first = await a.charon.installed();
      const flows = await startFlows(sites);
      await a.charon.rekeyChild();
      await sleep(500);
      await b.charon.rekeyChild();
      await a.charon.rekeyIke();
      const { uniqueId } = (await a.charon.installed())!;
      assert.notEqual(uniqueId, first?.uniqueId);
      await until(
        "a rekey by itself",
        async () => {
          const now = await a.charon.installed();
          return now !== undefined && now.uniqueId !== uniqueId;
        },
        10_000,
      );
      assert.match(log(), /creating rekey job for CHILD_SA ESP/);
      await sleep(1000);
      assertWhole(await stopFlows(flows));

      const child = await a.charon.installed();
      const totals = a.vita!.state().sas.find(({ spi }) => spi === child?.spiOut);
      assert.equal(child?.packetsOut, totals?.packets);
      assert.ok(child && child.packetsIn > 0);

      // A lost SAD comes back: the plugin goes through charon's own lists for that.
      await loseVita(sites.lab, a);
      await startVita(sites, a);
      t.diagnostic(`its SAD lost: traffic is back after ${await untilTraffic(sites)} ms`);
      await sleep(1500);
      await assertAgreement(a);
      await assertAgreement(b);

      await a.charon.terminate();
      await until("the end of all SAs", () => activeSas(a) === 0 && activeSas(b) === 0, 8000);
      assert.deepEqual(a.vita!.state().policies, []);

      // What they propose by themselves.
      for (const [esp, algorithm] of [
        [undefined, "aes128gcm16"],
        ["default", "aes128-sha256"],
      ]) {
        for (const gateway of [a, b]) {
          const { espProposals: _, ...connection } = connectionOf(network, gateway.side, withoutLimits);
          await gateway.charon.load({ ...connection, ...(esp === undefined ? {} : { espProposals: esp }) });
        }
        await a.charon.initiate();
        await untilTraffic(sites);
        const active = a.vita!.state().sas.filter(({ state }) => state === "active");
        assert.deepEqual(
          active.map((sa) => sa.algorithm),
          [algorithm, algorithm],
        );
        await a.charon.terminate();
      }
      assert.equal(/kernel-vita: .*(malformed|ignored|given up)|SIG(SEGV|ABRT)/.test(log()), false, log());

      a.charon.process.signal("SIGTERM");
      assert.equal(await a.charon.process.wait(5000), true);
      assert.equal(a.charon.process.ended, "exit code 0");
    });
  });

test("without a mirror, what is missing is said", async () => {
  const { status, stderr } = await run(
    process.execPath,
    [join(root, "scripts/strongswan-suite.mjs"), "nosuchsuite"],
    { tolerate: true, timeout: 60_000 },
  );
  assert.equal(status, 1);
  assert.match(stderr, /^strongSwan of nosuchsuite: .*\n(.*\n)*let this machine reach its Debian mirror/);
});
