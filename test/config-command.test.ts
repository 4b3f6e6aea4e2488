// `vita config …` as operators type it, against a node that runs: statements and JSON, from argument, file and standard
// input; whole configurations; history; exit codes.

import assert from "node:assert/strict";
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { type CommandResult, run } from "../src/lab/command.js";
import { Lab } from "../src/lab/lab.js";
import { createNetwork } from "../src/lab/sites.js";
import { Vita, vitaProgram } from "../src/lab/vita.js";

const key = "a93ff0c1e0b8d1ce0bd07d8d3a6eb5f1";
const salt = "57a3c0f2";

let lab: Lab;
let node: Vita;

before(async () => {
  lab = await Lab.open("config");
  const network = await createNetwork(lab, 4);
  node = await Vita.start(lab, network.gateways.a, {
    node: "vita-node",
    "public-interface": [{ name: "wan0" }],
    "private-interface": [{ name: "lan0" }],
    "data-plane": true,
    route: [{ id: "foo", net: ["10.2.0.0/24"], gateway: { ip: "192.0.2.2" } }],
  });
});

after(() => lab?.close());

/** Runs `vita ARGS`. */
function vita(args: string[], input?: string): Promise<CommandResult> {
  const env = { ...process.env, VITA_RUN_DIR: Vita.runDirectory(lab) };
  return run(process.execPath, [vitaProgram, ...args], {
    env,
    tolerate: true,
    ...(input === undefined ? {} : { input }),
  });
}

async function succeeds(args: string[], input?: string): Promise<string> {
  const { status, stdout, stderr } = await vita(args, input);
  assert.equal(status, 0, stderr);
  return stdout;
}

async function fails(status: number, message: RegExp, args: string[], input?: string): Promise<void> {
  const result = await vita(args, input);
  assert.match(result.stderr, message);
  assert.equal(result.status, status);
  assert.ok(!result.stderr.includes(key), "a key was told");
}

test("the command that it began with, on one line and with one statement a line", async () => {
  const statements = `spi 1234; route foo; aead "aes-gcm-16-icv"; key "${key}"; salt "${salt}";`;
  for (const text of [`${statements}\n`, `${statements.replaceAll("; ", ";\n")}\n`]) {
    assert.equal(await succeeds(["config", "add", "vita-node", "/inbound-sa"], text), "");
    const [sa] = JSON.parse(await succeeds(["sa", "vita-node", "--json"]));
    assert.equal(`${sa.spi} ${sa.direction} ${sa.algorithm} ${sa.state}`, "000004d2 in aes128gcm16 active");
    assert.equal(await succeeds(["config", "get", "vita-node", "/inbound-sa[spi=1234]/route"]), "foo\n");
    await fails(1, /^vita: \/inbound-sa\[spi=.1234.\].*is there already|already/, [
      "config",
      "add",
      "vita-node",
      "/inbound-sa",
      text,
    ]);
    await succeeds(["config", "remove", "vita-node", "/inbound-sa[spi=1234]"]);
    // For a moment, packets that are on their way are still taken.
    const left: { state: string }[] = JSON.parse(await succeeds(["sa", "vita-node", "--json"]));
    assert.deepEqual(
      left.filter(({ state }) => state === "active"),
      [],
    );
  }
});

