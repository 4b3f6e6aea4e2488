// A node's API, as a client sees it: state, changes that are carried out in the running node, and what it is told of.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { type ClientRequest, request } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { run, until } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { createLink } from "../src/lab/netns.js";
import { Vita } from "../src/lab/vita.js";

interface Reply {
  status: number;
  body: string;
}

/** A request of root over the node's socket. */
function ask(socketPath: string, method: string, path: string, document?: object): Promise<Reply> {
  const headers = { accept: "application/yang-data+json", "content-type": "application/yang-data+json" };
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, method, path, headers }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text: string) => {
        body += text;
      });
      response.once("end", () => resolve({ status: response.statusCode ?? 0, body }));
    });
    asked.once("error", reject);
    asked.end(document && JSON.stringify(document));
  });
}

/** Listens to the node; what it is told is added to `told` as text. */
function listen(socketPath: string, told: string[]): ClientRequest {
  const path = "/restconf/streams/NETCONF/json";
  const asked = request({ socketPath, path, headers: { accept: "text/event-stream" } }, (response) => {
    assert.equal(response.statusCode, 200);
    response.setEncoding("utf8").on("data", (text: string) => told.push(text));
    response.on("error", () => {});
  });
  asked.on("error", () => {});
  asked.end();
  return asked;
}

test("a node over RESTCONF: its state, changes while it runs, and what listeners hear", async () => {
  await withLab("api", async (lab) => {
    const namespace = await lab.namespace("gw");
    const far = await lab.namespace("far");
    for (const [device, address] of [
      ["wan0", "192.0.2.1/24"],
      ["lan0", "10.1.0.1/24"],
    ])
      await createLink({ namespace, device, addresses: [address] }, { namespace: far, device });
    const vita = await Vita.start(lab, namespace, {
      node: "n",
      "public-interface": [{ name: "wan0" }],
      "private-interface": [{ name: "lan0" }],
      "data-plane": true,
    });
    const socket = join(Vita.runDirectory(lab), "n", "api.sock");
    const data = "/restconf/data/vita-gateway:";
    await until("the API", () => ask(socket, "GET", `${data}workers`).catch(() => undefined), 5000);
    const told: string[] = [];
    const listener = listen(socket, told);
    const hears = (what: RegExp) => until(String(what), () => what.test(told.join("")), 5000);
    const change = async (method: string, path: string, document?: object) => {
      const { status, body } = await ask(socket, method, path, document);
      assert.ok(status >= 200 && status < 300, `${method} ${path}: ${status} ${body}`);
    };

    await change("POST", "/restconf/data", {
      "vita-gateway:route": [
        { id: "far", net: ["10.2.0.0/24"], "local-net": ["10.1.0.0/24"], gateway: { ip: "192.0.2.2" } },
      ],
    });
    await hears(/configuration-changed[\s\S]*far/);
    const key = "00112233445566778899aabbccddeeff";
    await change("POST", "/restconf/data", {
      "vita-gateway:outbound-sa": [
        { spi: 2001, route: "far", aead: "aes-gcm-16-icv", key, salt: "01020304" },
      ],
    });
    await hears(/sa-up[\s\S]*000007d1/);
    const state = await ask(socket, "GET", `${data}gateway-state`);
    assert.equal(state.status, 200, state.body);
    const { "vita-gateway:gateway-state": tells } = JSON.parse(state.body);
    assert.deepEqual([tells.sa.length, tells.sa[0].spi, tells.sa[0].dst], [1, "000007d1", "192.0.2.2"]);
    assert.equal(tells.worker[0].alive, true);
    assert.equal(tells.ike.connected, false);
    assert.ok(tells.commit.number > 0 && tells.counter.length > 10 && tells.policy.length > 0);
    assert.ok(!state.body.includes(key));
    await change("DELETE", `${data}outbound-sa=2001`);
    await hears(/sa-down[\s\S]*000007d1/);

    await run("ip", ["link", "set", "lan0", "down"], { namespace: far });
    await hears(/port-down[\s\S]*lan0/);
    await run("ip", ["link", "set", "lan0", "up"], { namespace: far });
    await hears(/port-up[\s\S]*lan0/);

    // What cannot be carried out is answered with the reason.
    const refused = await ask(socket, "POST", "/restconf/data", {
      "vita-gateway:private-interface": [{ name: "nope0" }],
    });
    assert.ok(refused.status >= 400, refused.body);
    assert.match(refused.body, /there is no network device .*nope0/);

    const files = {
      certificate: lab.path("api.crt"),
      "private-key": lab.path("api.key"),
      "token-file": lab.path("tokens"),
    };
    const of = [
      "-subj",
      "/CN=n",
      "-days",
      "2",
      "-nodes",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
    ];
    await run("openssl", ["req", "-x509", ...of, "-keyout", files["private-key"], "-out", files.certificate]);
    writeFileSync(files["token-file"], "", { mode: 0o600 });
    const listening = async () =>
      (await run("ss", ["-Hltn"], { namespace })).stdout.includes("10.1.0.1:8443");
    await change("PUT", `${data}restconf`, {
      "vita-gateway:restconf": { tcp: { address: "10.1.0.1", port: 8443, ...files } },
    });
    assert.equal(await listening(), true);
    await change("DELETE", `${data}restconf`);
    assert.equal(await listening(), false);

    listener.destroy();
    await vita.process.stop();
    assert.equal(vita.process.ended, "exit code 0");
  });
});
