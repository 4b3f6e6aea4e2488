// The API over TCP: who is let in, as whom, with which rights; and settings that change while it is listened at.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { TLSSocket } from "node:tls";
import type { RestconfTcp } from "../config/configuration.js";
import { ConfigurationError } from "../config/problem.js";
import { type Certificate, issue, makeAuthority, read } from "./testing/certificates.js";
import {
  type Ask,
  errorOf,
  key,
  preSharedKey,
  type Reply,
  type Rig,
  salt,
  send,
  startRig,
} from "./testing/rig.js";
import { tlsOptions } from "./tls.js";

const tokens = { reader: "read-me-7f1c", writer: "write-me-93aa", keeper: "keep-me-51d0" };
const hash = (token: string) => createHash("sha256").update(token).digest("hex");
const workers = "/restconf/data/vita-gateway:workers";

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe("RESTCONF: TCP", () => {
  let rig: Rig;
  let folder = "";
  let settings: RestconfTcp;
  let authority: Certificate;
  let server: Certificate;
  let alice: Certificate;
  let stranger: Certificate;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "vita-restconf-tls-"));
    authority = makeAuthority(folder, "authority");
    server = issue(folder, authority, "server", "/CN=alpha", "IP:127.0.0.1");
    alice = issue(folder, authority, "alice", "/CN=alice", "email:alice@example.org");
    stranger = issue(folder, makeAuthority(folder, "other"), "stranger", "/CN=alice", "DNS:alice");
    const tokenFile = join(folder, "tokens");
    writeFileSync(
      tokenFile,
      `# clients\nreader ${hash(tokens.reader)} read\nwriter ${hash(tokens.writer)} read write\nkeeper ${hash(tokens.keeper)} read write secrets\n`,
    );
    settings = {
      address: "127.0.0.1",
      port: await freePort(),
      certificate: server.certificate,
      "private-key": server.key,
      "client-ca-certificate": authority.certificate,
      "token-file": tokenFile,
    };
    rig = await startRig({ tcp: settings });
  });
  after(async () => {
    await rig.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const ask = (
    path: string,
    asked: Ask = {},
    tls: RequestOptions = {},
    port = settings.port,
  ): Promise<Reply> => {
    const where = { host: "127.0.0.1", port, path, ca: readFileSync(authority.certificate), ...tls };
    return send(where, asked, (options, answered) => httpsRequest({ ...where, ...options }, answered));
  };
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
  const put = (value: number) => ({ method: "PUT", body: { "vita-gateway:workers": value } });

  it("lets nobody in without credentials, but tells where the API is", async () => {
    const reply = await ask(workers);
    assert.equal(reply.status, 401);
    assert.match(String(reply.headers["www-authenticate"]), /^Bearer realm=/);
    assert.equal(errorOf(reply)["error-tag"], "access-denied");
    assert.equal((await ask("/restconf/streams/NETCONF/json")).status, 401);
    assert.equal((await ask("/restconf/openapi.json")).status, 401);
    assert.equal((await ask("/.well-known/host-meta")).status, 200);
  });

  it("reads with the right `read`, and refuses what needs another one", async () => {
    const headers = bearer(tokens.reader);
    assert.equal((await ask(workers, { headers })).status, 200);
    const refused = [
      await ask(workers, { ...put(3), headers }),
      await ask("/restconf/data/vita-gateway:route=bar", { method: "DELETE", headers }),
      await ask("/restconf/operations/vita-gateway:confirm-commit", { method: "POST", headers }),
    ];
    for (const reply of refused) {
      assert.equal(reply.status, 403);
      assert.equal(errorOf(reply)["error-tag"], "access-denied");
    }
    assert.equal(rig.datastore.configuration.workers, 2);
  });

  it("writes with the right `write`, in the client's name and no other", async () => {
    const headers = { ...bearer(tokens.writer), "x-vita-user": "somebody else" };
    assert.equal((await ask(workers, { ...put(3), headers })).status, 204);
    assert.equal(rig.datastore.history()[0]?.user, "writer");
  });

  it("tells secrets to those with the right `secrets` alone", async () => {
    const secrets = new RegExp(`${key}|${salt}|${preSharedKey}`);
    for (const path of [
      "/restconf/data",
      "/restconf/data/vita-gateway:inbound-sa=1234",
      "/restconf/ds/ietf-datastores:running",
    ]) {
      for (const query of ["", "?with-defaults=report-all", "?fields=nothing"]) {
        const reply = await ask(path + query, { headers: bearer(tokens.reader) });
        assert.doesNotMatch(reply.text, secrets, path + query);
      }
      assert.match((await ask(path, { headers: bearer(tokens.keeper) })).text, secrets, path);
    }
    const leaf = "/restconf/data/vita-gateway:inbound-sa=1234/key";
    assert.equal((await ask(leaf, { headers: bearer(tokens.writer) })).status, 403);
    assert.deepEqual((await ask(leaf, { headers: bearer(tokens.keeper) })).json, { "vita-gateway:key": key });
    const dry = await ask(`${leaf}?vita-dry-run`, {
      method: "PUT",
      headers: bearer(tokens.writer),
      body: { "vita-gateway:key": `${key}00` },
    });
    assert.doesNotMatch(dry.text, secrets);
  });

  it("does not take secrets away with what a client reads and puts back", async () => {
    const site = "/restconf/data/vita-gateway:connection=site";
    const headers = bearer(tokens.writer);
    const { json } = await ask(site, { headers });
    const refused = await ask(site, { method: "PUT", headers, body: json });
    assert.equal(refused.status, 403, refused.text);
    assert.equal(errorOf(refused)["error-path"], '/vita-gateway:connection[id="site"]/pre-shared-key');
    assert.equal((await ask(site, { method: "PATCH", headers, body: json })).status, 204);
    const all = await ask("/restconf/data?content=config", { headers });
    assert.equal((await ask("/restconf/data", { method: "PUT", headers, body: all.json })).status, 403);
    assert.equal(rig.datastore.configuration.connection[0]?.["pre-shared-key"], preSharedKey);
  });

  it("takes a client's certificate, by its name", async () => {
    assert.equal((await ask(workers, put(4), read(alice))).status, 204);
    assert.equal(rig.datastore.history()[0]?.user, "alice");
    const reply = await ask("/restconf/data/vita-gateway:inbound-sa=1234", {}, read(alice));
    assert.equal(reply.status, 200);
    assert.doesNotMatch(reply.text, new RegExp(key));
    assert.equal((await ask(workers, {}, read(stranger))).status, 401);
  });

  it("takes the token file's rights for a certificate, and reads the file again when it changes", async () => {
    const file = String(settings["token-file"]);
    const before = readFileSync(file, "utf8");
    writeFileSync(file, `${before.replace(/^writer.*\n/m, "")}alice - read secrets\n`);
    assert.equal((await ask(workers, {}, read(alice))).status, 200);
    assert.equal((await ask(workers, put(2), read(alice))).status, 403);
    assert.match(
      (await ask("/restconf/data/vita-gateway:inbound-sa", {}, read(alice))).text,
      new RegExp(key),
    );
    assert.equal((await ask(workers, { headers: bearer(tokens.writer) })).status, 401);
    writeFileSync(file, "nonsense\n");
    assert.equal((await ask(workers, { headers: bearer(tokens.reader) })).status, 401);
    assert.match(rig.log.join("\n"), /tokens: line 1: .*no token is taken/);
    writeFileSync(file, before);
    assert.equal((await ask(workers, { headers: bearer(tokens.reader) })).status, 200);
  });

  it("speaks TLS from 1.2 on, and nothing else", async () => {
    const old = { maxVersion: "TLSv1.1", minVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" } as const;
    await assert.rejects(ask(workers, {}, old), /protocol|version|alert/i);
    await assert.rejects(
      send({ host: "127.0.0.1", port: settings.port, path: workers }),
      /hang up|ECONNRESET|Parse/,
    );
    const reply = await ask(workers, { headers: bearer(tokens.reader) }, { maxVersion: "TLSv1.2" });
    assert.equal(reply.status, 200);
  });

  it("changes the certificate and the port while it is used", async () => {
    const seen = async (port: number) => {
      let name = "";
      await new Promise<void>((resolve, reject) => {
        const options = {
          host: "127.0.0.1",
          port,
          path: workers,
          rejectUnauthorized: false,
          agent: false as const,
        };
        httpsRequest(options, (response) => {
          name = String((response.socket as TLSSocket).getPeerCertificate().subject.CN);
          response.resume().on("end", resolve);
        })
          .on("error", reject)
          .end();
      });
      return name;
    };
    assert.equal(await seen(settings.port), "alpha");
    const other = issue(folder, authority, "beta", "/CN=beta", "IP:127.0.0.1");
    const renewed = { ...settings, certificate: other.certificate, "private-key": other.key };
    await rig.restconf.listenTcp(renewed);
    assert.equal(await seen(settings.port), "beta");
    const port = await freePort();
    await rig.restconf.listenTcp({ ...settings, port });
    assert.equal(await seen(port), "alpha");
    await assert.rejects(seen(settings.port), /ECONNREFUSED/);
    await rig.restconf.listenTcp(undefined);
    await assert.rejects(seen(port), /ECONNREFUSED/);
    await rig.restconf.listenTcp(settings);
    assert.equal(await seen(settings.port), "alpha");
  });

  it("without authorities of its own takes no certificate, whoever signed it", async () => {
    const { "client-ca-certificate": _none, ...without } = settings;
    await rig.restconf.listenTcp(without);
    assert.equal((await ask(workers, {}, read(alice))).status, 401);
    // An undefined list would be that of all the authorities that the system trusts.
    assert.deepEqual(tlsOptions(without).ca, []);
    await rig.restconf.listenTcp(settings);
    assert.equal((await ask(workers, {}, read(alice))).status, 200);
  });

  it("answers the request that changes its own listener", async () => {
    const port = await freePort();
    rig.datastore.carryOut = () => rig.restconf.listenTcp({ ...settings, port });
    const reply = await ask(workers, { ...put(5), headers: bearer(tokens.writer) });
    rig.datastore.carryOut = async () => {};
    assert.equal(reply.status, 204, reply.text);
    assert.equal((await ask(workers, { headers: bearer(tokens.reader) }, {}, port)).status, 200);
    await rig.restconf.listenTcp(settings);
  });

  it("names the setting that cannot be applied, and goes on with those before", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => taken.once("listening", resolve));
    const broken = join(folder, "broken");
    writeFileSync(broken, "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n");
    const wrong: [Partial<RestconfTcp>, string][] = [
      [{ certificate: "/nowhere/cert.pem" }, "certificate"],
      [{ certificate: broken }, "certificate"],
      [{ "private-key": broken }, "private-key"],
      [{ "private-key": alice.key }, "private-key"],
      [{ "client-ca-certificate": "/nowhere/ca.pem" }, "client-ca-certificate"],
      [{ "token-file": "/nowhere/tokens" }, "token-file"],
      [{ "token-file": broken }, "token-file"],
      [{ port: (taken.address() as AddressInfo).port }, "port"],
      [{ address: "192.0.2.99" }, "port"],
    ];
    for (const [change, leaf] of wrong) {
      await assert.rejects(rig.restconf.listenTcp({ ...settings, ...change }), (error: Error) => {
        assert.ok(error instanceof ConfigurationError, String(error));
        assert.equal(error.problems[0]?.path, `/restconf/tcp/${leaf}`);
        return true;
      });
      assert.equal(
        (await ask(workers, { headers: bearer(tokens.reader) })).status,
        200,
        JSON.stringify(change),
      );
    }
    await new Promise((resolve) => taken.close(resolve));
  });

  it("slows those down who guess tokens, but not clients with certificates", async () => {
    const statuses: number[] = [];
    for (let i = 0; i < 7; i++) statuses.push((await ask(workers, { headers: bearer(`guess-${i}`) })).status);
    assert.deepEqual(statuses, [401, 401, 401, 401, 401, 401, 429]);
    const reply = await ask(workers, { headers: bearer(tokens.reader) });
    assert.equal(reply.status, 429);
    assert.match(String(reply.headers["retry-after"]), /^[12]$/);
    assert.equal((await ask(workers, {}, read(alice))).status, 200);
  });

  it("nothing of tokens is in the log", () => {
    assert.doesNotMatch(rig.log.join("\n"), /read-me|write-me|keep-me|guess-/);
  });
});
