import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigurationError, problemText } from "./problem.js";
import { Schema } from "./schema.js";
import { type Edit, type PrintOptions, Tree } from "./tree.js";

const schema = Schema.load();
const key = "00".repeat(16);
const document = {
  node: "a",
  "public-interface": [{ name: "wan0" }, { name: "wan1", driver: "packet" }],
  "private-interface": [{ name: "lan0", mark: "0x2a" }],
  route: [
    { id: "r", net: ["10.0.0.0/8"], gateway: { ip: "192.0.2.1" } },
    { id: "s", net: ["10.1.0.0/16"], gateway: { ip: "2001:DB8:0::1" } },
  ],
  "inbound-sa": [{ spi: 300, route: "r", key, salt: "01020304" }],
  connection: [{ id: "c", "pre-shared-key": "hush", child: [{ id: "k", "remote-ts": ["10.2.0.0/16"] }] }],
};

const whole: PrintOptions = { format: "json", defaults: "explicit", secrets: true };

function tree(content: object = document): Tree {
  const made = Tree.parse(schema, JSON.stringify(content), "json");
  made.validate();
  return made;
}

/** What a change of the document makes of it, or what is said against it. */
function outcome(...edits: Edit[]): { changed: string[]; problems: string[]; text: string | undefined } {
  const running = tree();
  const before = running.print(undefined, whole);
  const candidate = running.clone();
  try {
    for (const edit of edits) candidate.apply(edit);
    candidate.validate();
    return { changed: running.diff(candidate), problems: [], text: candidate.print(undefined, whole) };
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    return {
      changed: [],
      problems: error.problems.map((p) => `${p.rule} ${problemText(p)}`),
      text: undefined,
    };
  } finally {
    candidate.free();
    assert.equal(running.print(undefined, whole), before);
    running.free();
  }
}

const json = (value: unknown) => ({ text: JSON.stringify(value), format: "json" as const });
const newRoute = { id: "t", net: ["10.3.0.0/16"], gateway: { ip: "192.0.2.3" } };

test("a configuration has all its defaults, lists that are empty, and numbers as numbers", () => {
  const made = tree();
  const configuration = made.toConfiguration();
  assert.deepEqual(configuration.route[0], {
    id: "r",
    net: ["10.0.0.0/8"],
    "local-net": [],
    gateway: { ip: "192.0.2.1" },
    "if-id": 0,
    mark: 0,
  });
  assert.equal(configuration.route[1].gateway.ip, "2001:db8::1");
  assert.equal(configuration["private-interface"][0].mark, 42);
  assert.deepEqual(configuration.pool, []);
  assert.deepEqual(configuration["worker-cpu"], []);
  assert.deepEqual(configuration.charon, { vici: "unix:///var/run/charon.vici" });
  assert.deepEqual(configuration.restconf, {});
  assert.equal(configuration["public-interface"][0].address, undefined);
  assert.equal(configuration.connection[0].child[0]["start-action"], "none");
  made.free();
});

test("edits of entries of long lists, and what they change", () => {
  assert.deepEqual(outcome({ operation: "add", target: "/", value: json({ route: [newRoute] }) }).changed, [
    '/route[id="t"]',
  ]);
  assert.deepEqual(
    outcome({
      operation: "create",
      target: "/route[id='t']",
      value: json({ "vita-gateway:route": [newRoute] }),
    }).changed,
    ['/route[id="t"]'],
  );
  const { id: _, ...keyless } = newRoute;
  assert.deepEqual(
    outcome({ operation: "replace", target: "/route[id=t]", value: json({ route: [keyless] }) }).changed,
    ['/route[id="t"]'],
  );
  assert.deepEqual(
    outcome({ operation: "replace", target: "/route[id=r]/gateway/ip", value: json({ ip: "192.0.2.9" }) })
      .changed,
    ['/route[id="r"]/gateway/ip'],
  );
  assert.deepEqual(
    outcome({
      operation: "merge",
      target: "/route[id=r]",
      value: json({ route: [{ net: ["10.9.0.0/16"] }] }),
    }).changed,
    ['/route[id="r"]/net[.="10.9.0.0/16"]'],
  );
  assert.deepEqual(
    outcome({ operation: "add", target: "/route[id=r]", value: json({ net: ["10.9.0.0/16"] }) }).changed,
    ['/route[id="r"]/net[.="10.9.0.0/16"]'],
  );
  assert.deepEqual(outcome({ operation: "delete", target: "/route[id=s]" }).changed, ['/route[id="s"]']);
  assert.deepEqual(outcome({ operation: "remove", target: "/connection" }).changed, ['/connection[id="c"]']);
  assert.deepEqual(
    outcome(
      { operation: "add", target: "/connection[id=c]", value: json({ child: [{ id: "l" }] }) },
      { operation: "delete", target: "/connection[id=c]/child[id=k]/remote-ts[.='10.2.0.0/16']" },
    ).changed,
    ['/connection[id="c"]/child[id="k"]/remote-ts[.="10.2.0.0/16"]', '/connection[id="c"]/child[id="l"]'],
  );
});

