// The OpenAPI description says what the model says, and nothing that is not there.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { Schema, type SchemaNode } from "../config/schema.js";
import type { JsonObject } from "./json.js";
import { openApi } from "./openapi.js";
import { dataChildren } from "./path.js";
import { site, startRig, state } from "./testing/rig.js";

type Described = Record<string, JsonObject>;

describe("OpenAPI", () => {
  const schema = Schema.load();
  const document = openApi(schema);
  const paths = document["paths"] as Described;
  const { schemas, parameters, responses } = document["components"] as Record<string, Described>;
  const module = schema.modules.find(({ name }) => name === "vita-gateway");

  /** A description's path without what stands for keys, as a schema path. */
  const schemaPath = (path: string) => path.replace("/restconf/data", "").replace(/=[^/]*/g, "");

  it("has every data node of the model, and no other", () => {
    const expected: string[] = [];
    const visit = (node: SchemaNode): void => {
      expected.push(node.path);
      // What a list without keys holds has no resources of its own.
      if (node.kind === "list" && node.keys.length === 0) return;
      dataChildren(node.children).forEach(visit);
    };
    dataChildren(module?.data ?? []).forEach(visit);
    const described = Object.keys(paths).filter((path) => path.startsWith("/restconf/data/"));
    assert.ok(expected.length > 150);
    assert.deepEqual([...new Set(described.map(schemaPath))].sort(), expected.sort());
  });

  it("has every rpc, and takes its input", () => {
    for (const { name, children } of module?.rpcs ?? []) {
      const { post } = paths[`/restconf/operations/vita-gateway:${name}`] as Record<string, JsonObject>;
      const input = children.find(({ kind }) => kind === "input");
      assert.equal(post?.["requestBody"] !== undefined, (input?.children.length ?? 0) > 0, name);
    }
  });

  it("lets nobody write state or keys", () => {
    for (const [path, item] of Object.entries(paths)) {
      if (!path.startsWith("/restconf/data/")) continue;
      const node = schema.node(schemaPath(path));
      const isKey = node?.parent?.keys.includes(node.name) ?? false;
      const entry = node?.kind !== "list" && node?.kind !== "leaf-list" ? true : /=[^/]*$/.test(path);
      assert.equal("put" in item, Boolean(node?.config && !isKey && entry), path);
    }
  });

  it("names each parameter of a path once, and describes it", () => {
    for (const [path, item] of Object.entries(paths)) {
      const inPath = [...path.matchAll(/\{([^}]*)\}/g)].map(([, name]) => name);
      const described = ((item["parameters"] ?? []) as JsonObject[]).map(({ name }) => name);
      assert.deepEqual(described, inPath, path);
      assert.equal(new Set(inPath).size, inPath.length, path);
    }
  });

  it("has everything that it refers to", () => {
    const refer = (value: unknown): void => {
      if (Array.isArray(value)) return value.forEach(refer);
      if (typeof value !== "object" || value === null) return;
      for (const [name, child] of Object.entries(value)) {
        if (name !== "$ref") refer(child);
        else {
          const [, kind = "", target = ""] = /^#\/components\/(\w+)\/(.+)$/.exec(String(child)) ?? [];
          const part = { schemas, parameters, responses }[kind];
          assert.ok(part?.[target], String(child));
        }
      }
    };
    refer(document);
  });

  it("says patterns, ranges, enumerations, defaults, units and what is secret", () => {
    const properties = (name: string) => (schemas?.[name]?.["properties"] ?? {}) as Described;
    const sa = properties("vita-gateway.inbound-sa");
    assert.deepEqual([sa["spi"]?.["minimum"], sa["spi"]?.["maximum"]], [256, 4294967295]);
    assert.equal(sa["aead"]?.["default"], "aes-gcm-16-icv");
    assert.match(JSON.stringify(sa["aead"]?.["enum"]), /"chacha20-poly1305"/);
    assert.match(String(sa["salt"]?.["pattern"]), /\[0-9a-fA-F\]\{8\}/);
    assert.match(String(sa["key"]?.["description"]), /Secret/);
    assert.deepEqual([sa["replay-window"]?.["default"], sa["esn"]?.["default"]], [4096, true]);
    assert.match(String(sa["replay-window"]?.["description"]), /Unit: packets/);
    assert.deepEqual(schemas?.["vita-gateway.inbound-sa"]?.["required"], ["spi", "route", "key"]);
    assert.equal(sa["route"]?.["maxLength"], 63);
  });

  it("has patterns that JavaScript can read", () => {
    const visit = (value: unknown): number => {
      if (typeof value !== "object" || value === null) return 0;
      return Object.entries(value).reduce((count, [name, child]) => {
        if (name !== "pattern" || typeof child !== "string") return count + visit(child);
        new RegExp(child, "u");
        return count + 1;
      }, 0);
    };
    assert.ok(visit(document) > 20);
  });

  it("is met by configurations that are good, and not by bad ones", () => {
    const ajv = new Ajv2020({ strict: false, allErrors: true });
    ajv.addSchema(document, "openapi");
    const holds = (name: string, value: unknown) =>
      ajv.validate({ $ref: `openapi#/components/schemas/${name}` }, value) || ajv.errorsText();
    assert.equal(holds("datastore", { "ietf-restconf:data": site }), true);
    assert.equal(holds("vita-gateway.gateway-state", state), true);
    const bad: object[] = [
      { "vita-gateway:workers": 17 },
      { "vita-gateway:workers": "2" },
      { "vita-gateway:engine": "steam" },
      { "vita-gateway:route": [{ id: "a b", net: ["10.0.0.0/8"], gateway: { ip: "192.0.2.1" } }] },
      { "vita-gateway:route": [{ net: ["10.0.0.0/8"], gateway: { ip: "192.0.2.1" } }] },
      { "vita-gateway:route": [{ id: "a", net: [], gateway: { ip: "192.0.2.1" } }] },
      { "vita-gateway:route": [{ id: "a", net: ["10.0.0.0"], gateway: { ip: "192.0.2.1" } }] },
      { "vita-gateway:route": [{ id: "a", net: ["10.0.0.0/8"], gateway: { ip: "192.0.2.1" }, colour: 1 }] },
      { "vita-gateway:private-interface": [{ name: "..", driver: "tun" }] },
      { "vita-gateway:private-interface": [{ name: "lan0", mark: "0xg" }] },
    ];
    for (const change of bad) {
      const verdict = holds("datastore", { "ietf-restconf:data": { ...site, ...change } });
      assert.equal(typeof verdict, "string", JSON.stringify(change));
    }
  });

  it("is served", async () => {
    const rig = await startRig();
    const reply = await rig.ask("/restconf/openapi.json");
    await rig.close();
    assert.equal(reply.status, 200);
    assert.deepEqual(reply.json, JSON.parse(JSON.stringify(document)));
    assert.ok(Object.keys(site).every((name) => `/restconf/data/${name}` in paths));
  });
});
