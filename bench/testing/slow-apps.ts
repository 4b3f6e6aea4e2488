// A contender like app-times-child, some of whose apps are slower than they are: `slow-apps.js FACTOR APP…`.

import type { App } from "../../src/engine/app.js";
import { AppTimes, type AppTimesResult } from "../app-times.js";
import { aes128gcm16 } from "../ciphers.js";
import { answerRounds } from "../contender.js";

const [factor = "", ...slow] = process.argv.slice(2);

/** After its work, waits until `factor` times the time that it took is over. */
function slowed(app: App): App {
  return {
    push() {
      const begin = performance.now();
      app.push();
      const end = begin + Number(factor) * (performance.now() - begin);
      while (performance.now() < end);
    },
  };
}

const times = new AppTimes("60", aes128gcm16, (name, app) => (slow.includes(name) ? slowed(app) : app));
answerRounds<AppTimesResult>((rounds) => times.measure(rounds), 1);
