// libyang's memory is not collected by JavaScript: whatever a tree allocates must be freed with it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Schema } from "./schema.js";
import { Tree } from "./tree.js";

const schema = Schema.load();
const routes = Array.from({ length: 50 }, (_, i) => ({
  id: `r${i}`,
  net: [`10.${i}.0.0/16`],
  gateway: { ip: `192.0.2.${i}` },
}));
const text = JSON.stringify({
  node: "a",
  "public-interface": [{ name: "wan0" }],
  "private-interface": [{ name: "lan0" }],
  route: routes,
  connection: [{ id: "c", "pre-shared-key": "x", child: [{ id: "k", "local-ts": ["10.0.0.0/8"] }] }],
});

/** Everything that allocates, also where it fails. */
function once(n: number): void {
  const value = (document: unknown) => ({ text: JSON.stringify(document), format: "json" as const });
  const tree = Tree.parse(schema, text, "json");
  tree.validate();
  const changed = tree.clone();
  changed.apply({ operation: "replace", target: "/mtu", value: value({ mtu: 1000 + (n % 100) }) });
  changed.apply({ operation: "merge", target: "/route[id=r1]/mark", value: value({ mark: n }) });
  changed.apply({
    operation: "create",
    target: "/pool[id=p]",
    value: {
      text: '<pool xmlns="urn:vita:gateway"><id>p</id><addresses>10.0.0.0/8</addresses></pool>',
      format: "xml",
    },
  });
  changed.apply({ operation: "delete", target: "/route[id=r2]" });
  changed.validate();
  assert.equal(tree.diff(changed).length, 4);
  for (const format of ["json", "xml"] as const)
    changed.print(undefined, { format, defaults: "all", secrets: false });
  assert.throws(() => changed.apply({ operation: "delete", target: "/pool[id=q]" }));
  assert.throws(() => changed.apply({ operation: "replace", target: "/mtu", value: value({ mtu: 1 }) }));
  assert.throws(() =>
    changed.apply({ operation: "add", target: "/", value: value({ pool: [{ id: "p" }] }) }),
  );
  changed.apply({ operation: "merge", target: "/connection[id=c]/pool", value: value({ pool: ["q"] }) });
  assert.throws(() => changed.validate());
  changed.free();
  tree.free();
  assert.throws(() => Tree.parse(schema, text.replace("10.7.0.0/16", "10.7.0.0/99"), "json"));
}

test("a thousand trees that are parsed, edited and freed leave nothing behind", () => {
  const count = 1000;
  /** What is not JavaScript's heap, which comes and goes. */
  const foreign = () => process.memoryUsage.rss() - process.memoryUsage().heapTotal;
  let after100 = 0;
  for (let n = 0; n < count; n++) {
    once(n);
    if (n === 100) after100 = foreign();
  }
  const grown = foreign() - after100;
  // Where any of these trees had been lost each time, it would be hundreds.
  assert.ok(grown < 8 * 2 ** 20, `grew by ${(grown / 2 ** 20).toFixed(1)} MiB in ${count - 100} rounds`);
});
