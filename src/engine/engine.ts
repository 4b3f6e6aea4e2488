// The engine runs a worker's graph in breaths: first every source pulls a batch in, then every app works off its input,
// in the order in which packets travel. What a breath began it ends; no packet waits on a link between two breaths
// unless an app's output is full.

import type { App, Source } from "./app.js";

/** Packets that a source brings in at most in one breath. Fits the crypto library's burst. */
export const BATCH = 128;

export class Engine {
  private readonly sources: Source[] = [];
  private readonly apps: App[] = [];
  /** Breaths drawn so far. */
  breaths = 0;

  addSource(source: Source): void {
    this.sources.push(source);
  }

  /** Apps run in the order of their addition: add each one behind those that feed it. */
  addApp(app: App): void {
    this.apps.push(app);
  }

  /** @returns how many packets came in */
  breathe(): number {
    let moved = 0;
    for (let i = 0; i < this.sources.length; i++) moved += this.sources[i].pull(BATCH);
    for (let i = 0; i < this.apps.length; i++) this.apps[i].push();
    this.breaths = (this.breaths + 1) | 0;
    return moved;
  }
}