test("statements, JSON, plain values, files", async () => {
  await succeeds([
    "config",
    "add",
    "vita-node",
    "/route",
    '{ "id": "bar", "net": ["10.3.0.0/24"], "gateway": { "ip": "192.0.2.3" } }',
  ]);
  await succeeds(["config", "add", "vita-node", "/route[id=bar]/net", "10.4.0.0/24"]);
  await succeeds(["config", "set", "vita-node", "/route[id=bar]/gateway/ip", "192.0.2.4"]);
  assert.equal(
    await succeeds(["config", "get", "vita-node", "/route[id=bar]"]),
    "id bar;\nnet 10.3.0.0/24;\nnet 10.4.0.0/24;\ngateway {\n  ip 192.0.2.4;\n}\n",
  );
  const file = lab.path("route");
  writeFileSync(file, "route { net 10.5.0.0/24; gateway { ip 192.0.2.5; } }");
  await succeeds(["config", "set", "vita-node", "/route[id=bar]", "--file", file]);
  assert.deepEqual(JSON.parse(await succeeds(["config", "get", "vita-node", "/route[id=bar]", "--json"])), {
    "vita-gateway:route": [{ id: "bar", net: ["10.5.0.0/24"], gateway: { ip: "192.0.2.5" } }],
  });
  assert.match(
    await succeeds(["config", "get", "vita-node", "/route"]),
    /^route \{\n {2}id foo;[\s\S]*\nroute \{\n {2}id bar;/,
  );
  assert.match(
    await succeeds(["config", "get", "vita-node", "/limits", "--defaults"]),
    /^orphan-seconds 180;$/m,
  );
  await succeeds(["config", "remove", "vita-node", "/route[id=bar]"]);
});

test("whole configurations: saved, compared, checked, loaded, rolled back", async () => {
  const file = lab.path("saved.json");
  await succeeds(["config", "save", "vita-node", file]);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(await succeeds(["config", "diff", "vita-node", file]), "");
  const saved = JSON.parse(readFileSync(file, "utf8"));
  saved["vita-gateway:route"][0].gateway.ip = "192.0.2.9";
  writeFileSync(file, JSON.stringify(saved));
  assert.equal(
    await succeeds(["config", "diff", "vita-node", file]),
    '~ /route[id="foo"]/gateway/ip: "192.0.2.2" → "192.0.2.9"\n',
  );
  assert.equal(await succeeds(["config", "validate", "vita-node", file]), "valid\n");
  await succeeds(["config", "load", "vita-node", file, "--comment", "another peer"]);
  assert.equal(await succeeds(["config", "get", "vita-node", "/route[id=foo]/gateway/ip"]), "192.0.2.9\n");
  assert.match(await succeeds(["config", "history", "vita-node"]), /^\* +\d+ .*root.*another peer$/m);
  await succeeds(["config", "rollback", "vita-node", "--confirm", "60", "--comment", "the former peer"]);
  assert.equal(await succeeds(["config", "get", "vita-node", "/route[id=foo]/gateway/ip"]), "192.0.2.2\n");
  assert.match(
    await succeeds(["config", "history", "vita-node"]),
    /root {2}the former peer$[\s\S]*^rolled back at .* unless it is confirmed$/m,
  );
  await succeeds(["config", "cancel", "vita-node"]);
  assert.equal(await succeeds(["config", "get", "vita-node", "/route[id=foo]/gateway/ip"]), "192.0.2.9\n");
  await fails(1, /\/rollback\/confirm-timeout: "soon" is not a whole number/, [
    "config",
    "rollback",
    "vita-node",
    "--confirm",
    "soon",
  ]);
  await succeeds(["config", "rollback", "vita-node", "--confirm", "60"]);
  await succeeds(["config", "confirm", "vita-node"]);
  assert.equal(await succeeds(["config", "get", "vita-node", "/route[id=foo]/gateway/ip"]), "192.0.2.2\n");
});

test("a configuration is checked in every form, whether its node runs or not", async () => {
  const statements = "node NAME; public-interface { name wan0; } private-interface { name lan0; } workers 2;";
  const xml = ["public", "private"].map(
    (side) => `<${side}-interface xmlns="urn:vita:gateway"><name>${side}</name></${side}-interface>`,
  );
  const forms = [
    '{ "node": "NAME", "public-interface": [{ "name": "wan0" }], "private-interface": [{ "name": "lan0" }] }',
    statements,
    `<data><node xmlns="urn:vita:gateway">NAME</node>${xml.join("")}</data>`,
  ];
  for (const node of ["vita-node", "nobody"])
    for (const [i, form] of forms.entries()) {
      const file = lab.path(`form-${i}`);
      writeFileSync(file, form.replace("NAME", node));
      assert.equal(await succeeds(["config", "validate", node, file]), "valid\n", form);
    }
  const wrong = lab.path("wrong");
  writeFileSync(wrong, statements.replace("NAME", "nobody").replace("workers 2", "workers 17"));
  await fails(1, /\/workers: 17 is more than 16/, ["config", "validate", "nobody", wrong]);
});

test("what is not confirmed goes, and what is confirmed stays", async () => {
  const ip = ["config", "get", "vita-node", "/route[id=foo]/gateway/ip"];
  const set = (address: string) => [
    "config",
    "set",
    "vita-node",
    "/route[id=foo]/gateway/ip",
    address,
    "--confirm",
    "60",
  ];
  await succeeds(set("192.0.2.7"));
  assert.equal(await succeeds(ip), "192.0.2.7\n");
  await succeeds(["config", "cancel", "vita-node"]);
  assert.equal(await succeeds(ip), "192.0.2.2\n");
  await succeeds(set("192.0.2.8"));
  await succeeds(["config", "confirm", "vita-node"]);
  assert.equal(await succeeds(ip), "192.0.2.8\n");
});

test("mistakes are named, and have exit codes of their own", async () => {
  const inbound = ["config", "add", "vita-node", "/inbound-sa"];
  await fails(2, /\/inbound-saa: there is no such node in the model \(did you mean inbound-sa\?\)/, [
    "config",
    "add",
    "vita-node",
    "/inbound-saa",
    "spi 1;",
  ]);
  await fails(2, /neither JSON nor statements: line 1: ';' is missing behind spi/, inbound, "spi 1234");
  await fails(1, /\/inbound-sa.*spi.*is not an SPI/, [
    ...inbound,
    `spi 255; route foo; key ${key}; salt ${salt};`,
  ]);
  await fails(1, /\/inbound-sa\[spi="?1234"?\]\/route.*nowhere/, [
    ...inbound,
    `spi 1234; route nowhere; key ${key}; salt ${salt};`,
  ]);
  await fails(1, /key/, [...inbound, `spi 1234; route foo; key ${key}0; salt ${salt};`]);
  await fails(4, /there is no such data|no/, ["config", "get", "vita-node", "/inbound-sa[spi=99999]"]);
  await fails(4, /no/, ["config", "remove", "vita-node", "/inbound-sa[spi=99999]"]);
  await fails(2, /which one\? write \/inbound-sa\[spi=…\]/, [
    "config",
    "get",
    "vita-node",
    "/inbound-sa/key",
  ]);
  await fails(3, /node nobody does not run/, ["config", "get", "nobody"]);
  await fails(2, /--timeout: "soon" is not a number of seconds/, [
    "connection",
    "up",
    "vita-node",
    "hq",
    "--timeout",
    "soon",
  ]);
  for (const verb of ["set", "remove"])
    await fails(2, /^vita: \/route\/id: is the key of its entry/, [
      "config",
      verb,
      "vita-node",
      "/route[id=foo]/id",
      ...(verb === "set" ? ["other"] : []),
    ]);
  await fails(2, /unknown command/, ["config", "frobnicate"]);
});

test("operational state by path", async () => {
  assert.match(
    await succeeds(["state", "vita-node", "/gateway-state/worker"]),
    /^worker \{\n {2}index 0;\n {2}pid \d+;\n {2}alive true;/,
  );
  assert.match(await succeeds(["state", "vita-node"]), /^node vita-node/);
});

test("a value that is not JSON is not quoted, and nothing of it is lost without a word", async () => {
  const add = ["config", "add", "vita-node", "/inbound-sa"];
  await fails(
    2,
    /^vita: the value: \/: is not JSON: line 1, column 35\n$/,
    add,
    `{"spi": 9, "route": "foo", "key": ${key}}`,
  );
  await fails(2, /^vita: the value: \/spi: is there twice\n$/, add, `{"spi": 9, "key": "${key}", "spi": 10}`);
  const twice = lab.path("twice.json");
  writeFileSync(twice, `{"node": "vita-node", "mtu": 1400, "mtu": 1500}`);
  for (const command of ["validate", "load", "diff"])
    await fails(2, /twice\.json: \/mtu: is there twice\n$/, ["config", command, "vita-node", twice]);
  writeFileSync(twice, Buffer.from('{"node": "caf\xe9"}', "latin1"));
  await fails(2, /twice\.json: is not UTF-8\n$/, ["config", "load", "vita-node", twice]);
});

test("a configuration is checked from standard input, with a byte order mark, and in each form, when its node does not run", async () => {
  const json = '{"node": "other", "public-interface": [{"name": "w"}], "private-interface": [{"name": "l"}]}';
  const statements = "node other; public-interface { name w; } private-interface { name l; }";
  const xml = ["<node>other</node>", "<public-interface><name>w</name></public-interface>"]
    .concat("<private-interface><name>l</name></private-interface>")
    .join("")
    .replace(/<(node|p[a-z]+-interface)>/g, '<$1 xmlns="urn:vita:gateway">');
  for (const text of [json, `\ufeff${json}`, statements, xml])
    assert.equal(await succeeds(["config", "validate", "other", "-"], text), "valid\n");
  await fails(
    1,
    /^vita: standard input: \/workers: 99 is more than 16\n$/,
    ["config", "validate", "other", "-"],
    `${statements} workers 99;`,
  );
});

test("paths with another module's name, or one key twice, are none", async () => {
  await fails(2, /^vita: \/other:route: there is no such node in the model/, [
    "config",
    "get",
    "vita-node",
    "/other:route",
  ]);
  await fails(2, /a key is expected at "\[id=bar\]"/, [
    "config",
    "get",
    "vita-node",
    "/route[id=foo][id=bar]",
  ]);
});

test("a connection cannot be brought up where charon does not run, and what to do is told", async () => {
  await fails(1, /^vita: \/data-plane: is true: the node has no IKE$/m, [
    "connection",
    "up",
    "vita-node",
    "peer",
  ]);
  const vici = `unix://${lab.path("none.vici")}`;
  await succeeds(["config", "set", "vita-node", "/charon/vici", vici]);
  await succeeds(["config", "set", "vita-node", "/data-plane", "false"]);
  await fails(
    1,
    new RegExp(
      `^vita: charon is not running: nobody is at its vici socket ${vici} \\(ENOENT\\); start strongSwan, or set /charon/vici if its socket is elsewhere\n$`,
    ),
    ["connection", "up", "vita-node", "peer"],
  );
  await succeeds(["config", "set", "vita-node", "/data-plane", "true"]);
  await succeeds(["config", "remove", "vita-node", "/charon/vici"]);
});

test("a pipe in the place of the startup file does not hold the node up", async () => {
  const file = lab.path("vita-node.json");
  renameSync(file, `${file}.kept`);
  await run("mkfifo", [file]);
  await assert.rejects(node.reload(), /vita-node\.json is not a regular file/);
  rmSync(file);
  renameSync(`${file}.kept`, file);
  await succeeds(["config", "get", "vita-node", "/node"]);
  await node.reload();
});

test("words are completed: commands, nodes, paths, keys", async () => {
  const complete = (...words: string[]) => succeeds(["complete-words", "--", ...words]);
  assert.equal(await complete("config", "ro"), "rollback\n");
  assert.equal(await complete("config", "get", "vita"), "vita-node\n");
  assert.equal(await complete("config", "get", "vita-node", "/route[id=foo]/g"), "/route[id=foo]/gateway\n");
  assert.equal(await complete("config", "get", "vita-node", "/route["), "/route[id=foo]\n");
});
