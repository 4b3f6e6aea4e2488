// A shared public interface with the driver `packet`, which takes copies: the kernel hears IKE, and no ESP.

import assert from "node:assert/strict";
import { test } from "node:test";
import { run, until } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { createLink } from "../src/lab/netns.js";
import { Vita, type VitaConfiguration } from "../src/lab/vita.js";

const configuration: VitaConfiguration = {
  node: "copied",
  "public-interface": [{ name: "wan0", driver: "packet" }],
  "private-interface": [{ name: "vita0", driver: "tun" }],
};

/** Sends ESP in UDP, ESP and IKE to both addresses of the gateway; ESP has the SPI 0x1001, IKE the non-ESP marker. */
const sender = `
import socket
esp = bytes.fromhex("00001001" + "00000001") + bytes(32)
for family, address in (socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"):
    udp = socket.socket(family, socket.SOCK_DGRAM)
    raw = socket.socket(family, socket.SOCK_RAW, 50)
    for _ in range(5):
        udp.sendto(esp, (address, 4500))
        raw.sendto(esp, (address, 0))
    udp.sendto(bytes(4) + b"IKE", (address, 4500))
`;

const receiver = `
import socket
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.bind(("::", 4500))
udp.settimeout(10)
print("ready", flush=True)
print([udp.recv(2000)[4:].decode() for _ in range(2)], flush=True)
udp.settimeout(0.3)
try: print(udp.recv(2000))
except TimeoutError: print("no more", flush=True)
`;

test("driver packet: the kernel hears IKE, and no ESP, until Vita ends", async () => {
  await withLab("copied", async (lab) => {
    const gateway = await lab.namespace("gateway");
    const host = await lab.namespace("host");
    await createLink(
      { namespace: gateway, device: "wan0", addresses: ["192.0.2.1/24", "2001:db8::1/64"] },
      { namespace: host, device: "to-gateway", addresses: ["192.0.2.2/24", "2001:db8::2/64"] },
    );
    const rules = async () => (await run("nft", ["list", "ruleset"], { namespace: gateway })).stdout;
    const vita = await Vita.start(lab, gateway, configuration);
    const kernel = lab.start("python3", ["-c", receiver], { name: "kernel", namespace: gateway });
    await until("the receiver", () => kernel.tail().includes("ready"), 5000, 20);
    await run("python3", ["-c", sender], { namespace: host });
    await until("the end of the receiver", () => !kernel.running, 15_000, 20);
    assert.equal(kernel.tail(), "ready\n['IKE', 'IKE']\nno more");
    await until("all of ESP at Vita", () => vita.state().counters["wan0.rx.packets"] === 20, 5000, 20);
    assert.match(await rules(), /esp/);
    await vita.process.stop();
    assert.equal(await rules(), "");
  });
});

test("the rules of an earlier run go with the driver", async () => {
  await withLab("copied", async (lab) => {
    const gateway = await lab.namespace("gateway");
    const host = await lab.namespace("host");
    await createLink(
      { namespace: gateway, device: "wan0", addresses: ["192.0.2.1/24"] },
      { namespace: host, device: "to-gateway" },
    );
    const rules = async () => (await run("nft", ["list", "ruleset"], { namespace: gateway })).stdout;
    const killed = await Vita.start(lab, gateway, configuration);
    killed.process.signal("SIGKILL");
    await killed.process.wait(5000);
    assert.match(await rules(), /esp/);
    const next = { ...configuration, "public-interface": [{ name: "wan0" }] };
    const vita = await Vita.start(lab, gateway, next, "next");
    assert.equal(await rules(), "");
    await vita.process.stop();
  });
});
