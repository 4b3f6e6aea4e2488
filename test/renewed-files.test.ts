// SIGHUP has a node read the files again that its configuration names: a certificate may have been renewed in its place.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { until } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { createLink } from "../src/lab/netns.js";
import { Vita } from "../src/lab/vita.js";
import { Authority } from "./ike/certificates.js";

test("files are read again when the configuration is, and what is wrong with them is told", async () => {
  await withLab("renewed", async (lab) => {
    const namespace = await lab.namespace("gw");
    const far = await lab.namespace("far");
    for (const device of ["wan0", "lan0"])
      await createLink({ namespace, device }, { namespace: far, device });
    const authority = await Authority.make(lab.path("ca"));
    const { certificate, key } = await authority.sign("gw");
    const vita = await Vita.start(lab, namespace, {
      node: "n",
      "public-interface": [{ name: "wan0" }],
      "private-interface": [{ name: "lan0" }],
      charon: { vici: `unix://${lab.path("nobody.vici")}` },
      connection: [
        {
          id: "hq",
          local: { auth: "pubkey", certificate: [certificate], "private-key": key },
          remote: { auth: "pubkey" },
          child: [{ id: "net" }],
        },
      ],
    });
    const log = () => readFileSync(vita.process.log, "utf8");
    await vita.change(vita.configuration);
    assert.doesNotMatch(log(), /charon keeps/);
    writeFileSync(certificate, "no certificate");
    await vita.change(vita.configuration);
    const told = `charon keeps the certificates and keys that it has: /connection[id="hq"]/local/certificate: "${certificate}" holds no certificate`;
    await until("the file that is wrong", () => log().includes(told), 5000);
  });
});