test("edits of everything else", () => {
  const set = (target: string, value: unknown): Edit => ({
    operation: "replace",
    target,
    value: json(value),
  });
  assert.deepEqual(outcome(set("/mtu", { mtu: 1400 })).changed, ["/mtu"]);
  assert.deepEqual(outcome(set("/vita-gateway:workers", { "vita-gateway:workers": 2 })).changed, [
    "/workers",
  ]);
  assert.deepEqual(outcome(set("/limits/sas", { sas: 100 })).changed, ["/limits/sas"]);
  assert.deepEqual(
    outcome({
      operation: "merge",
      target: '/public-interface[name="wan0"]/driver',
      value: json({ driver: "packet" }),
    }).changed,
    ['/public-interface[name="wan0"]/driver'],
  );
  assert.deepEqual(outcome({ operation: "delete", target: "/public-interface[name=wan1]" }).changed, [
    '/public-interface[name="wan1"]',
  ]);
  const wan2 = { "public-interface": [{ name: "wan2" }] };
  const order = (edit: Edit) =>
    [...(outcome(edit).text ?? "").matchAll(/"name": "(wan\d)"/g)].map((match) => match[1]).join(" ");
  assert.equal(order({ operation: "add", target: "/", value: json(wan2) }), "wan0 wan1 wan2");
  assert.equal(order({ operation: "add", target: "/", value: json(wan2), where: "first" }), "wan2 wan0 wan1");
  assert.equal(
    order({
      operation: "create",
      target: "/public-interface[name=wan2]",
      value: json(wan2),
      where: "before",
      point: "/public-interface[name=wan1]",
    }),
    "wan0 wan2 wan1",
  );
  assert.equal(
    order({
      operation: "move",
      target: "/public-interface[name=wan0]",
      where: "after",
      point: "/public-interface[name=wan1]",
    }),
    "wan1 wan0",
  );
  assert.equal(
    order({ operation: "move", target: "/public-interface[name=wan0]", where: "last" }),
    "wan1 wan0",
  );
  // What takes an entry's place stands where it stood.
  assert.equal(
    order({
      ...set("/public-interface[name=wan0]", { "public-interface": [{ name: "wan0", mode: "shared" }] }),
    }),
    "wan0 wan1",
  );
});

test("what is merged into a container that is there by default is seen, whatever the way", () => {
  const limits = { limits: { "orphan-seconds": 60 } };
  const local = { local: { auth: "pubkey" } };
  const cases: [Edit, string][] = [
    [{ operation: "merge", target: "/", value: json(limits) }, "/limits/orphan-seconds"],
    [{ operation: "merge", target: "/limits", value: json(limits) }, "/limits/orphan-seconds"],
    [{ operation: "add", target: "/", value: json(limits) }, "/limits/orphan-seconds"],
    [{ operation: "add", target: "/limits", value: json(limits.limits) }, "/limits/orphan-seconds"],
    [
      { operation: "merge", target: "/connection[id='c']/local", value: json(local) },
      '/connection[id="c"]/local/auth',
    ],
  ];
  for (const [edit, path] of cases) {
    const { changed, problems, text } = outcome(edit);
    assert.deepEqual([changed, problems], [[path], []], JSON.stringify(edit));
    assert.match(text ?? "", /"orphan-seconds": 60|"auth": "pubkey"/);
  }
  const given = tree({ ...document, limits: { sas: 1000 } });
  const merged = given.clone();
  merged.apply({ operation: "merge", target: "/limits", value: json(limits) });
  merged.validate();
  assert.deepEqual(given.diff(merged), ["/limits/orphan-seconds"]);
  assert.match(merged.print("/limits", whole) ?? "", /"orphan-seconds": 60,\s*"sas": 1000/);
});

