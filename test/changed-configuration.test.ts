// Runs of one node whose configuration changes between them: whatever the earlier one left when it was killed, the next one
// takes over or removes, and in the end the system is as it was before.

import assert from "node:assert/strict";
import { test } from "node:test";
import { run, until } from "../src/lab/command.js";
import { type Lab, withLab } from "../src/lab/lab.js";
import { createLink } from "../src/lab/netns.js";
import { Vita, type VitaConfiguration } from "../src/lab/vita.js";

const plain: VitaConfiguration = {
  node: "n",
  "public-interface": [{ name: "wan0" }],
  "private-interface": [{ name: "lan0" }],
};
const withTun = (name: string, more: Partial<VitaConfiguration> = {}): VitaConfiguration => ({
  ...plain,
  "private-interface": [{ name: "lan0" }, { name, driver: "tun" }],
  ...more,
});
const owned: VitaConfiguration = {
  ...plain,
  "public-interface": [{ name: "wan1", mode: "owned", address: ["203.0.113.5/24"] }],
};

interface Machine {
  lab: Lab;
  namespace: string;
  /** Devices, XDP programs, rules, routes and nftables of the gateway. */
  snapshot(): Promise<Record<string, string>>;
}

async function withMachine(use: (machine: Machine) => Promise<void>): Promise<void> {
  await withLab("changed", async (lab) => {
    const namespace = await lab.namespace("gw");
    const far = await lab.namespace("far");
    await createLink(
      { namespace, device: "wan0", addresses: ["192.0.2.1/24"] },
      { namespace: far, device: "x0" },
    );
    await createLink({ namespace, device: "wan1" }, { namespace: far, device: "x1" });
    await createLink(
      { namespace, device: "lan0", addresses: ["10.1.0.1/24"] },
      { namespace: far, device: "y0" },
    );
    const show = async (command: string, ...args: string[]) =>
      (await run(command, args, { namespace })).stdout.trim();
    const snapshot = async () => ({
      links: (await show("ip", "-o", "link")).replace(/^\d+: (\S+?)[@:].*$/gm, "$1"),
      programs: ((await show("ip", "link")).match(/prog\/xdp.*/g) ?? []).join("\n"),
      rules: `${await show("ip", "rule")}\n${await show("ip", "-6", "rule")}`,
      routes: await show("ip", "route", "show", "table", "all", "scope", "link"),
      nftables: await show("nft", "list", "ruleset"),
    });
    await use({ lab, namespace, snapshot });
  });
}

let runs = 0;

function start({ lab, namespace }: Machine, configuration: VitaConfiguration): Promise<Vita> {
  return Vita.start(lab, namespace, configuration, `vita-${runs++}`);
}

/** The supervisor is killed, its worker goes on. */
async function runAndKill(machine: Machine, configuration: VitaConfiguration): Promise<void> {
  const vita = await start(machine, configuration);
  await vita.process.stop("SIGKILL");
}

async function runAndStop(machine: Machine, configuration: VitaConfiguration): Promise<void> {
  const vita = await start(machine, configuration);
  await vita.process.stop();
  assert.equal(vita.process.ended, "exit code 0");
}

const changes: [string, VitaConfiguration, VitaConfiguration][] = [
  ["another name of the tun device", withTun("vita0"), withTun("vita1")],
  ["other routing tables", withTun("vita0"), withTun("vita0", { "route-table": 300 })],
  ["no tun device any more", withTun("vita0"), plain],
  ["the tun device has the name of what led to charon", owned, withTun("vita-ike0")],
  ["what leads to charon has the name of the tun device", withTun("vita-ike0"), owned],
  ["another size of the SAD", plain, { ...plain, limits: { sas: 100 } }],
];

test("nothing of an earlier run stays, whatever the configuration was", async (t) => {
  await withMachine(async (machine) => {
    const before = await machine.snapshot();
    for (const [name, first, second] of changes) {
      await t.test(name, async () => {
        await runAndKill(machine, first);
        await runAndStop(machine, second);
        // At once: whoever waits for the end of `vita run` may set the system up again.
        assert.deepEqual(await machine.snapshot(), before);
      });
    }
  });
});

test("a run that cannot begin says why, removes what an earlier one left, and does not crash", async () => {
  await withMachine(async (machine) => {
    const before = await machine.snapshot();
    const missing = withTun("vita0", { "public-interface": [{ name: "nope0" }] });
    for (let again = 0; again < 3; again++) {
      await runAndKill(machine, withTun("vita0"));
      await assert.rejects(
        start(machine, missing),
        /ended \(exit code 1\)[\s\S]*no network device "nope0"/,
        "it must say what is wrong",
      );
      assert.deepEqual(await machine.snapshot(), before);
    }
  });
});

test("a device that another node makes is refused, and left to it", async () => {
  await withMachine(async (machine) => {
    const others: Partial<VitaConfiguration> = { node: "m" };
    const tun = (name: string) => [{ name, driver: "tun" as const }];
    const pairs: [VitaConfiguration, VitaConfiguration, string][] = [
      [
        withTun("vita0"),
        { ...plain, ...others, "public-interface": [{ name: "wan1" }], "private-interface": tun("vita0") },
        '/private-interface[name="vita0"]',
      ],
      [
        owned,
        {
          ...plain,
          ...others,
          "public-interface": [{ name: "wan0", mode: "owned", address: ["203.0.113.6/24"] }],
          "private-interface": tun("vita5"),
        },
        '/public-interface[name="wan0"]/punt/device',
      ],
    ];
    for (const [first, second, where] of pairs) {
      const vita = await start(machine, first);
      const before = await machine.snapshot();
      await assert.rejects(start(machine, second), (error: Error) => {
        const words = `${where}: is in use by node n (process ${vita.process.pid}): `;
        assert.ok(error.message.includes(words), error.message);
        return true;
      });
      assert.deepEqual(await machine.snapshot(), before);
      await vita.process.stop();
    }
  });
});

/** Makes a TUN device, and has it open. */
const holder = `
import fcntl, struct, time
tun = open("/dev/net/tun", "r+b", buffering=0)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"vita0", 0x1001))
print("open", flush=True)
time.sleep(600)
`;

test("a device that another program has at work is refused, and left to it", async () => {
  await withMachine(async (machine) => {
    const { lab, namespace } = machine;
    const program = lab.start("/usr/bin/python3", ["-c", holder], { name: "holder", namespace });
    await until("the device", () => /open/.test(program.tail()), 5000);
    const before = await machine.snapshot();
    await assert.rejects(start(machine, withTun("vita0")), /TUN device vita0 is in use by another program/);
    assert.deepEqual(await machine.snapshot(), before);
  });
});
