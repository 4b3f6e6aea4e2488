// A data resource: which method is whose (RFC 8040, section 4).

import { requireRight } from "./access.js";
import { type Editing, methodsOf } from "./edit.js";
import { methodNotAllowed } from "./errors.js";
import { requireFormat, unsupported, yangData, yangPatch } from "./media.js";
import { parseTarget } from "./path.js";
import type { Retrieval, View } from "./retrieve.js";
import type { Answer, DataService, DataSource, Request } from "./service.js";
import { isYangPatch, yangPatchAnswer } from "./yang-patch.js";

const patchTypes = [...Object.values(yangData), ...Object.values(yangPatch)];

export interface Data {
  service: DataService;
  retrieval: Retrieval;
  editing: Editing;
}

/**
 * @param root path of the datastore, for Location
 * @param open called once it is known that the client may do what it asks for
 */
export async function dataAnswer(
  request: Request,
  root: string,
  view: View,
  schema: DataSource["schema"],
  open: () => Data | Promise<Data>,
): Promise<Answer> {
  const target = parseTarget(schema, request.path);
  const allowed = view === "operational" ? ["GET", "HEAD", "OPTIONS"] : methodsOf(target);
  const refused = beforeWork(request, allowed);
  if (refused) return refused;
  const { service, retrieval, editing } = await open();
  if (request.method === "GET" || request.method === "HEAD") {
    return retrieval.answer(request, target, view, requireFormat(request.headers.accept, undefined));
  }
  const type = request.headers["content-type"];
  if (request.method === "PATCH") {
    if (isYangPatch(type)) return yangPatchAnswer(service, editing, request, target);
    if (!isPlainPatch(type)) throw unsupported(type, patchTypes);
  }
  return editing.answer(request, target, root);
}

/** Methods and rights; the answer to OPTIONS, undefined when the work can begin. */
export function beforeWork(request: Request, allowed: readonly string[]): Answer | undefined {
  const allow = allowed.join(", ");
  if (!allowed.includes(request.method)) throw methodNotAllowed(request.method, allow);
  const reads = ["GET", "HEAD", "OPTIONS"].includes(request.method);
  requireRight(request.client, reads ? "read" : "write");
  if (request.method !== "OPTIONS") return undefined;
  const patch = allowed.includes("PATCH") ? { "accept-patch": patchTypes.join(", ") } : {};
  return { status: 200, headers: { allow, ...patch } };
}

function isPlainPatch(type: string | undefined): boolean {
  return Object.values(yangData).some((plain) => type?.toLowerCase().startsWith(plain));
}