test("edits that are refused", () => {
  const refused = (...edits: Edit[]) => outcome(...edits).problems.join("\n");
  assert.equal(
    refused({
      operation: "create",
      target: "/route[id=r]",
      value: json({ route: [{ ...newRoute, id: "r" }] }),
    }),
    'data-exists /route[id="r"]: is there already',
  );
  assert.equal(
    refused({ operation: "add", target: "/", value: json({ node: "b" }) }),
    "data-exists /node: is there already",
  );
  assert.equal(
    refused({ operation: "delete", target: "/route[id=x]" }),
    'data-missing /route[id="x"]: is not there',
  );
  assert.equal(refused({ operation: "delete", target: "/mtu" }), "data-missing /mtu: is not there");
  assert.equal(
    refused({ operation: "replace", target: "/route[id=x]/gateway/ip", value: json({ ip: "192.0.2.1" }) }),
    'data-missing /route[id="x"]: is not there',
  );
  assert.equal(
    refused({ operation: "replace", target: "/restconf/tcp/port", value: json({ port: 1 }) }),
    "data-missing /restconf/tcp: is not there",
  );
  assert.equal(
    refused({ operation: "delete", target: "/route[id=r]" }),
    'data-missing /inbound-sa[spi="300"]/route: "r" names no entry of /route',
  );
  assert.equal(
    refused({ operation: "delete", target: "/route" }),
    'data-missing /inbound-sa[spi="300"]/route: "r" names no entry of /route',
  );
  assert.equal(
    refused({ operation: "replace", target: "/data-plane", value: json({ "data-plane": true }) }),
    "operation-failed /data-plane: true leaves no IKE: remove /connection, or set it to false",
  );
  assert.equal(
    refused({ operation: "replace", target: "/mtu", value: json({ workers: 2 }) }),
    "malformed-message /mtu: needs a document with mtu alone",
  );
  assert.equal(
    refused({ operation: "replace", target: "/route[id=r]", value: json({ route: [newRoute] }) }),
    'invalid-value /route[id="r"]: needs a document with this entry alone',
  );
  assert.equal(
    refused({ operation: "replace", target: "/route[id=r]/gateway/ip", value: json({ ip: "x" }) }),
    'invalid-value /route[id="r"]/gateway/ip: "x" is not an IP address',
  );
  assert.equal(
    refused({ operation: "delete", target: "/public-interface[name=wan0]/name" }),
    'operation-not-supported /public-interface[name="wan0"]/name: is the key of its entry, and cannot be changed by itself',
  );
  assert.equal(
    refused({ operation: "replace", target: "/routes", value: json({}) }),
    "unknown-element /routes: there is nothing of this name",
  );
  assert.equal(
    refused({ operation: "delete", target: "/route/gateway" }),
    "missing-element /route: needs its key here: route[id=…]",
  );
  assert.equal(
    refused({ operation: "delete", target: "/inbound-sa[spi=x]" }),
    'invalid-value /inbound-sa/spi: "x" is not a whole number',
  );
  assert.equal(
    refused({ operation: "delete", target: "route" }),
    'invalid-value route: is not a path, such as /route[id="foo"]/gateway',
  );
  assert.equal(
    refused({ operation: "replace", target: "/mtu" }),
    "missing-element /mtu: needs a value to replace",
  );
});

test("an edit of XML does what the same edit of JSON does", () => {
  const xml = (text: string) => ({ text, format: "xml" as const });
  const ns = 'xmlns="urn:vita:gateway"';
  const route = `<route ${ns}><id>t</id><net>10.3.0.0/16</net><gateway><ip>192.0.2.3</ip></gateway></route>`;
  assert.equal(
    outcome({ operation: "create", target: "/route[id=t]", value: xml(route) }).text,
    outcome({ operation: "create", target: "/route[id=t]", value: json({ route: [newRoute] }) }).text,
  );
  assert.deepEqual(
    outcome({
      operation: "replace",
      target: "/route[id=r]/gateway/ip",
      value: xml(`<ip ${ns}>192.0.2.9</ip>`),
    }).changed,
    ['/route[id="r"]/gateway/ip'],
  );
  assert.deepEqual(
    outcome({ operation: "add", target: "/route[id=r]", value: xml(`<net ${ns}>10.9.0.0/16</net>`) }).changed,
    ['/route[id="r"]/net[.="10.9.0.0/16"]'],
  );
  assert.deepEqual(
    outcome({ operation: "replace", target: "/route[id=r]/gateway/ip", value: xml(`<ip ${ns}>x</ip>`) })
      .problems,
    ['invalid-value /route[id="r"]/gateway/ip: "x" is not an IP address'],
  );
});

