// `vita run`: brings a node up and keeps it up until SIGTERM or SIGINT.

import { Command } from "commander";
import { loadConfiguration } from "../config/load.js";
import { makeLogger, messageOf } from "../gateway/log.js";
import { Supervisor } from "../gateway/supervisor.js";

export function runCommand(): Command {
  return new Command("run")
    .description("run a node in the foreground: workers, and the kernel that charon talks to")
    .requiredOption("-c, --config <file>", "configuration, JSON")
    .option("--busy-poll", "workers never sleep, whatever the configuration says: a core each, for latency")
    .action(async ({ config, busyPoll }: { config: string; busyPoll?: boolean }) => {
      const load = () => {
        const written = loadConfiguration(config);
        return busyPoll ? { ...written, "busy-poll": true } : written;
      };
      const configuration = load();
      if (process.getuid?.() !== 0)
        throw new Error(
          "vita run needs root: it opens raw sockets, TUN devices and XDP programs (try: sudo vita run …)",
        );
      const log = makeLogger("vita");
      // Asked to end while it begins, it ends when it has begun.
      let stop = () => {};
      const ended = new Promise<void>((resolve) => {
        stop = resolve;
      });
      process.once("SIGTERM", stop);
      process.once("SIGINT", stop);
      const supervisor = await Supervisor.start(configuration, log);
      process.on("SIGHUP", () => {
        log.info(`reading ${config} again`);
        Promise.resolve()
          .then(() => supervisor.reconfigure(load()))
          .then(
            () => log.info("the configuration is in force"),
            (error) => log.warn(`the configuration stays as it was: ${messageOf(error)}`),
          );
      });
      const isOver = await Promise.race([ended.then(() => false), supervisor.over.then(() => true)]);
      log.info("stopping");
      await supervisor.stop();
      if (isOver) process.exitCode = 1;
    });
}
