// Where a client begins: host-meta (RFC 6415), the API resource, and the modules' texts (RFC 8040, sections 3.1, 3.3 and
// 3.7).

import type { Schema } from "../config/schema.js";
import { modulesOf, moduleText } from "../config/yang-library.js";
import { failure, notFound } from "./errors.js";
import { preferred } from "./media.js";
import { schemaFile } from "./monitoring.js";
import type { Answer } from "./service.js";

export const yangLibraryVersion = "2019-01-04";

const xrd = `<?xml version="1.0" encoding="UTF-8"?>
<XRD xmlns="http://docs.oasis-open.org/ns/xri/xrd-1.0">
  <Link rel="restconf" href="/restconf"/>
</XRD>
`;
const jrd = `${JSON.stringify({ links: [{ rel: "restconf", href: "/restconf" }] })}\n`;

export function hostMeta(accept: string | undefined, onlyJson: boolean): Answer {
  const types = onlyJson
    ? (["application/json", "application/jrd+json"] as const)
    : (["application/xrd+xml", "application/json", "application/jrd+json"] as const);
  const type = preferred(accept, types);
  if (!type)
    throw failure("invalid-value", `the answer is ${types.join(" or ")}, which Accept has not`, {
      status: 406,
    });
  const text = type === "application/xrd+xml" ? xrd : jrd;
  return { status: 200, headers: { "content-type": type }, text };
}

export function apiResource(): Answer {
  return {
    status: 200,
    document: {
      "ietf-restconf:restconf": { data: {}, operations: {}, "yang-library-version": yangLibraryVersion },
    },
  };
}

export function libraryVersion(): Answer {
  return { status: 200, document: { "ietf-restconf:yang-library-version": yangLibraryVersion } };
}

/** @param file `vita-gateway@2026-11-26.yang`, the revision may be left out */
export function schemaAnswer(schema: Schema, file: string): Answer {
  const [, name, revision] = /^([A-Za-z_][\w.-]*?)(?:@(\d{4}-\d\d-\d\d))?(?:\.yang)?$/.exec(file) ?? [];
  const module = modulesOf(schema).find(
    (entry) => entry.name === name && (revision === undefined || entry.revision === revision),
  );
  const text = module && moduleText(schema, module.name, module.revision);
  if (text === undefined) {
    throw notFound(`there is no module in ${JSON.stringify(file.slice(0, 80))}`);
  }
  const disposition = `inline; filename="${schemaFile(module?.name ?? "", module?.revision)}"`;
  return {
    status: 200,
    headers: { "content-type": "application/yang", "content-disposition": disposition },
    text,
  };
}
