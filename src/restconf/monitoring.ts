// What the API tells of itself as data: ietf-restconf-monitoring:restconf-state (RFC 8040, section 9), and the YANG
// library (RFC 8525) with places where the modules' texts can be had.

import { createHash } from "node:crypto";
import type { Schema } from "../config/schema.js";
import { modulesOf, yangLibrary } from "../config/yang-library.js";
import { IKELESS, ikelessModule, ikelessTypes } from "./i2nsf/model.js";
import { isObject, type Json, type JsonObject } from "./json.js";
import { streamFormats } from "./streams.js";

const capability = "urn:ietf:params:restconf:capability:";
/** Query parameters and modes beyond what every server has. `filter` and `replay` are not among them. */
const capabilities = [
  `${capability}defaults:1.0?basic-mode=explicit`,
  `${capability}depth:1.0`,
  `${capability}fields:1.0`,
  `${capability}with-defaults:1.0`,
  `${capability}yang-patch:1.0`,
];

export function restconfState(): JsonObject {
  return {
    capabilities: { capability: capabilities },
    streams: {
      stream: [
        {
          name: "NETCONF",
          description: "Every notification of the node.",
          "replay-support": false,
          access: streamFormats.map((encoding) => ({
            encoding,
            location: `/restconf/streams/NETCONF/${encoding}`,
          })),
        },
      ],
    },
  };
}

/** `vita-gateway@2026-11-26.yang`. */
export function schemaFile(name: string, revision: string | undefined): string {
  return `${name}${revision ? `@${revision}` : ""}.yang`;
}

let library: JsonObject | undefined;

/** The library's top-level nodes; the model does not change while the process runs. */
export function yangLibraryData(schema: Schema): JsonObject {
  if (library) return library;
  const identity = modulesOf(schema).map(({ name, revision }) => `${name}@${revision ?? ""}`);
  identity.push(`${IKELESS}@${ikelessModule.revision}`);
  const contentId = createHash("sha256").update(identity.join(" ")).digest("hex").slice(0, 16);
  library = JSON.parse(yangLibrary(schema, contentId)) as JsonObject;
  addLocations(library);
  addIkeless(library);
  addDatastores(library["ietf-yang-library:yang-library"]);
  return library;
}

/** Modules whose text is RFC 9061's: a node offers a part of their data (docs/i2nsf.md). */
function addIkeless(root: JsonObject): void {
  const { revision, namespace } = ikelessModule;
  const implemented = { name: IKELESS, revision: revision ?? "", namespace };
  const imported = {
    name: ikelessTypes,
    revision: revision ?? "",
    namespace: namespace.replace(IKELESS, ikelessTypes),
  };
  const add = (at: Json | undefined, list: string, module: JsonObject) => {
    if (!isObject(at)) return;
    const known = at[list];
    at[list] = [...(Array.isArray(known) ? known : []), module];
  };
  const yangLibrary = root["ietf-yang-library:yang-library"];
  const sets = isObject(yangLibrary) ? yangLibrary["module-set"] : undefined;
  for (const set of Array.isArray(sets) ? sets : []) {
    add(set, "module", implemented);
    add(set, "import-only-module", imported);
  }
  const state = root["ietf-yang-library:modules-state"];
  add(state, "module", { ...implemented, "conformance-type": "implement" });
  add(state, "module", { ...imported, "conformance-type": "import" });
}

/** libyang knows of no datastores; these are ours (RFC 8527, section 2). */
function addDatastores(root: Json | undefined): void {
  if (!isObject(root)) return;
  const names = ["ietf-datastores:running", "ietf-datastores:operational"];
  root["datastore"] = names.map((name) => ({ name, schema: "complete" }));
}

/** Gives each module that has a name and a revision the URL of its text. */
function addLocations(value: Json): void {
  if (Array.isArray(value)) return value.forEach(addLocations);
  if (!isObject(value)) return;
  for (const [name, child] of Object.entries(value)) {
    if ((name === "module" || name === "import-only-module") && Array.isArray(child)) {
      for (const module of child) if (isObject(module)) addLocation(module);
    } else addLocations(child);
  }
}

function addLocation(module: JsonObject): void {
  const revision = typeof module["revision"] === "string" ? module["revision"] : undefined;
  const url = `/restconf/schema/${schemaFile(String(module["name"]), revision)}`;
  // modules-state, the form of 2016, has the URL in a leaf of its own.
  if ("conformance-type" in module) module["schema"] = url;
  else module["location"] = [url];
}
