// The resources below /restconf (RFC 8040, section 3), and what each does with a request.

import type { Format } from "../config/tree.js";
import { beforeWork, dataAnswer } from "./data.js";
import { apiResource, hostMeta, libraryVersion, schemaAnswer } from "./discovery.js";
import { Editing } from "./edit.js";
import { ikelessAnswer, isIkeless } from "./i2nsf/resource.js";
import type { JsonObject } from "./json.js";
import { requireFormat } from "./media.js";
import { restconfState, yangLibraryData } from "./monitoring.js";
import { openApi } from "./openapi.js";
import { readQuery } from "./query.js";
import { Retrieval, type View } from "./retrieve.js";
import { Operations } from "./rpcs.js";
import type { Answer, Request, Service } from "./service.js";

export interface Resource {
  /** Path; with `/*` at its end, of everything below it as well. */
  url: string;
  /** Is it told to everybody? */
  open?: true;
  answer(request: Request): Answer | Promise<Answer>;
}

export function resourcesOf(service: Service): Resource[] {
  const { datastore } = service;
  const { schema } = datastore;
  const library = () => yangLibraryData(schema);
  const retrieval = new Retrieval(
    service,
    new Map<string, () => JsonObject | Promise<JsonObject>>([
      ["vita-gateway:gateway-state", async () => (await service.state()) as JsonObject],
      ["ietf-yang-library:yang-library", () => library()["ietf-yang-library:yang-library"] as JsonObject],
      ["ietf-yang-library:modules-state", () => library()["ietf-yang-library:modules-state"] as JsonObject],
      ["ietf-restconf-monitoring:restconf-state", restconfState],
    ]),
  );
  const editing = new Editing(service, retrieval);
  const operations = new Operations(service);

  /** A datastore and everything in it. */
  const data = (root: string, view: View): Resource[] => {
    const answer = (request: Request) => answerAt(request, root, view);
    return [
      { url: root, answer },
      { url: `${root}/*`, answer },
    ];
  };

  const answerAt = (request: Request, root: string, view: View): Promise<Answer> =>
    isIkeless(request.path)
      ? ikelessAnswer(service, request, root, view)
      : dataAnswer(request, root, view, schema, () => ({ service, retrieval, editing }));

  return [
    fixed("/.well-known/host-meta", (request) => hostMeta(request.headers.accept, false), true),
    fixed("/.well-known/host-meta.json", (request) => hostMeta(request.headers.accept, true), true),
    fixed("/restconf", apiResource),
    fixed("/restconf/yang-library-version", libraryVersion),
    fixed("/restconf/operations", (request) => operations.list(request)),
    {
      url: "/restconf/operations/*",
      answer: (request) => {
        const rpc = operations.find(request.path);
        return beforeWork(request, ["POST", "OPTIONS"]) ?? operations.answer(request, rpc);
      },
    },
    ...data("/restconf/data", "unified"),
    ...data("/restconf/ds/ietf-datastores:running", "running"),
    ...data("/restconf/ds/ietf-datastores:operational", "operational"),
    {
      url: "/restconf/schema/*",
      answer: (request) =>
        beforeWork(request, ["GET", "HEAD", "OPTIONS"]) ?? schemaAnswer(schema, request.path.slice(1)),
    },
    fixed("/restconf/openapi.json", () => ({
      status: 200,
      headers: { "content-type": "application/json" },
      text: JSON.stringify(openApi(schema)),
    })),
  ];
}

/** A resource that is only read and takes no parameters. */
function fixed(url: string, work: (request: Request) => Answer, open = false): Resource {
  return {
    url,
    ...(open && { open: true as const }),
    answer: (request) => {
      const refused = beforeWork(request, ["GET", "HEAD", "OPTIONS"]);
      if (refused) return refused;
      readQuery(request.query, {});
      const answer = work(request);
      return answer.document ? { ...answer, format: formatOf(request) } : answer;
    },
  };
}

function formatOf(request: Request): Format {
  return requireFormat(request.headers.accept, undefined);
}
