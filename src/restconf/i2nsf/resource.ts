// `/restconf/data/ietf-i2nsf-ikeless:ipsec-ikeless`: a controller's view of routes, static SAs and security policies
// (docs/i2nsf.md). Requests are answered as those for any other data.

import { dataAnswer } from "../data.js";
import { Editing } from "../edit.js";
import { Retrieval, type View } from "../retrieve.js";
import type { Answer, Request, Service } from "../service.js";
import { IKELESS, ikelessRoot } from "./model.js";
import { IkelessSource } from "./source.js";
import type { SaState } from "./state.js";

const ikelessName = `${IKELESS}:${ikelessRoot.name}`;

/** @param path still percent-encoded */
export function isIkeless(path: string): boolean {
  const [, module = ""] = /^\/([^/]*?)(?::|%3[aA])/.exec(path) ?? [];
  return module === IKELESS;
}

export function ikelessAnswer(service: Service, request: Request, root: string, view: View): Promise<Answer> {
  const { datastore, logger } = service;
  const reads = request.method === "GET" || request.method === "HEAD";
  const wantsState = reads && view !== "running" && !/(?:^|&)content=config(?:&|$)/.test(request.query);
  const { schema } = new IkelessSource(datastore);
  const asked = wantsState ? withoutValidators(request) : request;
  return dataAnswer(asked, root, view, schema, async () => {
    const sas = wantsState ? (((await service.state()) as { sa?: SaState[] }).sa ?? []) : [];
    const source = new IkelessSource(datastore, sas);
    const data = { datastore: source, logger };
    const retrieval = new Retrieval(data, new Map([[ikelessName, () => source.everything()]]));
    return { service: data, retrieval, editing: new Editing(data, retrieval) };
  });
}

/** Entity-tag and date are the configuration's: they do not say whether state has changed. */
function withoutValidators(request: Request): Request {
  const { "if-none-match": _tag, "if-modified-since": _date, ...headers } = request.headers;
  return { ...request, headers };
}
