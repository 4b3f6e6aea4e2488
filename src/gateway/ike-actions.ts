// A connection brought up, taken down or rekeyed, now, because somebody asks for it. charon may take its time, and answers
// no other command of the same connection meanwhile: each action has one of its own. When it fails, the last lines that
// charon logged say why.

import { ViciConnection, ViciRefusal, ViciUnreachable } from "../charon/vici-connection.js";
import type { ViciFields, ViciSection } from "../charon/vici-message.js";
import { entryPath, IkeError } from "./ike-error.js";

/** charon's log lines that an error repeats. */
const LINES = 6;
/** Milliseconds that charon may take longer than it was given. */
const ALLOWANCE = 5000;
/** How the system says that nobody listens at a socket. */
const NOBODY = ["ENOENT", "ECONNREFUSED"];

export interface ActionTarget {
  uri: string;
  connection: string;
  /** All of the connection's when left out. */
  child: string | undefined;
  seconds: number;
}

/** @throws ViciUnreachable that says what to do */
async function open({ uri, seconds }: ActionTarget): Promise<ViciConnection> {
  try {
    return await ViciConnection.open(uri, { patience: seconds * 1000 + ALLOWANCE });
  } catch (error) {
    if (!(error instanceof ViciUnreachable)) throw error;
    const { reason } = error;
    const what = NOBODY.includes(reason)
      ? `charon is not running: nobody is at its vici socket ${uri}`
      : `charon cannot be reached at its vici socket ${uri}`;
    const advice = "start strongSwan, or set /charon/vici if its socket is elsewhere";
    throw new ViciUnreachable(`${what} (${reason}); ${advice}`, reason);
  }
}

async function withConnection<T>(
  target: ActionTarget,
  work: (connection: ViciConnection) => Promise<T>,
): Promise<T> {
  const connection = await open(target);
  try {
    return await work(connection);
  } finally {
    connection.close();
  }
}

const pathOf = ({ connection, child }: ActionTarget) =>
  child === undefined
    ? entryPath("connection", connection)
    : `${entryPath("connection", connection)}/child[id="${child}"]`;

function failure(target: ActionTarget, words: string, lines: readonly string[]): IkeError {
  const said = lines.length === 0 ? "" : `; charon's log: ${lines.slice(-LINES).join(" | ")}`;
  return new IkeError(pathOf(target), `${words}${said}`);
}

/**
 * Sends a command that streams its log lines.
 * @param isFine tells of refusals that are none
 */
async function logged(
  connection: ViciConnection,
  target: ActionTarget,
  command: string,
  fields: ViciFields,
  isFine: (answer: ViciSection) => boolean = () => false,
): Promise<void> {
  const lines: string[] = [];
  const timeout = String(target.seconds * 1000);
  try {
    await connection.stream(command, { ...fields, timeout }, "control-log", (event) => {
      lines.push(event.text("msg") ?? "");
      if (lines.length > LINES) lines.shift();
    });
  } catch (error) {
    if (!(error instanceof ViciRefusal)) throw error;
    if (!isFine(error.answer)) throw failure(target, error.message, lines);
  }
}

/** Children of a connection as charon has it loaded, with their modes. */
async function childrenOf(connection: ViciConnection, target: ActionTarget): Promise<Map<string, string>> {
  const children = new Map<string, string>();
  let isKnown = false;
  await connection.stream("list-conns", { ike: target.connection }, "list-conn", (event) => {
    const section = event.sections.get(target.connection);
    if (!section) return;
    isKnown = true;
    for (const [name, child] of section.section("children").sections) {
      children.set(name, (child.text("mode") ?? "").toLowerCase());
    }
  });
  if (!isKnown)
    throw new IkeError(entryPath("connection", target.connection), "charon has no such connection");
  if (target.child === undefined) return children;
  const mode = children.get(target.child);
  if (mode === undefined) throw new IkeError(pathOf(target), "charon has no such child");
  return new Map([[target.child, mode]]);
}

interface InstalledChild {
  name: string;
  id: string;
}

/** The CHILD_SAs of a connection that are in use; not those that were rekeyed and wait for their end. */
async function installed(connection: ViciConnection, ike: string): Promise<InstalledChild[]> {
  const found: InstalledChild[] = [];
  await connection.stream("list-sas", { ike }, "list-sa", (event) => {
    for (const child of event.section(ike).section("child-sas").sections.values()) {
      if (child.text("state") !== "INSTALLED") continue;
      found.push({ name: child.text("name") ?? "", id: child.text("uniqueid") ?? "" });
    }
  });
  return found;
}

