// `npm start`: two sites with a tunnel between them, live; or, with --check, once and with a verdict.

import { sleep } from "../lab/command.js";
import { Lab } from "../lab/lab.js";
import { check, emptyReport, type Report } from "./check.js";
import { LiveDemo, type Snapshot } from "./live.js";
import { type DemoOptions, parseOptions, UsageError } from "./options.js";
import { plainLine } from "./plain.js";

const tell = (line: string) => process.stderr.write(`${line}\n`);

/** Takes the lab down on Ctrl-C and its like, whatever is going on, and ends with `status`. */
function closeOnSignal(lab: Lab, status: number, first: () => void = () => {}): void {
  let closing = false;
  const close = () => {
    if (closing) return;
    closing = true;
    first();
    tell("cleaning up …");
    lab.close().then(
      () => process.exit(status),
      (error: Error) => {
        tell(error.message);
        process.exit(1);
      },
    );
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, close);
  // A reader that went away (`| head`) or a terminal that was closed ends it as well.
  process.stdout.on("error", close);
  process.stderr.on("error", () => {});
}

async function checkInLab(options: DemoOptions): Promise<Report> {
  const lab = await Lab.open("check");
  closeOnSignal(lab, 130);
  return check(lab, options, tell).finally(() => lab.close());
}

async function checkOnce(options: DemoOptions): Promise<number> {
  // Whoever asked for JSON gets it, also when there could be no lab.
  const report = await checkInLab(options).catch((error: Error) => ({
    ...emptyReport(options),
    problems: [error.message],
  }));
  if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`);
  for (const problem of report.problems) tell(`problem: ${problem}`);
  if (!options.json) console.log(report.problems.length === 0 ? "all held" : "not all held");
  return report.problems.length === 0 ? 0 : 1;
}

/** Shows the running demo until a signal ends it. */
async function live(options: DemoOptions): Promise<never> {
  const lab = await Lab.open("demo");
  let ended = false;
  let end = () => {};
  closeOnSignal(lab, 0, () => {
    ended = true;
    end();
  });
  let demo: LiveDemo;
  try {
    demo = await LiveDemo.start(lab, options, tell);
  } catch (error) {
    await lab.close();
    throw error;
  }
  const hints = demo.hints();
  let show: (snapshot: Snapshot) => void;
  if (process.stdout.isTTY) {
    // React's development build watches every drawing, and its records grow; it decides when it is loaded.
    process.env["NODE_ENV"] ??= "production";
    const { openScreen } = await import("./screen.js");
    const screen = openScreen(await demo.snapshot(), hints);
    show = screen.show;
    end = () => {
      demo.stop();
      screen.close();
    };
  } else {
    for (const [command, what] of hints) console.log(`# ${command}   (${what})`);
    show = (snapshot) => console.log(plainLine(snapshot));
    end = () => demo.stop();
  }
  for (;;) {
    await sleep(1000);
    const snapshot = await demo.snapshot();
    // From here on the lab is being taken down; that ends the process.
    if (ended) return new Promise<never>(() => {});
    show(snapshot);
  }
}

function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  return options.check ? checkOnce(options) : live(options);
}

Promise.resolve()
  .then(main)
  .then(
    (status) => process.exit(status),
    (error: Error) => {
      tell(error.message);
      process.exit(error instanceof UsageError ? 2 : 1);
    },
  );
