// Two clients behind one NAT with the same inner network, each connected to a network of its own behind the gateway: they
// have one public address, the same inner addresses, and are told apart by interface ids that charon draws.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Charon } from "../src/lab/charon.js";
import { sleep } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { Nat } from "../src/lab/nat.js";
import { addAddress, createBridge, createLink } from "../src/lab/netns.js";
import { ikeProposals } from "../src/lab/sites.js";
import { connectionSection, type SwanctlEnd, swanctlFile } from "../src/lab/swanctl.js";
import { Flow } from "../src/lab/traffic.js";
import { Vita } from "../src/lab/vita.js";
import { addCustomer } from "../src/lab/vlan.js";

const GATEWAY = "192.0.2.1";
const HOST = "10.50.0.2";
const CLIENT = "10.60.0.2";
const clients = [1, 2] as const;
const behind = (client: number) => `192.168.77.${client + 1}`;

interface End extends SwanctlEnd {
  selector: string;
}

/** A connection with one child, which has the selectors of the ends. */
function connection(
  name: string,
  here: End,
  there: End,
  child: readonly string[] = [],
  childName = "net",
): string {
  return connectionSection({
    name,
    local: here,
    remote: there,
    proposals: ikeProposals,
    lines: ["rekey_time = 0", "mobike = no"],
    children: {
      [childName]: [
        `local_ts = ${here.selector}`,
        `remote_ts = ${there.selector}`,
        "esp_proposals = aes128gcm16-x25519-esn",
        "rekey_time = 0",
        ...child,
      ],
    },
  });
}

const conf = (...connections: string[]) => swanctlFile(connections, "behind one address");
const gatewayEnd = (address: string) => ({ address, id: "gateway", selector: "10.50.0.0/24" });
const clientEnd = (client: number, address: string) => ({
  address,
  id: `client-${client}`,
  selector: "10.60.0.0/24",
});

const hostEnd = (id: string, address: string) => ({ address, id, selector: "dynamic" });
const transport = [["mode = transport"], "host"] as const;

test("two clients behind one NAT with the same inner network, told apart by interface ids", async () => {
  await withLab("clients", async (lab) => {
    const gateway = await lab.namespace("gw");
    const hub = await lab.namespace("hub");
    const wan = await lab.namespace("wan");
    await createLink(
      { namespace: gateway, device: "lan0", addresses: ["172.21.0.1/24"] },
      { namespace: hub, device: "lan0", addresses: ["172.21.0.2/24"] },
    );
    await createLink(
      { namespace: gateway, device: "wan0", addresses: [`${GATEWAY}/24`] },
      { namespace: wan, device: "to-gw" },
    );
    await createBridge(wan, "switch", ["to-gw"]);
    const nat = await Nat.create(lab, { family: 4, wan, ports: [30_000, 30_999] });
    const hosts: string[] = [];
    const ends: string[] = [];
    for (const client of clients) {
      hosts.push(await lab.namespace(`host-${client}`));
      await addCustomer(
        {
          near: { namespace: gateway, device: "lan0", address: "172.21.0.1" },
          far: { namespace: hub, device: "lan0", address: "172.21.0.2" },
        },
        client,
        { namespace: hosts[client - 1], address: `${HOST}/24`, gateway: "10.50.0.1" },
      );
      const end = await lab.namespace(`client-${client}`);
      ends.push(end);
      await nat.connect({ namespace: end, device: "wan0", address: behind(client) });
      await addAddress(end, "lo", `${CLIENT}/32`);
    }

    const start = async (
      name: string,
      namespace: string,
      interfaces: Parameters<typeof Vita.start>[2]["private-interface"],
      connections: string,
    ) => {
      const vita = await Vita.start(lab, namespace, {
        node: name,
        "public-interface": [{ name: "wan0" }],
        "private-interface": interfaces,
      });
      const charon = await Charon.start(lab, {
        name,
        namespace,
        system: "vita",
        vitaSocket: vita.charonSocket,
        connection: connections,
      });
      return { vita, charon };
    };
    const unique = ["if_id_in = %unique", "if_id_out = %unique"];
    const { vita, charon: responder } = await start(
      "gateway",
      gateway,
      clients.map((client) => ({ name: `lan0.${client}`, "if-id": client })),
      conf(
        ...clients.map((client) =>
          connection(`client-${client}`, gatewayEnd(GATEWAY), clientEnd(client, "%any"), unique),
        ),
        connection("host", hostEnd("gateway-host", GATEWAY), hostEnd("client-host", "%any"), ...transport),
      ),
    );
    const charons: Charon[] = [];
    for (const client of clients) {
      const { charon } = await start(
        `client-${client}`,
        ends[client - 1],
        [{ name: "vita0", driver: "tun" }],
        conf(
          connection("gateway", clientEnd(client, behind(client)), gatewayEnd(GATEWAY)),
          connection(
            "host",
            hostEnd("client-host", behind(client)),
            hostEnd("gateway-host", GATEWAY),
            ...transport,
          ),
        ),
      );
      charons.push(charon);
      await charon.initiate();
    }

    const sas = vita.state().sas.filter(({ direction }) => direction === "in");
    assert.deepEqual(
      sas.map(({ ifId }) => ifId),
      [1, 2],
    );
    assert.ok(sas.every(({ src, udpEncapsulation }) => src.startsWith(nat.outside) && udpEncapsulation));
    assert.notEqual(sas[0].src, sas[1].src, "the same port");

    const before = vita.drops();
    const flows = await Promise.all(
      clients.flatMap((client) => {
        const [host, end] = [hosts[client - 1], ends[client - 1]];
        const flow = (name: string, from: string, to: string, address: string) =>
          Flow.start(lab, { name: `${name}-${client}`, from, to, address, port: 7000, rate: 200 });
        return [flow("down", host, end, CLIENT), flow("up", end, host, HOST)];
      }),
    );
    await sleep(1500);
    // Whoever got a packet of the other one would have it twice: the flows are numbered alike.
    for (const { sent, received, duplicates } of await Promise.all(flows.map((flow) => flow.stop()))) {
      assert.ok(sent > 100);
      assert.equal(received, sent);
      assert.equal(duplicates, 0);
    }
    assert.deepEqual(vita.drops(), before);

    // The gateway has no TUN device, and transport mode nobody to be for: charon's log says what to do about it.
    await assert.rejects(charons[0].initiate(5, "host"));
    assert.match(responder.process.tail(), /transport mode .* add \{ "name": "vita0", "driver": "tun" \}/);
  });
});
