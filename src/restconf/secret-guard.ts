// Who may write but sees no secrets reads an entry without them; sent back as a PUT, it would take them away (RFC 8040,
// section 4.5: what the body leaves out goes). Such a change is refused. To take a secret away there is DELETE.

import type { Schema } from "../config/schema.js";
import type { Edit } from "../config/tree.js";
import { failure } from "./errors.js";
import type { DataTree } from "./service.js";

/** @throws RestconfError access-denied that names the secret */
export function guardSecrets(running: DataTree, schema: Pick<Schema, "node">, edits: readonly Edit[]): void {
  if (!edits.some(({ operation }) => operation === "replace")) return;
  const trial = running.clone();
  try {
    for (const edit of edits) {
      const before = edit.operation === "replace" ? trial.clone() : undefined;
      try {
        trial.apply(edit);
        const lost = before?.diff(trial).find((path) => isSecret(schema, path) && !trial.exists(path));
        if (lost === undefined) continue;
        const message =
          "is a secret that the body leaves out and the client may not see: change the rest with PATCH";
        throw failure("access-denied", message, { path: lost, type: "application" });
      } finally {
        before?.free();
      }
    }
  } finally {
    trial.free();
  }
}

function isSecret(schema: Pick<Schema, "node">, path: string): boolean {
  const plain = path.replace(/\[(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\]"'])*\]/g, "");
  return schema.node(plain.replace(/^\/(?![\w.-]+:)/, "/vita-gateway:"))?.denyAll ?? false;
}
