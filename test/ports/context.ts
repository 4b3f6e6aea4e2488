// What a port needs from a worker, for tests: frames, and counters that can be asked for by name.

import type { AppContext, Counters, CounterTexts } from "../../src/engine/app.js";
import { Frames } from "../../src/memory/frames.js";

export interface TestContext extends AppContext {
  /** All counters that are not 0, by `app.counter`. */
  read(): Record<string, number>;
}

export function testContext(capacity: number): TestContext {
  const arrays: { app: string; names: string[]; values: Counters }[] = [];
  return {
    frames: new Frames(capacity),
    counters(app: string, texts: CounterTexts) {
      const names = Object.keys(texts);
      const values = new Float64Array(names.length);
      arrays.push({ app, names, values });
      return values;
    },
    read() {
      const all: Record<string, number> = {};
      for (const { app, names, values } of arrays)
        names.forEach((name, i) => {
          if (values[i] !== 0) all[`${app}.${name}`] = values[i];
        });
      return all;
    },
  };
}
