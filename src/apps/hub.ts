// Where tunnels meet: hands packets that go from one tunnel into another to the outbound policies, and errors for senders
// behind a tunnel, which are this worker's own. They come by a link, with `frames.port` saying in which domain they are.
//
// Packets that are like the one before, as those of a train are, take the policies' short way.

import type { App } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import { type Frames, NONE } from "../memory/frames.js";
import { Ipv4Train } from "../net/ipv4-train.js";
import type { IpSink } from "./ip-input.js";

const NOWHERE = NONE;
/** First byte of an IPv4 header without options. */
const IPV4_SHORT = 0x45;

export class Hub implements App {
  private readonly view: DataView;
  private readonly train = new Ipv4Train();

  constructor(
    private readonly frames: Frames,
    readonly input: Link,
    private readonly sink: IpSink,
  ) {
    this.view = frames.view;
  }

  readonly push = (): void => {
    const { input, frames, view, train, sink } = this;
    const count = input.readable;
    if (count === 0) return;
    // Most of them are in one domain.
    sink.foresee(input, count, 0, frames.port[input.at(0)]);
    let ticket = 0;
    let last = NOWHERE;
    train.end();
    for (let i = 0; i < count; i++) {
      const frame = input.at(i);
      const ip = frames.offset[frame];
      const length = frames.length[frame];
      const port = frames.port[frame];
      // As they lie in memory.
      const first = view.getInt32(ip, true);
      const third = view.getInt32(ip + 8, true);
      const source = view.getInt32(ip + 12, true);
      const destination = view.getInt32(ip + 16, true);
      if (port === last && train.continues(first, third, source, destination))
        ticket = sink.takeNext(frame, ip, length, port, ticket);
      else {
        if ((first & 0xff) === IPV4_SHORT) train.begin(first, third, source, destination);
        else train.end();
        last = port;
        ticket = sink.take(frame, ip, length, port);
      }
    }
    // What the policies have to say to far senders has come behind them, for the next breath.
    input.advance(count);
  };
}
