import assert from "node:assert/strict";
import { test } from "node:test";
import { Schema } from "./schema.js";
import { StoredText } from "./stored-text.js";
import { Tree } from "./tree.js";

const schema = Schema.load();

test("a text has its hash, whatever chunks it comes in", () => {
  const chunks = ["{ ", "ü", " }\n"].map((chunk) => Buffer.from(chunk));
  const [whole, parts] = [new StoredText("{ ü }\n"), new StoredText(chunks)];
  assert.equal(whole.hash, parts.hash);
  assert.equal(parts.toString(), "{ ü }\n");
  assert.notEqual(new StoredText("{ u }\n").hash, whole.hash);
});

test("the text of a list in which entries come, change and go is as if it were written anew", () => {
  let seed = 7;
  const random = (limit: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % limit;
  };
  const base = { node: "a", "public-interface": [{ name: "wan0" }], "private-interface": [{ name: "lan0" }] };
  const connection = (id: string, more: number) => ({
    id,
    // Not all of it has one byte a character.
    remote: { id: "ü€".repeat(more) || "x" },
    child: [{ id: "c" }],
  });
  let tree = Tree.parse(schema, JSON.stringify(base), "json");
  tree.validate();
  const present = new Set<string>();
  let [added, changed, removed] = [0, 0, 0];
  for (let round = 0; round < 400; round++) {
    const next = tree.clone();
    const before = tree.stored().toString();
    for (let edits = random(3); edits >= 0; edits--) {
      const id = `c${random(12)}`;
      const target = `/connection[id="${id}"]`;
      if (present.has(id) && random(5) > 1) {
        next.apply({ operation: "delete", target });
        present.delete(id);
        removed++;
        continue;
      }
      present.has(id) ? changed++ : added++;
      const value = {
        text: JSON.stringify({ connection: [connection(id, random(4))] }),
        format: "json",
      } as const;
      next.apply({ operation: "replace", target, value });
      present.add(id);
    }
    next.validate();
    const text = next.stored().toString();
    assert.equal(text, `${next.print(undefined, { format: "json", defaults: "explicit", secrets: true })}\n`);
    assert.equal((JSON.parse(text)["vita-gateway:connection"] ?? []).length, present.size);
    // What others have is not touched by it.
    assert.equal(tree.stored().toString(), before);
    tree.free();
    tree = next;
  }
  tree.free();
  assert(Math.min(added, changed, removed) > 50);
});
