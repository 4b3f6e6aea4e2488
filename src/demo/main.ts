// `npm start`: two sites with a tunnel between them, live; or, with --check, once and with a verdict.

import { Lab } from "../lab/lab.js";
import { check } from "./check.js";
import { type DemoOptions, parseOptions, UsageError } from "./options.js";

/** Takes the lab down on Ctrl-C and on SIGTERM, whatever is going on; a second Ctrl-C changes nothing. */
function closeOnSignal(lab: Lab): void {
  let closing = false;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (closing) return;
      closing = true;
      process.stderr.write("\ncleaning up …\n");
      lab.close().then(
        () => process.exit(130),
        (error: Error) => {
          process.stderr.write(`${error.message}\n`);
          process.exit(1);
        },
      );
    });
  }
}

async function checkOnce(options: DemoOptions): Promise<number> {
  const lab = await Lab.open("check");
  closeOnSignal(lab);
  const tell = (line: string) => process.stderr.write(`${line}\n`);
  const report = await check(lab, options, tell).finally(() => lab.close());
  if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`);
  for (const problem of report.problems) tell(`problem: ${problem}`);
  if (!options.json) console.log(report.problems.length === 0 ? "all held" : "not all held");
  return report.problems.length === 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  return checkOnce(options);
}

main().then(
  (status) => process.exit(status),
  (error: Error) => {
    process.stderr.write(`${error.message}\n`);
    process.exit(error instanceof UsageError ? 2 : 1);
  },
);
