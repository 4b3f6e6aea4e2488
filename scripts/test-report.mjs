// A reporter of node's test runner: what `npm test` tells at its end. One JSON object a line: how long a file took; what
// failed, and why; node's totals. A test that failed only because one within it did is not told again.

import { resolve } from "node:path";

/** Lines of a message that are told again; the whole is where the test failed. */
const LINES = 4;

function line(value) {
  return `${JSON.stringify(value)}\n`;
}

function messageOf(error) {
  const thrown = error.cause ?? error;
  const lines = String(thrown.message ?? thrown)
    .split("\n")
    .map((text) => text.trimEnd())
    .filter((text) => text !== "" && text !== "+ actual - expected");
  // Of a file that ends badly though its tests were well.
  if (error.signal) lines.push(`killed by ${error.signal}`);
  else if (error.exitCode > 0) lines.push(`exit code ${error.exitCode}`);
  return lines.slice(0, LINES);
}

export default async function* report(events) {
  /** When files began. */
  const begun = new Map();
  /** The test that is told of, behind those around it; node tells of one file after the other. */
  const names = [];
  for await (const { type, data } of events) {
    const { name, nesting, file } = data;
    // A file is an event like a test, called by its path.
    const isFile = nesting === 0 && file !== undefined && name !== undefined && resolve(name) === file;
    if (type === "test:start") {
      names.length = nesting;
      names.push(name);
    } else if (type === "test:dequeue" && isFile) begun.set(file, performance.now());
    else if (type === "test:complete" && begun.has(file) && isFile)
      yield line({ file, seconds: (performance.now() - begun.get(file)) / 1000 });
    else if (type === "test:pass" && !isFile && data.skip === undefined && data.todo === undefined)
      yield line({ file, passed: [...names.slice(0, nesting), name] });
    else if (
      type === "test:fail" &&
      data.todo === undefined &&
      data.details.error.failureType !== "subtestsFailed"
    )
      yield line({
        file,
        failed: isFile ? [] : [...names.slice(0, nesting), name],
        message: messageOf(data.details.error),
      });
    else if (type === "test:diagnostic" && nesting === 0 && file === undefined) {
      const [, total, count] = /^([a-z]+) (\d+)$/.exec(data.message) ?? [];
      if (total) yield line({ total, count: Number(count) });
    }
  }
}