/**
 * Sets the children of a connection up that are not.
 * @throws IkeError with charon's words, ViciUnreachable
 */
export function bringUp(target: ActionTarget): Promise<void> {
  return withConnection(target, async (connection) => {
    const children = await childrenOf(connection, target);
    const there = (await installed(connection, target.connection)).map(({ name }) => name);
    for (const [child, mode] of children) {
      if (there.includes(child)) continue;
      const isShunt = mode === "pass" || mode === "drop";
      await logged(connection, { ...target, child }, isShunt ? "install" : "initiate", {
        ike: target.connection,
        child,
      });
    }
  });
}

/**
 * Ends the SAs of a connection; where the peer does not answer in time, on this side alone.
 * @throws IkeError when there are none, ViciUnreachable
 */
export function takeDownNow(target: ActionTarget): Promise<void> {
  return withConnection(target, async (connection) => {
    const { connection: ike, child } = target;
    // After a time-out charon says that it failed, though it has removed the IKE_SA by force.
    const isGone = (answer: ViciSection) => child === undefined && (answer.number("matches") ?? 0) > 0;
    const fields = child === undefined ? { ike, force: "yes" } : { ike, child };
    await logged(connection, target, "terminate", fields, isGone);
  });
}

/** Has an SA rekeyed, and waits for the event that tells of it. */
async function rekeyOne(
  connection: ViciConnection,
  target: ActionTarget,
  fields: ViciFields,
  event: string,
  isIt: (event: ViciSection) => boolean,
): Promise<void> {
  const lines: string[] = [];
  const onLog = (line: ViciSection) => {
    if (line.text("ikesa-name") !== target.connection) return;
    lines.push(line.text("msg") ?? "");
    if (lines.length > LINES) lines.shift();
  };
  let isDone = false;
  let done = () => {};
  const onEvent = (message: ViciSection) => {
    isDone ||= isIt(message);
    if (isDone) done();
  };
  await connection.subscribe("log", onLog);
  await connection.subscribe(event, onEvent);
  let timer: NodeJS.Timeout | undefined;
  try {
    await connection.request("rekey", fields);
    await new Promise<void>((resolve, reject) => {
      done = resolve;
      timer = setTimeout(
        () => reject(failure(target, `is not rekeyed after ${target.seconds} s`, lines)),
        target.seconds * 1000,
      );
      void connection.closed.then(reject);
      if (isDone) resolve();
    });
  } catch (error) {
    throw error instanceof ViciRefusal ? failure(target, error.message, lines) : error;
  } finally {
    clearTimeout(timer);
    if (connection.isOpen) {
      await connection.unsubscribe(event, onEvent);
      await connection.unsubscribe("log", onLog);
    }
  }
}

/**
 * Rekeys a child, or all that a connection has and then its IKE_SA; `reauth` makes a new IKE_SA with everything in it
 * instead. Returns when the new SAs are there.
 * @throws IkeError with charon's words, ViciUnreachable
 */
export function rekeyNow(target: ActionTarget, reauth: boolean): Promise<void> {
  return withConnection(target, async (connection) => {
    const ike = target.connection;
    if (reauth) {
      const isUp = (event: ViciSection) => event.flag("up") && event.sections.has(ike);
      await rekeyOne(connection, target, { ike, reauth: "yes" }, "ike-updown", isUp);
      return;
    }
    const children = await installed(connection, ike);
    const chosen = children.filter(({ name }) => target.child === undefined || name === target.child);
    if (target.child !== undefined && chosen.length === 0)
      throw new IkeError(pathOf(target), "has no SA to rekey");
    for (const { name, id } of chosen) {
      const isIt = (event: ViciSection) => {
        const child = event.section(ike).section("child-sas").section(name);
        return child.section("old").text("uniqueid") === id;
      };
      await rekeyOne(connection, { ...target, child: name }, { "child-id": id }, "child-rekey", isIt);
    }
    if (target.child === undefined) {
      await rekeyOne(connection, target, { ike }, "ike-rekey", (event) => event.sections.has(ike));
    }
  });
}