test("what is printed is read again as the same, in both formats", () => {
  const made = tree();
  for (const format of ["json", "xml"] as const)
    for (const defaults of ["explicit", "all", "trim"] as const) {
      const text = made.print(undefined, { format, defaults, secrets: true }) ?? "";
      const again = Tree.parse(schema, text, format);
      again.validate();
      assert.deepEqual(again.toConfiguration(), made.toConfiguration());
      again.free();
    }
  made.free();
});

test("secrets are printed on request only", () => {
  const made = tree();
  for (const format of ["json", "xml"] as const)
    for (const path of [undefined, "/inbound-sa", "/inbound-sa[spi=300]", "/connection[id=c]"]) {
      const text = made.print(path, { format, defaults: "all", secrets: false }) ?? "";
      assert.doesNotMatch(text, /hush|0000000|01020304/);
      assert.match(made.print(path, { format, defaults: "all", secrets: true }) ?? "", /hush|0000000/);
    }
  assert.equal(made.print("/inbound-sa[spi=300]/key", { ...whole, secrets: false }), undefined);
  assert.equal(
    made.print("/inbound-sa[spi=300]/key", whole),
    `${JSON.stringify({ "vita-gateway:key": key }, null, 2)}\n`,
  );
  made.free();
});

test("parts are printed as RFC 7951 has them", () => {
  const made = tree();
  const at = (path: string, options: Partial<PrintOptions> = {}) => {
    const text = made.print(path, { ...whole, ...options });
    return text === undefined ? undefined : (JSON.parse(text) as unknown);
  };
  assert.deepEqual(at("/node"), { "vita-gateway:node": "a" });
  assert.deepEqual(at("/route[id=r]/net"), { "vita-gateway:net": ["10.0.0.0/8"] });
  assert.deepEqual(at("/route[id=r]/gateway"), { "vita-gateway:gateway": { ip: "192.0.2.1" } });
  assert.deepEqual(at("/connection[id=c]/child[id=k]/remote-ts"), {
    "vita-gateway:remote-ts": ["10.2.0.0/16"],
  });
  assert.deepEqual(at("/public-interface"), {
    "vita-gateway:public-interface": document["public-interface"],
  });
  assert.equal((at("/route") as { "vita-gateway:route": [] })["vita-gateway:route"].length, 2);
  assert.equal(at("/workers"), undefined);
  assert.deepEqual(at("/workers", { defaults: "all" }), { "vita-gateway:workers": 1 });
  assert.equal(at("/route[id=x]"), undefined);
  assert.equal(made.exists("/route[id=r]/gateway/ip"), true);
  assert.equal(made.exists("/mtu"), false);
  assert.throws(() => made.exists("/nothing"), /there is nothing of this name/);
  made.free();
});

test("differences name operations and values, but no secrets", () => {
  const before = tree();
  const after = before.clone();
  after.apply({ operation: "replace", target: "/workers", value: json({ workers: 2 }) });
  after.apply({
    operation: "replace",
    target: "/inbound-sa[spi=300]/salt",
    value: json({ salt: "ffffffff" }),
  });
  after.apply({ operation: "move", target: "/public-interface[name=wan1]", where: "first" });
  after.apply({ operation: "delete", target: "/route[id=s]" });
  after.validate();
  const found = before.differences(after);
  assert.deepEqual(found, [
    { operation: "move", path: '/public-interface[name="wan1"]' },
    { operation: "create", path: "/workers", to: "2" },
    { operation: "delete", path: '/route[id="s"]' },
    { operation: "replace", path: '/inbound-sa[spi="300"]/salt' },
  ]);
  assert.deepEqual(before.diff(before), []);
  after.free();
  before.free();
});

test("an edit that fails leaves the tree as it was", () => {
  const made = tree();
  const before = made.print(undefined, whole);
  const twoThings = { route: [newRoute], mtu: 1400, node: "b" };
  assert.throws(
    () => made.apply({ operation: "add", target: "/", value: json(twoThings) }),
    ConfigurationError,
  );
  assert.equal(made.print(undefined, whole), before);
  made.free();
});

test("trees share what they have alike", () => {
  const running = tree();
  const candidate = running.clone();
  candidate.apply({ operation: "replace", target: "/route[id=r]/mark", value: json({ mark: 7 }) });
  candidate.validate();
  const [from, to] = [running.toConfiguration(), candidate.toConfiguration()];
  assert.equal(from.route[1], to.route[1]);
  assert.equal(from.connection, to.connection);
  assert.equal(from.route[0].mark, 0);
  assert.equal(to.route[0].mark, 7);
  running.free();
  candidate.free();
});
